# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of stoker.fleet.job: one job in the state that was asked for."""

from __future__ import annotations

import uuid

from ansible.errors import AnsibleActionFail

from ansible_collections.stoker.fleet.plugins.module_utils.statedir import JOB_ID
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction, sentence

_NAMESPACE = uuid.UUID("a6b2a1de-5a4f-4f0c-9a3e-0d3b1f6c2f5d")
LIVE = ("queued", "starting", "running")
ARGUMENTS = {
    "id": {"type": "str"},
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "attempt": {"type": "int", "default": 1},
    "argv": {"type": "list", "elements": "str"},
    "script": {"type": "str"},
    "interpreter": {"type": "str"},
    "workdir": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "secret_env": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "gpus": {"type": "int", "default": 0},
    "gpu_uuids": {"type": "list", "elements": "str"},
    "strict": {"type": "bool", "default": False},
    "gpu_memory_bytes": {"type": "int"},
    "timeout": {"type": "float"},
    "memory_bytes": {"type": "int"},
    "cpus": {"type": "float"},
    "grace": {"type": "float", "default": 10.0},
    "checkpoint_signal": {"type": "str"},
    "checkpoint_grace": {"type": "float", "default": 30.0},
    "split_output": {"type": "bool", "default": False},
    "sample_interval": {"type": "float", "default": 10.0},
    "log_patterns": {"type": "list", "elements": "dict", "default": []},
    "metrics": {"type": "list", "elements": "dict", "default": []},
    "wait": {"type": "float", "default": 30.0},
    "user": {"type": "str"},
    "sandbox": {"type": "str", "choices": ["bwrap", "container"]},
    "container": {
        "type": "dict",
        "options": {
            "image": {"type": "str"},
            "engine": {"type": "str", "choices": ["podman", "docker"]},
            "pull": {"type": "str", "choices": ["missing", "never", "always"], "default": "missing"},
            "mounts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "source": {"type": "str", "required": True},
                    "target": {"type": "str", "required": True},
                    "read_only": {"type": "bool", "default": False},
                },
            },
            "shm_bytes": {"type": "int"},
            "user": {"type": "str"},
            "network": {"type": "str"},
            "workdir": {"type": "str"},
            "read_only": {"type": "bool", "default": False},
        },
    },
}


class ActionModule(NodeAction):
    """See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            argument_spec=ARGUMENTS,
            mutually_exclusive=[("argv", "script")],
            required_one_of=[("id", "name")],
        )
        job = args["id"] or args["name"]
        if not JOB_ID.match(job):
            raise AnsibleActionFail(
                "{0!r} is not a job id: up to 63 of a-z 0-9 . _ -, a letter or digit first "
                "(next: give one as id; name may be any text)".format(str(job))
            )
        now = self._look(job, task_vars)
        wanted = getattr(self, "_" + args["state"])(args, job, now)
        result["changed"] = wanted is not None
        if wanted is not None and not self._task.check_mode:
            now = self._order(wanted, job, task_vars)
        result["job"] = dict(now or {"state": "absent"}, id=job)
        if self._task.diff and wanted is not None:
            before = (self._before or {"state": "absent"})["state"]
            after = (
                "absent"
                if args["state"] == "absent"
                else args["state"]
                if self._task.check_mode
                else result["job"]["state"]
            )
            result["diff"] = {"before": {"state": before}, "after": {"state": after}}
        return result

    def _look(self, job, task_vars):
        reply = self.asked({"op": "reconcile", "observe": {"jobs": [job]}}, task_vars)
        found = [item for item in reply["attempts"] if item["job"] == job]
        self._before = found[-1] if found else None
        return self._before

    def _started(self, args, job, now):
        """The order that starts the job; None where this attempt, or a later one, exists: it is started once."""
        if not args["argv"] and not args["script"]:
            raise AnsibleActionFail("state started needs argv or script")
        if now is not None and now["attempt"] >= args["attempt"]:
            return None
        spec = {
            "schema": "stoker.spec/1",
            "job": job,
            "name": args["name"] or job,
            # The same id from the same play is the same job, whatever controller runs it.
            "uid": str(uuid.uuid5(_NAMESPACE, job)),
            "timeout_s": args["timeout"],
            "grace_s": args["grace"],
            "checkpoint_grace_s": args["checkpoint_grace"],
            "sample_interval_s": args["sample_interval"],
            "env": {name: str(value) for name, value in args["env"].items()},
        }
        if args["gpus"] or args["gpu_uuids"]:
            spec["preflight"] = {"strict": args["strict"], "gpu_memory_bytes": args["gpu_memory_bytes"]}
        for name in (
            "argv",
            "script",
            "interpreter",
            "workdir",
            "secret_env",
            "gpus",
            "gpu_uuids",
            "memory_bytes",
            "cpus",
            "checkpoint_signal",
            "split_output",
            "log_patterns",
            "metrics",
            "user",
            "sandbox",
            "container",
        ):
            if args[name] is not None:
                spec[name] = args[name]
        return {"order": "start", "attempt": args["attempt"], "spec": spec}

    def _stopped(self, args, job, now):
        """The order that stops it; None where it is over already."""
        if now is None:
            raise AnsibleActionFail(
                "there is no job {0} on this node (next: stoker.fleet.job_info lists them)".format(job)
            )
        if now["state"] not in LIVE:
            return None
        return {
            "order": "stop",
            "job": job,
            "attempt": now["attempt"],
            "grace_s": args["grace"],
            "wait_s": args["wait"],
        }

    def _absent(self, args, job, now):
        return None if now is None else {"order": "remove", "job": job}

    def _order(self, order, job, task_vars):
        order = dict(order, **self.secrets_of(order, task_vars))
        reply = self.asked({"op": "reconcile", "orders": [order], "observe": {"jobs": [job]}}, task_vars)
        answer = reply["orders"][0]
        if not answer["ok"]:
            raise AnsibleActionFail(sentence(answer["error"]))
        found = [item for item in reply["attempts"] if item["job"] == job]
        now = found[-1] if found else None
        if order["order"] == "stop" and now and now["state"] in LIVE:
            raise AnsibleActionFail(
                "{0} was asked to stop and is still {1} after {2:g} s: {3}".format(
                    job, now["state"], order["wait_s"], now["detail"] or now["evidence"]
                )
            )
        return now
