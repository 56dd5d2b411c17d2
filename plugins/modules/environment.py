#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: environment
short_description: Install what a project needs, once, in an environment of its own
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Takes the first of C(uv.lock), C(pylock.toml), C(requirements.txt), C(pyproject.toml) and C(environment.yml) that
    the project's folder on the node has.
  - The environment lies in the state folder under a hash of that file, of what it includes, of the version of Python
    and of the machine's kind. The same hash is not installed again.
  - An install goes into a new folder, which counts when it is whole. One that fails leaves its exit code and its log.
    It goes on when the connection breaks; the next call waits for it.
extends_documentation_fragment:
  - stoker.fleet.node
requirements:
  - uv, or Python's venv and pip, on the node; micromamba, mamba or conda there for C(environment.yml)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  project:
    description: The project's folder on the node. A relative one is relative to the home folder.
    type: str
    required: true
  file:
    description:
      - The file that says what is needed, relative to O(project), instead of the one that is found.
      - C(*.txt) is read as a requirements file, C(*.yml) as one of conda.
    type: str
  python:
    description: The version of Python, such as V(3.11). By default the one that Ansible uses on the node.
    type: str
  tool:
    description: What installs it. By default V(uv) where the node has it, else V(pip), and V(conda) for its own file.
    type: str
    choices: [uv, pip, conda]
  timeout:
    description: The install is ended after this many seconds.
    type: int
    default: 3600
seealso:
  - module: stoker.fleet.job
"""

EXAMPLES = r"""
- name: What does the project need?
  stoker.fleet.environment:
    project: proj
  register: made

- name: Train in it
  stoker.fleet.job:
    name: nightly
    argv: [python, train.py]
    workdir: proj
    env: "{{ made.environment.activate }}"
    state: started

- name: With another file and another Python
  stoker.fleet.environment:
    project: proj
    file: requirements-gpu.txt
    python: "3.12"
"""

RETURN = r"""
environment:
  description:
    - The environment. C(state) is V(ready), V(failed), or in check mode V(missing).
    - C(activate) are the variables that make it the active one for a command on this node.
    - With C(state=failed), C(exit_code) is the installer's, null where it was ended; C(reason) says how, C(lines) are
      the last that it said, and C(log) is the file on the node that holds all of it.
  returned: always
  type: dict
  sample:
    name: 1f6b1c0f9a3de210
    state: ready
    project: /home/me/proj
    source: requirements.txt
    tool: uv
    python: 3.11.4
    folder: /home/me/.stoker/environments/1f6b1c0f9a3de210-5e1a90c2
    activate:
      VIRTUAL_ENV: /home/me/.stoker/environments/1f6b1c0f9a3de210-5e1a90c2
      PATH: /home/me/.stoker/environments/1f6b1c0f9a3de210-5e1a90c2/bin:/usr/bin:/bin
    build: 5e1a90c2
    elapsed_s: 41.2
    exit_code: null
    command: null
    reason: null
    log: /home/me/.stoker/environments/1f6b1c0f9a3de210.log
    lines: []
rc:
  description: The installer's exit code.
  returned: when the install failed
  type: int
"""
