#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workflow
short_description: Submit a workflow, look at it, end it, or go on with it
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - A workflow is a file of jobs that depend on each other, the same that C(stoker workflow run) takes. It is checked as
    a whole
    and written to the store with its first jobs.
  - Rounds bring it further, those of the playbook C(stoker.fleet.dispatch) too, whoever makes them.
  - It runs on the controller and connects to nothing.
requirements:
  - The Python package C(stoker) on the controller.
options:
  file:
    description: The workflow, a YAML file. Relative to the playbook.
    type: path
  context:
    description: Other values for names of its context.
    type: dict
    default: {}
  id:
    description: A workflow of the store, or the beginning of its id. Needed but for O(state=submitted).
    type: str
  state:
    description:
      - V(submitted) submits O(file); each time a new workflow.
      - V(shown) only tells how O(id) stands.
      - V(cancelled) lets nothing more of it begin; the next round stops what runs.
      - V(resumed) goes on with one that failed or was cancelled. What succeeded is not repeated.
    type: str
    choices: [submitted, shown, cancelled, resumed]
    default: submitted
  store_url:
    description:
      - Database URL of the store, C(sqlite:////path/stoker.db) or C(postgresql://user@host/name).
      - By default that of C(stoker.yml), E(STOKER_STORE_URL), or C(stoker.db) in the state folder of the user.
    type: str
  inventory:
    description:
      - The inventory whose nodes the workflow names.
      - By default that of the play, where it is one file or folder; else what C(stoker) finds.
    type: path
attributes:
  check_mode:
    support: full
    description: Can run in check mode; the file is checked, and nothing is written.
  diff_mode:
    support: none
    description: Returns details on what has changed.
  idempotent:
    support: partial
    description: V(cancelled), V(resumed) and V(shown) are. V(submitted) makes a new workflow each time.
"""

EXAMPLES = r"""
- name: Submit the nightly workflow
  stoker.fleet.workflow:
    file: nightly.yml
    context:
      epochs: 3
  register: nightly

- name: Look at it
  stoker.fleet.workflow:
    id: "{{ nightly.workflow.id }}"
    state: shown
  register: nightly

- name: Go on with it
  stoker.fleet.workflow:
    id: "{{ nightly.workflow.id }}"
    state: resumed
  when: nightly.workflow.state == 'failed'
"""

RETURN = r"""
workflow:
  description:
    - The workflow as C(stoker workflow status --json) tells it. C(null) in check mode, where it was not submitted.
  returned: success
  type: dict
  sample:
    id: nightly-8w8v
    name: nightly
    state: running
    counts: {queued: 1, waiting: 3}
"""
