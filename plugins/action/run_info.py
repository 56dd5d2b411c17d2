# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.run_info: what the training of a job came to so far, digested on its node."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

_FIGURES = ("count", "nan", "inf", "first", "last", "final", "min", "max", "mean")


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "id": {"type": "str", "required": True},
                "attempt": {"type": "int"},
                "path": {"type": "str"},
                "since": {"type": "str"},
            }
        )
        asked = {"job": args["id"], "attempt": args["attempt"], "path": args["path"], "since": args["since"]}
        reply = self.asked(dict(asked, op="run_info"), task_vars)
        run = reply["run"]
        del run["columns"]  # for programs, which ask by node_request
        for one in run["files"]:
            one["metrics"] = {
                name: {figure: metric[figure] for figure in _FIGURES} for name, metric in one["metrics"].items()
            }
        result.update(changed=False, run=run, job=reply["observation"])
        return result
