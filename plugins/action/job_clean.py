# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.job_clean: remove what is over."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "older_than": {"type": "float", "default": 0.0},
                "keep_last": {"type": "int", "default": 0},
                "ids": {"type": "list", "elements": "str"},
            }
        )
        reply = self.asked(
            {
                "op": "clean",
                "older_than_s": args["older_than"],
                "keep_last": args["keep_last"],
                "jobs": args["ids"],
                "dry_run": bool(self._task.check_mode),
            },
            task_vars,
        )
        result.update(changed=bool(reply["removed"]), removed=reply["removed"], kept=reply["kept"])
        return result
