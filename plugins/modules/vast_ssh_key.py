#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vast_ssh_key
short_description: Public keys of an account of vast.ai
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - Has a public key in the account, or takes it away. New instances get the keys of the account; for one that is there
    already see O(stoker.fleet.vast_instance#module:public_keys).
  - Two keys are the same when type and key are, whatever the comment says.
extends_documentation_fragment:
  - stoker.fleet.vast
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  public_key:
    description: The line of the public key itself, not a path.
    type: str
    required: true
  state:
    description: Whether the account should have it.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Have my key in the account
  stoker.fleet.vast_ssh_key:
    public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
  delegate_to: localhost
"""

RETURN = r"""
ids:
  description: The numbers under which the account has the key.
  returned: success
  type: list
  elements: int
  sample: [12]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules
from ansible_collections.stoker.fleet.plugins.module_utils.vast.errors import VastError
from ansible_collections.stoker.fleet.plugins.module_utils.vast.rental import public_key


def same(vast, line):
    """Numbers of the account's keys that are this one."""
    kept = vast.keys()
    return [key["id"] for key in kept if key["public_key"].split()[:2] == line.split()[:2]]


def add(vast, line):
    """Have the key in the account. One whose answer was lost is looked for before anything else is said."""
    try:
        return [vast.add_key(line)]
    except VastError as problem:
        if problem.kind not in ("unanswered", "unreadable") or not problem.sent:
            raise
        ids = same(vast, line)
        if not ids:
            raise
        return ids


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            modules.ARGUMENTS,
            public_key={"type": "str", "required": True, "no_log": False},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        ),
        supports_check_mode=True,
    )

    def work(vast, params):
        line = public_key(params["public_key"])
        ids = same(vast, line)
        changed = bool(ids) != (params["state"] == "present")
        if changed and not module.check_mode:
            if params["state"] == "present":
                ids = add(vast, line)
            else:
                for number in ids:
                    vast.remove_key(number)
                ids = []
        return {"changed": changed, "ids": ids}

    modules.run(module, work)


if __name__ == "__main__":
    main()
