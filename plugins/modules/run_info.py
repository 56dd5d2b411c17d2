#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_info
short_description: Say what the training of a job came to so far
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Reads the metric files of a job on its node, where they lie, and returns the figures of each metric over all points.
  - The node keeps what it read beside the job, and reads only what is new the next time.
  - A job's files are those that its processes have open for writing, and those below its working folder that were
    written to while it ran; without any of these, what it printed.
  - It reads W&B, TensorBoard, JSON lines, CSV, C(trainer_state.json), MLflow, trackio and logs.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: full
options:
  id:
    description: The job.
    type: str
    required: true
  attempt:
    description: Which attempt of it; by default the newest.
    type: int
  path:
    description:
      - Only this file, or what is in this folder; relative to the folder that the job runs in.
      - It must lie below that folder, or have been seen open in the job's processes, and hold metrics or be called as a
        log is.
      - By default what the job writes.
    type: str
  since:
    description: Only what is new since an earlier answer, by the C(cursor) of its RV(run).
    type: str
seealso:
  - module: stoker.fleet.job_info
"""

EXAMPLES = r"""
- name: How is the nightly training?
  stoker.fleet.run_info:
    id: nightly
  register: nightly

- name: Fail when its loss is no number any more
  ansible.builtin.assert:
    that: nightly.run.files | map(attribute='metrics') | map(attribute='loss.nan', default=0) | sum == 0
"""

RETURN = r"""
run:
  description:
    - What was read. C(now) is the node's clock when it was, in Unix seconds; C(read_bytes) were new; C(cursor) is for
      O(since); C(notes) says what could not be read.
    - Each of C(files) has its C(path), C(kind), when it C(changed), the process that has it open (C(held)), and its
      C(metrics). C(first), C(last), C(min) and C(max) are finite points, V([step, value]); C(final) is the point logged
      last, whatever it is; C(nan) and C(inf) count points that are no finite numbers and are in no other figure.
  returned: success
  type: dict
  sample:
    job: nightly
    attempt: 1
    now: 1760000000.2
    folder: /srv/proj
    read_bytes: 20480
    files:
      - path: /srv/proj/metrics.jsonl
        kind: jsonl
        changed: 1759999998.1
        held: 4711
        metrics:
          loss: {count: 400, nan: 0, inf: 0, first: [0, 3.1], last: [399, 0.41], final: [399, 0.41],
            min: [377, 0.39], max: [0, 3.1], mean: 0.98}
job:
  description: The job as it stood before its files were read; the fields are those of C(stoker.observation/1).
  returned: success
  type: dict
  sample:
    id: nightly
    state: running
    evidence: its lock is held
"""
