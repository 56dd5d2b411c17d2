# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.job_info: what is true of the jobs on a node."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "ids": {"type": "list", "elements": "str", "aliases": ["id"]},
                "live": {"type": "bool", "default": False},
                "gpus": {"type": "bool", "default": False},
            }
        )
        jobs = args["ids"] or ("live" if args["live"] else "all")
        reply = self.asked({"op": "reconcile", "observe": {"jobs": jobs}, "gpus": args["gpus"]}, task_vars)
        result.update(
            changed=False, jobs=[dict(item, id=item["job"]) for item in reply["attempts"]], node=reply["node"]
        )
        return result
