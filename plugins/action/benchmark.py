# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.benchmark: how fast a node is."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={"python": {"type": "str"}, "timeout": {"type": "int", "default": 180}}
        )
        request = {"op": "benchmark", "interpreter": args["python"], "timeout_s": args["timeout"]}
        told = self.asked(request, task_vars)["benchmark"]
        if told["jobs"]:
            names = ", ".join(told["jobs"])
            result["warnings"] = ["these jobs were on the node while it was measured: {0}".format(names)]
        result.update(changed=False, benchmark=told)
        return result
