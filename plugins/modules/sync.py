#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sync
short_description: Bring the files of a project to a node, and results back
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - With O(direction=push), git decides what is sent, which is what C(git ls-files -co --exclude-standard) lists. A file
    C(.stokerignore) at the top of the folder, written like a C(.gitignore), leaves out more. Of a folder that is no git
    repository everything else is sent.
  - rsync moves it over Ansible's own ssh settings, and over its open connection where ssh shares one. Host keys are
    always checked. On a host whose connection is C(local), the files are copied on this machine.
  - What rsync could not finish fails the task with rsync's words and code. The next run continues where it stopped.
extends_documentation_fragment:
  - stoker.fleet.node
requirements:
  - rsync 3.1 or later on the controller and on the node
  - git on the controller
notes:
  - It logs in as the user of the connection and does not become another one.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  progress:
    description:
      - A folder on the controller. What rsync says is written into a file of the host's name there while it works, with
        its progress. By default nobody sees it.
    type: path
  settings:
    description: The file of settings in use on the controller, where its name is not V(stoker.yml). Never fetched.
    type: path
  direction:
    description: V(push) sends files to the node, V(pull) fetches them from there.
    type: str
    choices: [push, pull]
    required: true
  local:
    description: The folder on the controller. A relative one is relative to the playbook.
    type: str
    required: true
  remote:
    description:
      - The folder on the node. A relative one is relative to the home folder.
      - By default the folder of the name of O(local), in the home folder.
    type: str
  paths:
    description:
      - With O(direction=pull), only these files and folders of O(remote). One that is missing is told in RV(notes).
    type: list
    elements: str
    default: []
  delete:
    description:
      - With O(direction=push), take away the files that an earlier push put there and that no longer belong to what is
        sent.
      - A file that nobody pushed, or that was changed on the node since, is never deleted.
    type: bool
    default: false
  force:
    description:
      - With O(direction=pull), overwrite files that are newer here. Otherwise they stay and are listed in RV(kept).
    type: bool
    default: false
  with_secrets:
    description: Move files such as C(.env), C(*.pem), C(id_rsa) and C(.netrc), too. Otherwise RV(left_out) lists them.
    type: bool
    default: false
  max_size:
    description: Fail before anything is moved when it would be more than this.
    type: str
    default: 500M
"""

EXAMPLES = r"""
- name: Send the project
  stoker.fleet.sync:
    direction: push
    local: "{{ playbook_dir }}"
    remote: proj
  register: pushed

- name: Fetch what it made
  stoker.fleet.sync:
    direction: pull
    local: "{{ playbook_dir }}"
    remote: proj
    paths: [results, checkpoints/last.pt]
"""

RETURN = r"""
direction:
  description: The option.
  returned: always
  type: str
local:
  description: The folder on the controller.
  returned: always
  type: str
remote:
  description: The folder on the node, as an absolute path.
  returned: when the node could be asked
  type: str
changes:
  description:
    - What was moved (in check mode, would be), with C(name), C(change) and C(bytes).
    - C(change) is V(new), V(changed) or V(attributes), where only time or mode differ.
  returned: always
  type: list
  elements: dict
  sample:
    - name: train.py
      change: changed
      bytes: 5120
files:
  description: How many they are.
  returned: always
  type: int
bytes:
  description: The size of the files whose content was moved.
  returned: always
  type: int
wire_bytes:
  description: What went over the connection, both ways. Of a large file that changed little, only the changes do.
  returned: always
  type: int
left_out:
  description: Files that look like secrets and stayed where they are.
  returned: always
  type: list
  elements: str
kept:
  description: Files that a pull left as they are because they are newer here.
  returned: always
  type: list
  elements: str
deleted:
  description: Files that were (in check mode, would be) taken away from the node.
  returned: always
  type: list
  elements: str
stale:
  description: Files of an earlier push that are still there and no longer sent. O(delete) takes them away.
  returned: always
  type: list
  elements: str
notes:
  description: Everything else that is worth a look, one sentence each, such as a path that is missing on the node.
  returned: always
  type: list
  elements: str
last_push:
  description: The newest push into that folder that was completed; null where there was none.
  returned: always
  type: dict
  sample:
    schema: stoker.last_push/1
    folder: /home/me/proj
    source: laptop:/home/me/proj
    at: 1790000000.5
    files: 42
rc:
  description: rsync's exit code; negative for the signal that ended it.
  returned: when rsync failed
  type: int
"""
