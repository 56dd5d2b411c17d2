#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Write down what the nodes of a dispatch round answered
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Reads what M(stoker.fleet.reconcile) registered on each node of the round, and brings the store up to it, one
    transaction for
    each job that changed. A node that could not be asked changes no job; since when it is unreachable is noted.
  - The last part of the playbook C(stoker.fleet.dispatch). It runs on the controller and connects to nothing.
requirements:
  - The Python package C(stoker) on the controller.
options:
  store_url:
    description:
      - Database URL of the store, the same as for M(stoker.fleet.plan).
    type: str
  round:
    description: What the round was for, the same as for M(stoker.fleet.plan).
    type: dict
    default: {}
  orders:
    description: What each node was asked, the return value RV(stoker.fleet.plan#module:orders).
    type: dict
    required: true
  variable:
    description: Name of the variable in which the task that asked the nodes registered its result.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and write nothing.
  diff_mode:
    support: none
    description: Returns details on what has changed.
  idempotent:
    support: full
    description: The same answers written down twice change nothing the second time.
"""

EXAMPLES = r"""
- name: Write down what the nodes answered
  stoker.fleet.record:
    orders: "{{ stoker_plan.orders }}"
    variable: stoker_reconcile
  register: stoker_round_result
"""

RETURN = r"""
summary:
  description: What the round found and did; null in check mode.
  returned: success
  type: dict
  contains:
    changed:
      description: One entry for each transition.
      type: list
      elements: dict
      sample:
        - {job: train-7k2f, attempt: 1, node: rtx-01, event: job.failed, from: running, to: failed, reason: oom}
    unreachable:
      description: Why each unreachable node could not be reached.
      type: dict
      sample: {rtx-03: "Permission denied (publickey)."}
    failed:
      description: Why the answer of each other node is missing or cannot be used.
      type: dict
    adopted:
      description: Ids of the jobs that were read back.
      type: list
      elements: str
    conflicts:
      description: Why each job that could not be read back was left alone, by job id.
      type: dict
    again:
      description: Whether another round now would bring a job further.
      type: bool
"""
