#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_exec
short_description: Run a command on a node to its end, its exit code and streams unchanged
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Runs a command and waits for it. The task does not fail when the command does; RV(code) says how it ended.
  - For anything that should outlive the connection use M(stoker.fleet.job).
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
  argv:
    description: The command as a list; it never goes through a shell.
    type: list
    elements: str
  script:
    description: Text of a script to run instead of O(argv).
    type: str
  interpreter:
    description: What runs O(script).
    type: str
  workdir:
    description: Working directory; the home folder by default.
    type: str
  env:
    description: Environment variables. Not for secrets.
    type: dict
    default: {}
  secret_env:
    description: Names of environment variables that are secret.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds after which it is killed.
    type: float
    aliases: [timeout_s]
  limit:
    description: The most bytes kept of each stream, 16 MiB by default.
    type: int
"""

EXAMPLES = r"""
- name: Ask the driver
  stoker.fleet.node_exec:
    argv: [nvidia-smi, -L]
  register: driver
"""

RETURN = r"""
code:
  description: The exit code; null where it ended by a signal.
  returned: success
  type: int
  sample: 0
signal:
  description: The signal that ended it; null where there was none.
  returned: success
  type: int
stdout:
  description: Its standard output, unchanged, as base64 of zlib.
  returned: success
  type: str
stderr:
  description: Its standard error, unchanged, as base64 of zlib.
  returned: success
  type: str
truncated:
  description: Whether a stream was longer than O(limit).
  returned: success
  type: bool
timed_out:
  description: Whether it was killed at O(timeout).
  returned: success
  type: bool
elapsed_s:
  description: Seconds that it took.
  returned: success
  type: float
"""
