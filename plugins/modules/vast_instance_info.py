#!/usr/bin/python
# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vast_instance_info
short_description: The machines that are rented of vast.ai
version_added: 0.1.0
author: Stoker contributors (@stoker)
description:
  - All instances of the account, or those of a label. The list is complete, or the task fails; an answer that cannot be
    understood is never taken for an empty list.
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
  id:
    description: Only the instance of this number.
    type: int
  label:
    description: Only instances with exactly this label.
    type: str
  label_prefix:
    description: Only instances whose label begins so.
    type: str
"""

EXAMPLES = r"""
- name: See what is billed
  stoker.fleet.vast_instance_info:
    label_prefix: nightly/
  register: rented
  delegate_to: localhost
"""

RETURN = r"""
instances:
  description:
    - The instances by number, as the service shows them, without environment, start script and tokens.
    - RV(instances[].phase) is V(creating), V(loading), V(running), V(stopped), V(outbid), V(exited), V(offline),
      V(frozen), V(rebooting), V(failed) or V(unknown); RV(instances[].evidence) says what it was read from.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The number of the instance.
      type: int
    phase:
      description: What state it is in.
      type: str
    evidence:
      description: The fields that say so, with the service's message.
      type: str
    dph_total:
      description: US dollars per hour while it runs.
      type: float
  sample: [{id: 101, label: nightly/2026-11-22, phase: running, gpu_name: RTX 4090, dph_total: 0.412}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stoker.fleet.plugins.module_utils.vast import modules
from ansible_collections.stoker.fleet.plugins.module_utils.vast.reading import shown


def work(vast, params):
    """The instances that were asked for."""
    if params["id"] is not None:
        row = vast.instance(params["id"])
        rows = [row] if row else []
    else:
        rows = vast.instances(params["label"] or params["label_prefix"])
        if params["label"]:
            rows = [row for row in rows if row.get("label") == params["label"]]
    return {"changed": False, "instances": [shown(row) for row in rows]}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(modules.ARGUMENTS, id={"type": "int"}, label={"type": "str"}, label_prefix={"type": "str"}),
        mutually_exclusive=[("id", "label", "label_prefix")],
        supports_check_mode=True,
    )
    modules.run(module, work)


if __name__ == "__main__":
    main()
