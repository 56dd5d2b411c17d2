#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_update_info
short_description: Say which versions of Stoker's node side lie on a node
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Says which versions of the node side lie below C(bin) of the state folder, which of them this controller uses there,
    and which are held by running jobs. Nothing is brought and nothing is changed.
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
  require_ready:
    description: Fail, with every reason, where M(stoker.fleet.node_update) would be refused.
    type: bool
    default: false
  with_jobs:
    description: With O(require_ready), running jobs are no reason.
    type: bool
    default: false
seealso:
  - module: stoker.fleet.node_update
"""

EXAMPLES = r"""
- name: Which versions are there?
  stoker.fleet.node_update_info:
  register: found

- name: Refuse to go on where this controller's version is not used
  ansible.builtin.assert:
    that: found.node_side.used == found.node_side.wanted
"""

RETURN = r"""
node_side:
  description:
    - C(wanted) is the version of this controller. C(used) is the same where it lies there and did not fail; else
      the one before, which is C(kept) or the newest other one that is whole and did not fail itself. It is null where
      there is none.
    - C(kept) says which version is used in the place of C(wanted), since when and why, where that failed here; else it
      is null.
    - C(versions) are those that lie there, the newest first. C(intact) says whether the files, hashed again, give
      the version's name; C(jobs) are those that run with it. C(brought_at) is in Unix seconds, by the node's clock.
    - C(jobs) are all that run; one whose version is not known, since its supervisor was killed, stands only here.
      C(ill) says why nothing could be brought.
  returned: always
  type: dict
  sample:
    wanted: 3f2a91c07b5d6e10
    used: 9be1d04aa23c7f55
    kept: null
    python: 3.11.4
    state_dir: /home/me/.stoker
    jobs: [train-9x4c]
    ill: []
    versions:
      - version: 9be1d04aa23c7f55
        brought_at: 1763790000.5
        intact: true
        jobs: [train-9x4c]
"""
