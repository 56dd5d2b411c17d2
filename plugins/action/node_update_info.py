# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.node_update_info: which versions of the node side lie on a node."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.module_utils.versions import RefusedError, refuse
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_versions import VersionsAction


class ActionModule(VersionsAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "require_ready": {"type": "bool", "default": False},
                "with_jobs": {"type": "bool", "default": False},
            }
        )
        seen = self.look(task_vars)
        if args["require_ready"]:
            try:
                refuse(seen, args["with_jobs"])
            except RefusedError as problem:
                raise AnsibleActionFail(str(problem), result={"node_side": seen}) from None
        result.update(changed=False, node_side=seen)
        return result
