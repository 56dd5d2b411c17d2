# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.node_update: this controller's version of the node side, tested before it counts."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
from ansible_collections.stoker.fleet.plugins.module_utils.versions import RefusedError, refuse
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import sentence
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_versions import VersionsAction


class ActionModule(VersionsAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec={"with_jobs": {"type": "bool", "default": False}})
        told = self._would(args["with_jobs"], task_vars) if self._task.check_mode else self._update(args, task_vars)
        result.update(changed=told["outcome"] not in ("present", "put_back"), update=told)
        if told["outcome"] not in ("updated", "present"):
            result.update(failed=True, msg=_sentence(told))
        return result

    def _update(self, args, task_vars):
        reply = self.bring(args["with_jobs"], task_vars)
        if not reply.get("ok"):
            raise AnsibleActionFail("nothing was changed: {0}".format(safe_text(sentence(reply.get("error") or {}))))
        return reply["update"]

    def _would(self, with_jobs, task_vars):
        seen = self.look(task_vars)
        try:
            refuse(seen, with_jobs)
        except RefusedError as problem:
            raise AnsibleActionFail(str(problem)) from None
        outcome = "present" if seen["used"] == seen["wanted"] else "updated"
        told = {"version": seen["wanted"], "before": seen["used"], "outcome": outcome}
        return {**told, "reason": None, "back_reason": None}


def _sentence(told):
    if told["outcome"] == "unknown":
        return safe_text(told["reason"])
    text = "version {0} failed: {1}".format(told["version"], safe_text(told["reason"]))
    if told["outcome"] == "put_back_failed":
        return "{0}; and it could not be put back: {1}".format(text, safe_text(told["back_reason"]))
    if told["before"] is None:
        return "{0}; it was removed, and nothing was there before".format(text)
    return "{0}; the node is back on version {1}".format(text, told["before"])
