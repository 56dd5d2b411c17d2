# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.node_exec: one command now, with its own exit code and streams."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec={
                "argv": {"type": "list", "elements": "str"},
                "script": {"type": "str"},
                "interpreter": {"type": "str"},
                "workdir": {"type": "str"},
                "env": {"type": "dict", "default": {}},
                "secret_env": {"type": "list", "elements": "str", "default": [], "no_log": False},
                "timeout": {"type": "float", "aliases": ["timeout_s"]},
                "limit": {"type": "int"},
            },
            mutually_exclusive=[("argv", "script")],
            required_one_of=[("argv", "script")],
        )
        request = {"op": "exec", "timeout_s": args["timeout"]}
        request.update(
            {
                name: args[name]
                for name in ("argv", "script", "interpreter", "workdir", "limit")
                if args[name] is not None
            }
        )
        request["env"] = {name: str(value) for name, value in args["env"].items()}
        secrets = self.secret_values(args["secret_env"], task_vars)
        missing = sorted(set(args["secret_env"]) - set(secrets))
        if missing:
            raise AnsibleActionFail("no value for the secret {0}".format(", ".join(missing)))
        request["env"].update(secrets)
        reply = self.asked(request, task_vars)
        result.update(
            {
                name: reply[name]
                for name in ("code", "signal", "stdout", "stderr", "truncated", "timed_out", "elapsed_s")
            }
        )
        result["changed"] = True
        return result
