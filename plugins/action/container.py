# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.container: one container in the state that was asked for."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.formatters import human_to_bytes

from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

ENGINES = ["podman", "docker"]
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "started", "stopped", "absent"], "default": "started"},
    "engine": {"type": "str", "choices": ENGINES},
    "image": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
    "entrypoint": {"type": "list", "elements": "str"},
    "env": {"type": "dict"},
    "secret_env": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "workdir": {"type": "str"},
    "user": {"type": "str"},
    "gpus": {"type": "list", "elements": "str"},
    "mounts": {"type": "list", "elements": "str"},
    "ports": {"type": "list", "elements": "str"},
    "restart": {"type": "str"},
    "network": {"type": "str"},
    "ipc": {"type": "str", "choices": ["host", "private"]},
    "shm_size": {"type": "str"},
    "ulimits": {"type": "list", "elements": "str"},
    "labels": {"type": "dict"},
    "recreate": {"type": "bool", "default": False},
    "grace": {"type": "float", "default": 10.0},
}
_AS_THEY_ARE = ("image", "command", "entrypoint", "workdir", "user", "mounts", "ports", "restart", "network", "ipc",
                "ulimits")  # fmt: skip


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(argument_spec=ARGUMENTS)
        request = {
            "op": "container",
            "action": args["state"],
            "container": args["name"],
            "definition": _definition(args),
            "secrets": self._secrets(args["secret_env"], task_vars),
            "recreate": args["recreate"],
            "grace_s": args["grace"],
            "dry_run": bool(self._task.check_mode),
        }
        if args["engine"]:
            request["engine"] = args["engine"]
        reply = self.asked(request, task_vars)
        result.update({field: reply[field] for field in ("changed", "container", "actions", "drift", "notes")})
        warnings = [
            "an engine that may have {0}, too, did not answer: {1}".format(args["name"], note)
            for note in reply["notes"]
        ]
        if reply["drift"] and not args["recreate"]:
            told = "{0} is not as wanted: {field} is {actual}, wanted {wanted}"
            warnings += [told.format(args["name"], **item) for item in reply["drift"]]
        if warnings:
            result["warnings"] = warnings
        if self._task.diff and reply["changed"]:
            told = reply["drift"] if self._task.check_mode and args["recreate"] else []
            before = dict({item["field"]: item["actual"] for item in told}, state=reply["before"])
            after = dict({item["field"]: item["wanted"] for item in told}, state=reply["after"])
            result["diff"] = {"before": before, "after": after}
        return result

    def _secrets(self, names, task_vars):
        values = self.secret_values(names, task_vars)
        missing = sorted(set(names) - set(values))
        if missing:
            raise AnsibleActionFail("no value for the secret {0}".format(", ".join(missing)))
        return values


def _definition(args):
    found = {name: args[name] for name in _AS_THEY_ARE if args[name] is not None}
    if args["gpus"] is not None:
        found["gpus"] = ",".join(args["gpus"])
    for name in ("env", "labels"):
        if args[name] is not None:
            found[name] = {key: str(value) for key, value in args[name].items()}
    if args["shm_size"] is not None:
        try:
            found["shm_bytes"] = human_to_bytes(args["shm_size"])
        except ValueError as problem:
            raise AnsibleActionFail("shm_size: {0}".format(problem)) from problem
    return found
