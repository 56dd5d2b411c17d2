#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint
short_description: Fetch the newest complete checkpoint of a job
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Looks on the node where a job that was submitted with a path of checkpoints writes them, and brings the newest one
    that is complete to the controller by rsync, over Ansible's own connection.
  - Complete is what no process has open for writing, what was not written to for 2 seconds, and what did not change
    while it was read. The files are read on the node before and on the controller afterwards; when one differs, the
    checkpoint does not count.
requirements:
  - rsync on the controller and on the node.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
    details:
      - In check mode it is looked, and nothing is fetched.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  job:
    description: Id of the job.
    type: str
    required: true
  attempt:
    description: Number of the attempt; the newest one that is on the node by default.
    type: int
  folder:
    description: Folder on the controller for the files. What else is in it stays, unless O(alone) is true.
    type: path
    required: true
  alone:
    description: Take away every file in O(folder) that is not of this checkpoint, such as what an earlier try left.
    type: bool
    default: false
  near:
    description: Folder on the controller with an earlier checkpoint. Files that are the same are copied from it.
    type: path
  mark:
    description: The C(mark) of the checkpoint that is here already. While nothing differs from it, nothing is read.
    type: str
  after:
    description:
      - When the checkpoint that is here already was written (Unix seconds by the node's clock, its C(written_at)). What
        matches a pattern and was last written to before that does not count.
    type: float
  ask:
    description: Send this signal to the processes of the job first that handle it, so that they write a checkpoint.
    type: str
  wait:
    description: How many seconds they have for that.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Have the newest checkpoint here
  stoker.fleet.checkpoint:
    job: train-9x4c
    folder: /srv/checkpoints/train-9x4c
  register: kept

- name: Say why it is not
  ansible.builtin.debug:
    msg: "{{ kept.refused }}"
  when: kept.refused is not none
"""

RETURN = r"""
fetched:
  description: Whether a checkpoint was fetched that is complete, byte for byte as it is on the node.
  returned: success
  type: bool
refused:
  description: Why what is there does not count now; null where it does, or where there is nothing.
  returned: success
  type: str
  sample: step-300.pt is being written by process 4711
wire_bytes:
  description: How much went over the connection.
  returned: success
  type: int
checkpoint:
  description:
    - What is on the node. C(state) is V(none) (nothing that this attempt wrote; C(why)), V(same) (as O(mark) says),
      V(unsteady) (C(why)), V(large) (more C(bytes) than are free here) or V(ready), then with C(name), C(folder),
      C(digest), C(files), C(bytes), C(written_at) (Unix seconds by the node's clock) and C(step) (the training step
      that the names tell, null where they tell none).
    - C(newer) says why a newer one does not count yet.
  returned: success
  type: dict
  sample:
    state: ready
    name: step-300.pt
    folder: /home/me/proj/checkpoints
    mark: 3f1c2aa0d0b3c1f0a2d5a4f4cbb2c9c3a4f66d5c2f9a4e1f6d7a9d3b9e3d8c01
    digest: 0d4c1a3cc0b1c7d1b0aa1f5d1f3b1a6bb3f8f4f6f6aa0b7c2b7a3d0c9e1f2a3b
    files: 1
    bytes: 48211
    step: 300
    written_at: 1790000000.5
    newer: null
"""
