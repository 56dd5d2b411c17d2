#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reconcile
short_description: Carry out many orders on a node and say what is true there
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - One round trip with any number of orders (start, stop, lease, remove), then the observation of the node's attempts.
  - The playbook C(stoker.fleet.dispatch) is built on it.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  request:
    description:
      - The C(stoker.request/1) document without its C(schema), C(op) and folders. C(orders) is a list of orders,
        C(observe)
        says which attempts to return. In check mode no order is carried out.
    type: dict
    required: true
  snapshots:
    description:
      - What M(stoker.fleet.snapshot) returned for this node. A start whose snapshot is not there is not ordered; one
        whose snapshot cannot be brought there is answered as refused.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Start one job and stop another
  stoker.fleet.reconcile:
    request:
      orders:
        - order: start
          attempt: 1
          spec:
            schema: stoker.spec/1
            job: train-7k2f
            uid: 6c1f9be2-6f0c-4f1f-9c9e-3a0a0b3b6a52
            argv: [python, train.py]
        - order: stop
          job: eval-81bb
          attempt: 1
          wait_s: 20
      observe:
        jobs: live
"""

RETURN = r"""
reply:
  description:
    - The node's C(stoker.reply/1), C(orders) with the outcome of each order, C(attempts) with observations, C(node)
      with facts.
    - An order that was refused has C(ok) false and its C(error); it does not fail the task.
  returned: success
  type: dict
  sample:
    ok: true
    orders:
      - {order: start, job: train-7k2f, attempt: 1, ok: true, changed: true, error: null}
"""
