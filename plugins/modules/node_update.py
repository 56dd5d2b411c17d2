#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_update
short_description: Bring this controller's version of Stoker's node side, tested before it counts
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Brings the version under a name that nobody uses and tests it there. It has to answer a look, and a job of its own
    has to begin, to end and to be recorded, in a state folder that is removed afterwards. Only then it gets its name,
    and is asked about the node itself and the jobs that run there.
  - One that fails is removed. The version before is used again; its files are hashed again, and the node is looked at
    once more by it. That the new one failed is noted on the node, so that a controller that has it goes on with the
    version before. The next update that passes takes the note away.
  - Jobs that run keep the version that they began with.
  - Where the version is there already it is tested in its place, and nothing changes.
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
  with_jobs:
    description: Do it also where jobs run. By default such a node is refused.
    type: bool
    default: false
notes:
  - The playbook C(stoker.fleet.update) looks at all nodes first and then updates some at a time, and stops at the first
    that fails.
seealso:
  - module: stoker.fleet.node_update_info
"""

EXAMPLES = r"""
- name: Two nodes at a time, and no further after a failure
  hosts: gpus
  gather_facts: false
  serial: 2
  any_errors_fatal: true
  tasks:
    - name: Bring this controller's version
      stoker.fleet.node_update:
        with_jobs: true
"""

RETURN = r"""
update:
  description:
    - C(outcome) is V(updated), V(present) (it was there, and passed the test again), V(put_back), V(put_back_failed),
      or V(unknown) where the connection was lost or the update died there; with the last three the task fails.
      C(version) is the one that was brought, C(before) the one that was used.
    - C(reason) says why the version failed, C(back_reason) why the node is not as it was.
  returned: when the node was not refused
  type: dict
  sample:
    outcome: put_back
    version: 3f2a91c07b5d6e10
    before: 9be1d04aa23c7f55
    reason: "its test job could not be started: no supervisor could be started"
    back_reason: null
"""
