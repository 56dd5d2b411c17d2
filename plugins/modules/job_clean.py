#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_clean
short_description: Remove finished jobs from a node
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Removes the folders of jobs that are over and old enough, and returns what was really removed.
  - A job that may be alive is never touched.
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
  older_than:
    description: Only jobs that ended at least so many seconds ago.
    type: float
    default: 0.0
  keep_last:
    description: Keep the newest so many finished jobs in any case.
    type: int
    default: 0
  ids:
    description: Only these jobs; all by default.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Keep a week, and never less than the last 20
  stoker.fleet.job_clean:
    older_than: 604800
    keep_last: 20
"""

RETURN = r"""
removed:
  description: One entry per attempt that was removed (in check mode, would be), with its bytes on the disk.
  returned: success
  type: list
  elements: dict
  sample:
    - job: eval-81bb
      attempt: 1
      bytes: 51234
kept:
  description: How many jobs were kept.
  returned: success
  type: int
  sample: 3
"""
