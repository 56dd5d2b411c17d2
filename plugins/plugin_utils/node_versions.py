# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share that look after the versions of the node side: they run none of these, and push none."""

from __future__ import annotations

import json
import os
import shlex

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.stoker.fleet.plugins.module_utils import versions
from ansible_collections.stoker.fleet.plugins.plugin_utils.connecting import connected
from ansible_collections.stoker.fleet.plugins.plugin_utils.node_call import NodeAction

# What is sent, in the order in which it is run.
_PROGRAM = ("version_test", "versions", "version_update")
# In the syntax of any Python 3: an old one says what is wrong instead of failing to parse.
_RUN = """
import json, sys, types
if sys.version_info < (3, 8):
    words = "Python %d.%d is too old: a node needs 3.8 or later" % sys.version_info[:2]
    error = {"code": "not_supported", "message": words, "next": "set ansible_python_interpreter to a newer one"}
    sys.stdout.write("STOKER-REPLY " + json.dumps({"ok": False, "error": error}))
    sys.exit(0)
ask = json.loads(sys.stdin.buffer.readline())
sys.modules["sent"] = types.ModuleType("sent")
for name, text in ask["program"]:
    module = sys.modules["sent." + name] = types.ModuleType("sent." + name)
    module.__package__ = "sent"
    exec(compile(text, name + ".py", "exec"), module.__dict__)
sys.exit(module.main(ask, sys.stdin.buffer.read()))
"""


class VersionsAction(NodeAction):
    """Base of the actions that ask which versions lie on a node, or bring one."""

    def look(self, task_vars):
        """What lies on the node, with ``wanted``, this controller's version. Changes nothing.

        Raises AnsibleActionFail.
        """
        version, _package, ask = self._request("look", task_vars)
        return dict(self._told(ask, b"", task_vars)["look"], wanted=version)

    def bring(self, with_jobs, task_vars):
        """Bring this controller's version. Returns what came of it; a refusal is the node's error.

        Raises AnsibleActionFail only before the request is sent: no answer to it leaves open how far the node came.
        """
        version, package, ask = self._request("bring", task_vars)
        # A lost connection is a failure: Ansible counts an unreachable node twice, and would take the next batch.
        try:
            # Only this is repeated: a second request would meet the first.
            find = self._find_python(task_vars)
            found = connected(lambda: self._low_level_execute_command(find), self._retries(task_vars))
        except AnsibleConnectionFailure as problem:
            words = "it does not answer any more: {0}".format(problem)
            return {"ok": False, "error": {"code": "unreachable", "message": words, "next": None}}
        self._refuse_without_python(found)
        try:
            return self._answer(dict(ask, with_jobs=with_jobs), package, task_vars, retries=0)
        except AnsibleConnectionFailure as problem:
            words = "the connection was lost ({0}): the node finishes by itself, or stays as it was".format(problem)
        except (AnsibleActionFail, ValueError) as problem:
            words = "the update gave no answer ({0}): nobody knows how far it came".format(problem)
        told = {"outcome": "unknown", "version": version, "before": None, "reason": words, "back_reason": None}
        return {"ok": True, "update": told}

    def _request(self, op, task_vars):
        settings, state_dir = self.settings(task_vars)
        version, package = self._bundle(settings.get("backend"))
        return version, package, {"op": op, "version": version, "state_dir": state_dir, "settings": settings}

    def _told(self, ask, package, task_vars):
        return self.unrefused(self._answer(ask, package, task_vars, self._retries(task_vars)))

    def _answer(self, ask, package, task_vars, retries):
        ask = dict(ask, program=[(name, _text(name)) for name in _PROGRAM])
        script = '{0}; exec "$p" -I -S -c {1}'.format(self._find_python(task_vars), shlex.quote(_RUN))
        payload = json.dumps(ask).encode("ascii") + b"\n" + package

        def call():
            return self._low_level_execute_command(script, in_data=payload, encoding_errors="surrogateescape")

        return self._reply(connected(call, retries))


def _text(name):
    """A file beside the collection that Ansible uses: that may be another one than Python would find."""
    with open(os.path.join(os.path.dirname(versions.__file__), name + ".py"), encoding="utf-8") as handle:
        return handle.read()
