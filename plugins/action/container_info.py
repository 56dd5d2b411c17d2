# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.container_info: the containers of a node."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "names": {"type": "list", "elements": "str"},
                "engine": {"type": "str", "choices": ["podman", "docker"]},
            }
        )
        request = {"op": "containers", "which": args["names"], "engine": args["engine"]}
        reply = self.asked(request, task_vars)
        result.update(changed=False, containers=reply["containers"], containers_unknown=reply["containers_unknown"])
        return result
