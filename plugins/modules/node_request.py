#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_request
short_description: Send one request to the node side as it is
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - For the command line and for tests. Playbooks are better served by the other modules.
extends_documentation_fragment:
  - stoker.fleet.node
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  request:
    description: A C(stoker.request/1) document without its C(schema) and folders.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What would be removed?
  stoker.fleet.node_request:
    request:
      op: clean
      older_than_s: 86400
      dry_run: true
"""

RETURN = r"""
reply:
  description: The node's C(stoker.reply/1).
  returned: success
  type: dict
  sample:
    ok: true
"""
