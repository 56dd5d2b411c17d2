#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_log
short_description: Read a job's log from a byte offset on
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Returns the bytes of a log from O(offset) on, or its last lines, and where to go on.
  - With O(wait) it waits on the node until there is something new, so that a log can be followed without polling.
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
  id:
    description: The job's id on the node.
    type: str
    required: true
    aliases: [job]
  attempt:
    description: The attempt; the newest by default.
    type: int
  offset:
    description: Byte to begin with. Use RV(chunk.next) of the last answer to go on.
    type: int
  tail:
    description: Begin so many lines before the end instead.
    type: int
  limit:
    description: The most bytes to return, 4 MiB at most.
    type: int
    default: 65536
  wait:
    description: Seconds to wait for new bytes. Ends at once when there are some, or when the job is over.
    type: float
    default: 0.0
  stream:
    description: V(out) is stdout and stderr; the others are there for jobs with C(split_output).
    type: str
    choices: [out, stdout, stderr]
    default: out
  content:
    description: Return the text too, with control and escape characters made visible.
    type: bool
    default: true
seealso:
  - module: stoker.fleet.job
"""

EXAMPLES = r"""
- name: Show what it says
  stoker.fleet.job_log:
    id: nightly
    wait: 30
  register: said

- name: The next part
  stoker.fleet.job_log:
    id: nightly
    offset: "{{ said.chunk.next }}"
    wait: 30
"""

RETURN = r"""
chunk:
  description: The bytes that were asked for.
  returned: success
  type: dict
  contains:
    offset:
      description: The first byte.
      type: int
      returned: always
    next:
      description: The byte after the last, to go on with.
      type: int
      returned: always
    size:
      description: Bytes of the whole log now.
      type: int
      returned: always
    data:
      description: The bytes, as base64 of zlib.
      type: str
      returned: always
    eof:
      description: Whether the job is over and everything was sent.
      type: bool
      returned: always
content:
  description: The text of the chunk, safe to show.
  returned: when O(content=true)
  type: str
  sample: "step 200/1000  loss 2.41"
observation:
  description: What was true of the attempt when the chunk was read.
  returned: success
  type: dict
  sample:
    state: running
    elapsed_s: 12.5
"""
