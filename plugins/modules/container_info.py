#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_info
short_description: The containers of a node, and what they are made of
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Lists the containers of Podman and Docker as the node's user sees them, also those that do not run.
  - Of their environment only the names are told.
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
  names:
    description: Only these containers.
    type: list
    elements: str
  engine:
    description: Ask only this engine.
    type: str
    choices: [podman, docker]
seealso:
  - module: stoker.fleet.container
"""

EXAMPLES = r"""
- name: Which containers are there?
  stoker.fleet.container_info:
  register: now
"""

RETURN = r"""
containers:
  description: The containers, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    state:
      description: The engine's own word, such as V(running).
      type: str
      returned: always
    ports:
      description: Its ports, as V(127.0.0.1:8888:8888/tcp).
      type: list
      elements: str
      returned: always
    mounts:
      description: Its folders and volumes.
      type: list
      elements: str
      returned: always
containers_unknown:
  description: Which engine is there and did not answer, and why; null where all did.
  returned: success
  type: str
"""
