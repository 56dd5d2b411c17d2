#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Have snapshots of projects on a node
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Brings snapshots (the files that jobs were submitted with) to a node by rsync, over Ansible's own connection. Files
    that the node's newest snapshot has, too, become hard links and are not sent.
  - A snapshot gets its name on the node only after everything in it was read there and has the right digest. One that
    is there is left alone.
  - A part of the playbook C(stoker.fleet.dispatch), between M(stoker.fleet.plan) and M(stoker.fleet.reconcile).
requirements:
  - rsync on the controller and on the node.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: partial
    details:
      - In check mode nothing is brought, and what is there is not looked at.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  snapshots:
    description: The folder on the controller of each snapshot, by its digest.
    type: dict
    required: true
  checkpoints:
    description: >-
      Which of them, by digest, are checkpoints that jobs go on from. One that is on the node already is read there
      first, and brought anew where it is damaged.
    type: list
    elements: str
    default: []
  datasets:
    description: >-
      Which of them, by digest, are data that jobs read: a file or folder that lies where its user has it.
    type: list
    elements: str
    default: []
  locks:
    description: Folder on the controller for locks while data is brought. Needed with O(datasets).
    type: path
  progress:
    description: Folder on the controller for a file that shows how far rsync is.
    type: path
  wait:
    description: >-
      Wait while another process of this machine brings the same data. Else that is said, and the next try finds it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Bring the files that jobs run with
  stoker.fleet.snapshot:
    snapshots: "{{ hostvars['localhost'].stoker_plan.snapshots[inventory_hostname] }}"
  register: stoker_snapshots
"""

RETURN = r"""
staged:
  description:
    - What became of each snapshot, by digest. C(ok) says whether it is there, C(bytes) what went over the connection
      (null when it was there), C(message) why it is not, C(again) whether trying again may help (the connection broke),
      C(damaged) whether what is on the controller is not what it was when it was taken.
  returned: always
  type: dict
  sample:
    3f1c2aa0d0b3c1f0a2d5a4f4cbb2c9c3a4f66d5c2f9a4e1f6d7a9d3b9e3d8c01:
      {ok: true, bytes: 48211, message: null, again: false, damaged: false}
"""
