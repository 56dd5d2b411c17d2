#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: Say what is true of the jobs on a node
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Returns every attempt of the jobs on a node with the state that evidence proves, in one round trip.
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
  ids:
    description: Only these jobs; all by default.
    type: list
    elements: str
    aliases: [id]
  live:
    description: Only attempts that are not over.
    type: bool
    default: false
  gpus:
    description: Ask for the node's GPUs too, in RV(node).
    type: bool
    default: false
seealso:
  - module: stoker.fleet.job
"""

EXAMPLES = r"""
- name: What runs here?
  stoker.fleet.job_info:
    live: true
  register: now

- name: Fail when the nightly run failed
  stoker.fleet.job_info:
    id: [nightly]
  register: nightly
  failed_when: nightly.jobs[-1].state in ['failed', 'lost']
"""

RETURN = r"""
jobs:
  description: One entry per attempt, oldest attempt first. The fields are those of C(stoker.observation/1).
  returned: success
  type: list
  elements: dict
  sample:
    - id: nightly
      attempt: 1
      state: failed
      reason: code
      exit_code: 7
      evidence: "exit record: exit 7"
      elapsed_s: 242.1
node:
  description: Facts of the node. An unknown value is null, with its reason beside it.
  returned: success
  type: dict
  sample:
    hostname: spark
    python: 3.11.2
    cpus: 20
"""
