# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting the supervisor so that it outlives the connection: the launch ladder.

Each rung is tried in order and the one that worked is recorded. Higher rungs only add: a control group of systemd's
own for the attempt, protection from a log-out that kills sessions, limits. The lowest has to be as truthful as the
first.
"""

from __future__ import annotations

import binascii
import os
import shutil
import subprocess
import sys
import time

from .statedir import NodeError

RUNGS = ("systemd-system", "systemd-user", "cgroup", "subreaper")
# Set by Ansible, its runner or this connection; a job must not depend on who started it.
_FOREIGN = ("ANSIBLE_", "AWX_", "RUNNER_", "STOKER_")
_FOREIGN_NAMES = (
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_AUTH_SOCK",
    "SSH_ORIGINAL_COMMAND",
    "LD_ORIGIN_PATH",
    "ORIGINAL_STDOUT_CALLBACK",
    "AD_HOC_COMMAND_ID",
    "OLDPWD",
    "SHLVL",
    "_",
)
# What names the environment that is the active one: of Python, of conda.
ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")
_SHIMS = os.path.join("stoker", "runner", "shims")


def clean_environment(environ):
    """The environment that a login on this node has, without what the way here put in."""
    clean = {
        name: value for name, value in environ.items() if not name.startswith(_FOREIGN) and name not in _FOREIGN_NAMES
    }
    if "PATH" in clean:
        clean["PATH"] = os.pathsep.join(part for part in clean["PATH"].split(os.pathsep) if not part.endswith(_SHIMS))
    return clean


def working_directory(wanted):
    """Where a command runs: the home folder, or a path that is relative to it."""
    return os.path.join(os.path.expanduser("~"), os.path.expanduser(wanted or "~"))


def require_environment(state, env):
    """Raise NodeError where a command's environment is to lie in the state folder, and is not there.

    It would find another Python in PATH then, and run without what it needs.
    """
    place = os.path.join(os.path.realpath(state.path), "environments", "")
    for name in ACTIVE:
        folder = env.get(name) or ""
        # Of conda's, not every one has a Python.
        inside = os.path.join(folder, "bin", "python") if name == "VIRTUAL_ENV" else folder
        if os.path.realpath(folder).startswith(place) and not os.path.exists(inside):
            words = "its environment {0} is not there any more ({1})".format(folder, name)
            raise NodeError("bad_request", words, "run it with --environment again")


def available(rung):
    """Whether a rung can be tried here."""
    if rung in ("cgroup", "subreaper"):
        return True
    if not os.path.isdir("/run/systemd/system") or not shutil.which("systemd-run"):
        return False
    if rung == "systemd-system":
        return os.geteuid() == 0
    return os.path.exists("/var/lib/systemd/linger/" + _user_name()) and os.path.isdir(
        "/run/user/{0}".format(os.geteuid())
    )


def _user_name():
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _command(rung, entry, attempt, adopt):
    state = attempt.state_dir
    argv = [
        sys.executable,
        "-I",
        "-S",
        entry,
        "supervise",
        state.path,
        state.lock_dir,
        attempt.job,
        str(attempt.number),
        rung,
    ]
    if adopt:
        argv.append("adopt")
    if rung == "systemd-system":
        scope = ["systemd-run", "--scope", "--quiet", "--collect"]
    elif rung == "systemd-user":
        scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect"]
    else:
        return argv
    # A name of its own for each launch: where systemd learns late that a scope is empty, the old one is in the way.
    unit = "stoker-{0}-{1}-{2}".format(attempt.job, attempt.number, binascii.hexlify(os.urandom(4)).decode("ascii"))
    what = "stoker job {0}, attempt {1}".format(attempt.job, attempt.number)
    return [*scope, "--unit=" + unit, "--description=" + what, "--property=Delegate=yes", "--", *argv]


def start_supervisor(entry, attempt, rung, adopt=False):
    """Start a supervisor on one rung, in a session of its own. Returns the process, not waited for."""
    environ = clean_environment(os.environ)
    if rung == "systemd-user":
        environ.setdefault("XDG_RUNTIME_DIR", "/run/user/{0}".format(os.geteuid()))
    log = os.open(attempt.file("supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            _command(rung, entry, attempt, adopt),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environ,
            start_new_session=True,
        )
    finally:
        os.close(log)


class Launch:
    """One launch in progress: polled, so that many attempts start at the same time."""

    def __init__(self, entry, attempt, rungs=None):
        self.entry = entry
        self.attempt = attempt
        unknown = [rung for rung in rungs or () if rung not in RUNGS]
        if unknown:
            raise NodeError(
                "bad_request",
                "no launch rung {0!r}; there are {1}".format(unknown[0], ", ".join(RUNGS)),
                "correct stoker_launch of this node",
            )
        self.todo = [rung for rung in (rungs or RUNGS) if available(rung)]
        if not self.todo:
            raise NodeError(
                "not_supported",
                "none of the launch rungs {0} works here".format(", ".join(rungs or ())),
                "remove stoker_launch of this node",
            )
        self.failures = []
        self._start_next()

    def _start_next(self):
        self.rung = self.todo.pop(0)
        self.process = start_supervisor(self.entry, self.attempt, self.rung)
        self.since = time.monotonic()

    def settled(self):
        """True once the supervisor has written what it does; tries the next rung when one failed.

        Raises NodeError when no rung is left.
        """
        if self.attempt.finished():
            return True
        state = self.attempt.read("state.json")
        if state and state.get("phase") in ("queued", "fetching", "installing", "running"):
            return True
        code = self.process.poll()
        if code is None:
            return False
        if self.attempt.finished() or (code == 0 and self.attempt.read("state.json")):
            return True
        self.failures.append("{0}: exit {1}".format(self.rung, code))
        if not self.todo:
            raise NodeError(
                "internal",
                "no supervisor could be started ({0}): {1}".format(
                    "; ".join(self.failures), _tail(self.attempt.file("supervisor.log"))
                ),
            )
        self._start_next()
        return False


def _tail(path):
    try:
        with open(path, "rb") as handle:
            return handle.read()[-600:].decode("utf-8", "replace").strip()
    except OSError as exc:
        return str(exc)
