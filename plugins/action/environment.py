# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.environment: what a project needs, installed once in an environment of its own."""

from __future__ import annotations

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

# How long one question is held open, in seconds: the node waits, not the connection.
_WAIT_S = 20
_SHOWN_LINES = 5


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "project": {"type": "str", "required": True},
                "file": {"type": "str"},
                "python": {"type": "str"},
                "tool": {"type": "str", "choices": ["uv", "pip", "conda"]},
                "timeout": {"type": "int", "default": 3600},
            }
        )
        request = {
            "op": "environment",
            "folder": args["project"],
            "file": args["file"],
            "python": args["python"],
            "tool": args["tool"],
            "timeout_s": args["timeout"],
            "make": not self._task.check_mode,
            "wait": _WAIT_S,
        }
        told = self.asked(request, task_vars)["environment"]
        changed = told["started"] or told["state"] == "missing"
        while told["state"] == "installing":
            told = self.asked(dict(request, build=told["build"]), task_vars)["environment"]
        result.update(changed=changed, environment={name: told[name] for name in told if name != "started"})
        if told["state"] == "failed":
            result.update(failed=True, rc=told["exit_code"], msg=_sentence(told))
        return result


def _sentence(told):
    last = [safe_text(line).strip() for line in told["lines"] if line.strip()][-_SHOWN_LINES:]
    what = "{0} ({1})".format(told["reason"], safe_text(told["command"])) if told["command"] else told["reason"]
    said = "; it said: {0}".format(" | ".join(last)) if last else ""
    return "the install {0}{1} (next: the whole log is {2} on the node)".format(what, said, told["log"])
