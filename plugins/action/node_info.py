# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.node_info: what a node is doing now, in one round trip."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

PARTS = ["cpu", "memory", "disks", "network", "gpus", "containers"]


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={"parts": {"type": "list", "elements": "str", "choices": PARTS, "default": PARTS}}
        )
        reply = self.asked({"op": "info", "parts": args["parts"]}, task_vars)
        result.update(changed=False, node=reply["node"])
        return result
