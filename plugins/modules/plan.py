#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Decide a dispatch round and claim what it starts
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Reads the store and the inventory, decides which node is asked what, and writes down the attempts that this round
    starts
    before any order leaves. Two controllers that plan at once never claim the same job.
  - The first part of the playbook C(stoker.fleet.dispatch); M(stoker.fleet.reconcile) carries the orders out
    and
    M(stoker.fleet.record) writes down the answers. It runs on the controller and connects to nothing.
requirements:
  - The Python package C(stoker) on the controller.
options:
  store_url:
    description:
      - Database URL of the store, C(sqlite:////path/stoker.db) or C(postgresql://user@host/name).
      - By default E(STOKER_STORE_URL), or C(stoker.db) in the state folder of the user.
    type: str
  round:
    description: What the round is for.
    type: dict
    default: {}
    suboptions:
      mode:
        description:
          - V(dispatch) starts, stops and retries jobs. V(observe) only asks. V(adopt) reads jobs back from the nodes
            that the store
            does not know.
        type: str
        choices: [dispatch, observe, adopt]
        default: dispatch
      nodes:
        description: Only these nodes. By default all that matter to the round.
        type: list
        elements: str
      jobs:
        description: Only these jobs, by id. By default all that are not over.
        type: list
        elements: str
      wait_s:
        description: How long a node may hold its answer until something changes, in seconds. Used when few nodes are
          asked.
        type: float
        default: 0
      log_keep_bytes:
        description: How many of the last bytes of each log the store keeps a copy of.
        type: int
        default: 1048576
      parts:
        description: What to read of the nodes themselves, besides their jobs. See M(stoker.fleet.node_info).
        type: list
        elements: str
        choices: [cpu, memory, disks, network, gpus, containers]
      epoch:
        description:
          - The epoch under which the dispatcher leads that makes this round. Once another one leads, nothing of the
            round is written down any more.
        type: int
      placement:
        description:
          - How nodes are chosen, as C(placement) of C(stoker.yml) says it. What is not named is as by default.
          - V(weights) of the parts of a score, V(group_limits), V(pass_limit), V(pass_s), V(gang_start_s).
        type: dict
      membership:
        description: The settings C(membership) of C(stoker.yml), as far as they are not the defaults.
        type: dict
        default: {}
      probe:
        description: Ask nodes, too, that have not been heard of for a while.
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the orders without claiming anything.
  diff_mode:
    support: none
    description: Returns details on what has changed.
  idempotent:
    support: full
    description: A second plan orders an unconfirmed start again under the same attempt number, and claims nothing
      twice.
"""

EXAMPLES = r"""
- name: Decide what is to be done about all jobs
  stoker.fleet.plan:
  register: stoker_plan

- name: Ask two nodes only
  stoker.fleet.plan:
    store_url: postgresql://stoker@db.example.org/stoker
    round:
      mode: observe
      nodes: [rtx-01, rtx-02]
  register: stoker_plan
"""

RETURN = r"""
nodes:
  description: The nodes to ask, sorted by name.
  returned: success
  type: list
  elements: str
  sample: [rtx-01, rtx-02]
orders:
  description: What to ask of each node, a C(stoker.request/1) document for M(stoker.fleet.reconcile), by the node's
    name.
  returned: success
  type: dict
  sample:
    rtx-01:
      schema: stoker.request/1
      op: reconcile
      orders: []
      observe: {jobs: [train-7k2f], specs: false}
      gpus: false
      wait: 0.0
snapshots:
  description:
    - The snapshots that jobs to be started need, by node, for M(stoker.fleet.snapshot), each digest with its folder on
      the controller. Checkpoints that jobs go on from are among them.
  returned: success
  type: dict
  sample: {}
datasets:
  description: Which of the snapshots are data that jobs read, by node. Nodes that need none are left out.
  returned: success
  type: dict
  sample: {}
locks:
  description: The folder on the controller for locks while data is brought; null where none is needed.
  returned: success
  type: str
  sample: null
checkpoints:
  description: Which of the snapshots are checkpoints, by node. Nodes that need none are left out.
  returned: success
  type: dict
  sample: {}
"""
