# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One question to a node: the way every Stoker action reaches it.

The node side lies on the node under its hash and is run through Ansible's own connection, JSON on stdin, one round
trip; it is pushed only when it is missing. No AnsiballZ, no temporary folder (measured: most of a module's cost).
"""

from __future__ import annotations

import functools
import json
import os
import shlex

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.stoker.fleet.plugins.module_utils.backends import ADDED, NAMES
from ansible_collections.stoker.fleet.plugins.module_utils.launch import RUNGS
from ansible_collections.stoker.fleet.plugins.plugin_utils import bundle
from ansible_collections.stoker.fleet.plugins.plugin_utils.connecting import connected

MARK = "STOKER-REPLY "
NO_PYTHON, NOT_PUSHED, KEPT = 96, 97, 98
# What Python ends with when files of the node side are missing or cut.
_CANNOT_RUN = (1, 2)
_PYTHONS = (
    "python3 /usr/bin/python3 /usr/local/bin/python3 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8"
)
# Unpacks to a name of its own, on disk before it gets its own: a node never sees half a version, not even after a power
# cut, and of two that push the first wins. One that does not work ("again") makes room.
_UNPACK = """
import contextlib, io, os, shutil, sys, zipfile
target, again = sys.argv[1], sys.argv[2:] == ["again"]
new, old = ["%s.%d.%s" % (target, os.getpid(), end) for end in ("tmp", "old")]
os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
try:
    zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).extractall(new)
    for folder, _, names in os.walk(new, topdown=False):
        for path in [os.path.join(folder, name) for name in names] + [folder]:
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
    if again:
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        if not os.path.isdir(target):
            raise
finally:
    for folder in new, old:
        shutil.rmtree(folder, ignore_errors=True)
"""
# The folder that is used, $d: a version that failed there is not, its note names the one that is
# (module_utils/versions.py).
_FIND_USED = (
    'd={0}; k=; [ ! -f "$d.kept" ] || read -r k <"$d.kept"; [ -z "$k" ] || [ ! -d "${{d%/*}}/$k" ] || d="${{d%/*}}/$k"'
)

# Field of a request: the host variable that sets it.
_SETTINGS = {
    "lock_dir": "stoker_lock_dir",
    "rungs": "stoker_launch",
    "backend": "stoker_backend",
    "container_image": "stoker_container_image",
    "container_engine": "stoker_container_engine",
    "proc_dir": "stoker_proc_dir",
    "busy_processes": "stoker_busy_processes",
}
# A single text stands for a list of one.
_LISTS = ("rungs", "busy_processes")
_PATHS = ("stoker_state_dir", "stoker_lock_dir", "stoker_proc_dir")


class NodeAction(ActionBase):
    """Base of the actions that ask a node."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def ask(self, request, task_vars):
        """Send one ctl request and return the reply (``stoker.reply/1``), whatever it says.

        Raises AnsibleActionFail with one sentence where the node cannot answer; AnsibleConnectionFailure passes, so
        that Ansible counts the node as unreachable.
        """
        settings, state_dir = self.settings(task_vars)
        request = dict(request, **settings, schema="stoker.request/1", state_dir=state_dir)
        version, package = self._bundle(request.get("backend"))
        folder = "{0}/bin/{1}".format(state_dir.rstrip("/"), version)
        payload = json.dumps(request).encode("utf-8", "surrogateescape")
        # A command of the user's: whether it began is not known once the connection is lost.
        once = request.get("op") == "exec"
        answer = self._run(folder, task_vars, payload, once)
        if answer["rc"] == NOT_PUSHED:
            self._push(folder, task_vars, package)
            answer = self._run(folder, task_vars, payload, once)
        if answer["rc"] in _CANNOT_RUN and MARK not in answer["stdout"]:
            self._push_again(folder, task_vars, package, answer)
            answer = self._run(folder, task_vars, payload, once)
        return self._reply(answer)

    def settings(self, task_vars):
        """The fields of a request that the host variables set, and the state folder."""
        state_dir = self._variable("stoker_state_dir", task_vars)
        state_dir = "~/.stoker" if state_dir is None or state_dir == "" else _checked("stoker_state_dir", state_dir)
        found = {}
        for field, name in _SETTINGS.items():
            value = _checked(name, self._variable(name, task_vars))
            # An empty list of busy processes says that there are none.
            if (value and value != "auto") or value == []:
                found[field] = [value] if field in _LISTS and isinstance(value, str) else value
        return found, state_dir

    @staticmethod
    def _bundle(backend):
        """What is pushed to the node. A backend that is not built in comes along."""
        if backend is None or backend in NAMES:
            return bundle.build()
        if not ADDED.fullmatch(backend):
            raise _wrong("stoker_backend", "stoker_backend: {0!r} is no name of a backend".format(backend))
        try:
            return bundle.build(backend)
        except bundle.BackendError as problem:
            words = "stoker_backend: {0}; built in are {1}".format(problem, ", ".join(NAMES))
            raise _wrong("stoker_backend", words) from None

    def _variable(self, name, task_vars):
        value = task_vars.get(name)
        return self._templar.template(value) if isinstance(value, str) else value

    def _run(self, folder, task_vars, payload, once=False):
        """The answer of the node side. ``once``: it must not happen twice, so only reaching the node is repeated."""
        script = '{0}; {1}; [ -d "$d" ] || exit {2}; exec "$p" -I -S "$d" ctl'.format(
            self._find_python(task_vars), _FIND_USED.format(_shell_path(folder)), NOT_PUSHED
        )

        def call():
            return self._low_level_execute_command(script, in_data=payload, encoding_errors="surrogateescape")

        retries = self._retries(task_vars)
        if not once:
            return connected(call, retries)
        if retries:
            connected(lambda: self._low_level_execute_command(":"), retries)
        return call()

    def _retries(self, task_vars):
        name = "stoker_connect_retries"
        value = self._variable(name, task_vars)
        if value is None or value == "":
            return 0
        if not str(value).isdigit():
            raise _wrong(name, "{0} is {1!r}, not a whole number".format(name, _native(value)))
        return int(value)

    def _push_again(self, folder, task_vars, package, answer):
        """Push what could not run (``answer``), but not where another version is used since this one failed there."""
        path = _shell_path(folder)
        only = '{0}; [ "$d" = {1} ] || exit {2}'.format(_FIND_USED.format(path), path, KEPT)
        pushed = self._push(folder, task_vars, package, "again", only)
        if pushed["rc"] == KEPT:
            words = "{0} failed on this node, and the version that is used instead does not run: {1} (next: {2})"
            step = "stoker update nodes --with-jobs"
            raise AnsibleActionFail(words.format(folder, _last_line(answer), step))

    def _push(self, folder, task_vars, package, how="new", only=":"):
        """Put the version into ``folder``, unless ``only``, in the shell, ends with KEPT."""
        script = '{0}; {1}; exec "$p" -I -S -c {2} {3} {4}'.format(
            self._find_python(task_vars), only, shlex.quote(_UNPACK), _shell_path(folder), how
        )
        push = functools.partial(self._low_level_execute_command, script, in_data=package)
        answer = connected(push, self._retries(task_vars))
        if answer["rc"] not in (0, KEPT):
            words = (answer["stderr"] or answer["stdout"]).strip().splitlines() or ["exit {0}".format(answer["rc"])]
            self._refuse_without_python(answer)
            raise AnsibleActionFail("Stoker's node part could not be put into {0}: {1}".format(folder, words[-1]))
        return answer

    def _find_python(self, task_vars):
        wanted = self._variable("ansible_python_interpreter", task_vars)
        names = _PYTHONS if not wanted or str(wanted).startswith("auto") else shlex.quote(str(wanted))
        search = (
            'p=; for c in {0}; do command -v "$c" >/dev/null 2>&1 && p="$c" && break; done; [ -n "$p" ] || exit {1}'
        )
        return search.format(names, NO_PYTHON)

    @staticmethod
    def _refuse_without_python(answer):
        if answer["rc"] == NO_PYTHON:
            raise AnsibleActionFail(
                "no Python 3 on this node: install python3 there, or set ansible_python_interpreter to where it is"
            )

    def _reply(self, answer):
        self._refuse_without_python(answer)
        lines = [line for line in answer["stdout"].splitlines() if line.startswith(MARK)]
        if lines:
            return json.loads(lines[-1][len(MARK) :])
        words = "the node's part of Stoker ended with {0}: {1}"
        raise AnsibleActionFail(words.format(answer["rc"], _last_line(answer)))

    def secret_values(self, names, task_vars):
        """Values of secrets, from ``stoker_secrets`` (a vaulted variable) or the controller's environment.

        Only here, on the way to the node: they are in no store, no argv, no event. A name without a value is left out.
        """
        kept = task_vars.get("stoker_secrets") or {}
        found = {}
        for name in names or ():
            value = self._templar.template(kept[name]) if name in kept else os.environ.get(name)
            if value is not None:
                found[name] = str(value)
        return found

    def secrets_of(self, order, task_vars):
        """The field ``secrets`` of a start order; {} where it needs none."""
        names = (order.get("spec") or {}).get("secret_env")
        return {"secrets": self.secret_values(names, task_vars)} if names else {}

    def asked(self, request, task_vars):
        """``ask``, where a refusal fails the task with the node's own sentence."""
        return self.unrefused(self.ask(request, task_vars))

    @staticmethod
    def unrefused(reply):
        """The reply. Raises AnsibleActionFail with the node's own sentence for a refusal."""
        if not reply.get("ok"):
            raise AnsibleActionFail(sentence(reply.get("error") or {}))
        return reply


def _checked(name, value):
    """The value of a variable. Raises AnsibleActionFail, marked ``wrong_variable``, for one that cannot be meant."""
    lists = [field for field in _LISTS if _SETTINGS[field] == name]
    if value is None or isinstance(value, str):
        texts = [value] if value and value != "auto" else []
    elif lists and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        texts = list(value)
    else:
        kind = "a path" if name in _PATHS else "a list of texts" if lists else "a text"
        raise _wrong(name, "{0} is {1!r}, not {2}".format(name, _native(value), kind))
    if name == "stoker_launch":
        for text in texts:
            if text not in RUNGS:
                raise _wrong(
                    name, "{0}: {1!r} is no way to launch; there are {2}".format(name, str(text), ", ".join(RUNGS))
                )
    return value


def _wrong(name, words):
    return AnsibleActionFail(words + " (next: mend it in the inventory)", result={"wrong_variable": name})


def _native(value):
    """The value without Ansible's marks, as a person wrote it."""
    return json.loads(json.dumps(value, default=str))


def sentence(error):
    """A node's error as one sentence, with the next step where it names one."""
    text = error.get("message") or "the node refused without a reason"
    return "{0} (next: {1})".format(text, error["next"]) if error.get("next") else text


def _last_line(answer):
    words = (answer["stderr"] or answer["stdout"]).strip().splitlines() or ["it said nothing"]
    return words[-1][:300]


def _shell_path(path):
    """Quote a path for the shell, with a leading ~ or ~/ left to it."""
    if path == "~" or path.startswith("~/"):
        return "~" + shlex.quote(path[1:])
    return shlex.quote(path)
