#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job
short_description: Start, stop or remove a job on a node
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Starts a command on a node so that it outlives the connection and the controller, once per O(id) and O(attempt).
  - Stops it so that none of its processes is left, or removes what a finished job left on the disk.
  - Its state is read from evidence on the node (exit record, held locks, boot id), never guessed.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  id:
    description:
      - The job's id on the node. The same id is the same job, a second start changes nothing.
      - By default O(name). One of the two is required.
    type: str
  name:
    description: A name to show.
    type: str
  state:
    description:
      - V(started) starts the job unless this attempt, or a later one, was started before.
      - V(stopped) ends it; it must exist. A job that is over is left as it is.
      - V(absent) removes a job that is over. A job that may be alive is refused.
    type: str
    choices: [started, stopped, absent]
    default: started
  attempt:
    description: Number of this execution of the job. Raise it to run a finished job again; one that is
      known, or lower, changes nothing.
    type: int
    default: 1
  argv:
    description: The command as a list. It is stored as data and never goes through a shell.
    type: list
    elements: str
  script:
    description: Text of a script to run instead of O(argv).
    type: str
  interpreter:
    description: What runs O(script).
    type: str
  workdir:
    description: Working directory; the home folder by default.
    type: str
  env:
    description: Environment variables. Not for secrets.
    type: dict
    default: {}
  secret_env:
    description: Names of environment variables that are secret; their values never appear in a task.
    type: list
    elements: str
    default: []
  gpus:
    description: How many GPUs the job needs. It waits on the node, in order, until that many are free.
    type: int
    default: 0
  gpu_uuids:
    description: Only these GPUs will do.
    type: list
    elements: str
  strict:
    description: Fail at the start instead of taking GPUs that others use, or of which that is not known. By default
      quiet GPUs are preferred, and RV(job.preflight) says what was odd about those taken.
    type: bool
    default: false
  gpu_memory_bytes:
    description: How much memory has to be free on each of its GPUs for it to count as quiet.
    type: int
  timeout:
    description: Seconds after which the job is stopped and counts as failed.
    type: float
  memory_bytes:
    description: Memory limit in bytes. Refused where no control group can enforce it.
    type: int
  cpus:
    description: CPU limit in cores. Refused where no control group can enforce it.
    type: float
  grace:
    description: Seconds between SIGTERM and SIGKILL when it is stopped.
    type: float
    default: 10.0
  checkpoint_signal:
    description: Signal (such as V(USR1)) sent before a stop to those processes that handle it.
    type: str
  checkpoint_grace:
    description: Seconds to wait after O(checkpoint_signal).
    type: float
    default: 30.0
  split_output:
    description: Keep stdout and stderr in files of their own too.
    type: bool
    default: false
  sample_interval:
    description: Seconds between two samples of its processes and GPUs.
    type: float
    default: 10.0
  log_patterns:
    description: Further error patterns for the log, each with C(name), C(regex) and C(severity).
    type: list
    elements: dict
    default: []
  metrics:
    description: Values to read from the log, each with C(name), C(regex) (one group) and C(keep) (V(first), V(last),
      V(series)).
    type: list
    elements: dict
    default: []
  wait:
    description: Seconds to wait for the end when O(state=stopped).
    type: float
    default: 30.0
  user:
    description: User of the node to run as; refused where the node's own user is not root. With O(container), user of
      the container.
    type: str
  sandbox:
    description:
      - V(bwrap) lets the job write to its working directory and to a C(/tmp) of its own only. Refused where the node
        has no bubblewrap.
      - V(container) does the same with a container, whose image O(container) or C(stoker_container_image) names.
    type: str
    choices: [bwrap, container]
  container:
    description: Run in a container of the node's Podman or Docker. The working directory is mounted.
    type: dict
    suboptions:
      image:
        description: The image; by default the host variable C(stoker_container_image).
        type: str
      engine:
        description: The engine; by default the host variable C(stoker_container_engine), or what the node has.
        type: str
        choices: [podman, docker]
      pull:
        description: When to fetch the image.
        type: str
        choices: [missing, never, always]
        default: missing
      mounts:
        description: What else of the node the container sees.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: Path on the node.
            type: str
            required: true
          target:
            description: Absolute path in the container.
            type: str
            required: true
          read_only:
            description: Whether it cannot be written to.
            type: bool
            default: false
      shm_bytes:
        description: Size of its shared memory in bytes; the engine's default otherwise.
        type: int
      user:
        description: User in the container; by default the one that is the node's own user outside.
        type: str
      network:
        description: Network of the engine, such as V(host) or V(none); its default otherwise.
        type: str
      workdir:
        description: Working directory in the container; by default that of the job.
        type: str
      read_only:
        description: Whether the image's own files cannot be written to.
        type: bool
        default: false
seealso:
  - module: stoker.fleet.job_info
  - module: stoker.fleet.job_log
"""

EXAMPLES = r"""
- name: Train on the newest code
  stoker.fleet.job:
    name: nightly
    argv: [python, train.py, --epochs, "3"]
    workdir: /srv/proj
    gpus: 1
    state: started
  register: nightly

- name: Run a script, with a secret of the controller's environment
  stoker.fleet.job:
    id: fetch-weights
    script: |
      set -e
      huggingface-cli download org/model
    secret_env: [HF_TOKEN]

- name: Train in a container
  stoker.fleet.job:
    id: contained
    argv: [python, train.py]
    workdir: /srv/proj
    gpus: 1
    container:
      image: docker.io/pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
      shm_bytes: 8589934592
      mounts:
        - { source: /data, target: /data, read_only: true }

- name: Stop it, with a checkpoint first
  stoker.fleet.job:
    id: nightly
    state: stopped
    grace: 20
"""

RETURN = r"""
job:
  description: What is true of the job now; RV(job.state) is V(absent) where there is none.
  returned: always
  type: dict
  contains:
    id:
      description: The job's id.
      type: str
      returned: always
    state:
      description: One of V(queued), V(starting), V(running), V(succeeded), V(failed), V(cancelled), V(lost), V(absent).
      type: str
      returned: always
    reason:
      description: Why it failed or was lost.
      type: str
      returned: where there is one
    evidence:
      description: What proves the state.
      type: str
      returned: where there is a job
    preflight:
      description: What was odd about its GPUs when it took them, each with C(gpu), C(kind) and C(text).
      type: list
      elements: dict
      returned: where it took GPUs
    exit_code:
      description: The command's own exit code.
      type: int
      returned: where it ended with one
    elapsed_s:
      description: Seconds from start to now, or to the end, by a clock that does not jump.
      type: float
      returned: where it began
"""
