# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.reconcile: many orders in, what is true out, in one round trip."""

from __future__ import annotations

import copy

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec={"request": {"type": "dict", "required": True}})
        request = copy.deepcopy(args["request"])
        request["op"] = "reconcile"
        orders = request.get("orders") or []
        if self._task.check_mode:
            request["orders"] = []
        else:
            for order in orders:
                # What is missing the node refuses, for this order alone.
                order.update(self.secrets_of(order, task_vars))
        reply = self.asked(request, task_vars)
        changed = any(item["changed"] for item in reply["orders"])
        result.update(changed=changed or bool(self._task.check_mode and orders), reply=reply)
        return result
