# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Podman and Docker by their command line. Every call is bounded: an engine that hangs is an error, never a wait."""

from __future__ import annotations

import calendar
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from .processes import OWN_TOOLS
from .statedir import NodeError

ENGINES = ("podman", "docker")
# Seconds. To look is quick; what writes to a disk may take its time.
LOOK_S, ACT_S = 10.0, 120.0
PULL_S = 6 * 3600.0
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)? ?(?:Z|([+-])(\d\d):?(\d\d))")
_MISSING = re.compile(r"no such (object|container|image)|image not known|no container with name or id", re.IGNORECASE)


class Seen:
    """What the engine says of one container.

    ``pid`` is that of its init where it runs. ``code`` is its exit code once it has ended, else None. ``started_at``
    and ``finished_at`` are Unix seconds, None where that has not been yet.
    """

    def __init__(self, told):
        state = told["State"]
        self.id = told["Id"]
        self.running = bool(state.get("Running"))
        self.status = state.get("Status")
        self.pid = state.get("Pid") or None
        self.monitor = state.get("ConmonPid") or None
        self.started_at = unix_time(state.get("StartedAt"))
        self.finished_at = unix_time(state.get("FinishedAt"))
        ended = not self.running and self.status in ("exited", "stopped", "dead") and self.started_at is not None
        self.code = state.get("ExitCode") if ended else None
        self.oom = bool(state.get("OOMKilled"))
        self.error = state.get("Error") or None


class Engine:
    """One engine of this node. Raises NodeError for whatever it refuses, and when it does not answer in time."""

    def __init__(self, name, tool):
        self.name = name
        self.tool = tool

    def look(self, container):
        """The container as Seen; None where the engine has none of that name."""
        told = self.inspect("container", container)
        try:
            return None if told is None else Seen(told)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise self._not_understood("container", exc) from None

    def inspect(self, kind, name, limit_s=LOOK_S):
        """What ``inspect`` tells of a container or an image; None where the engine has none of that name."""
        code, out, err = self.ask([kind, "inspect", name], limit_s)
        if code != 0 and _MISSING.search(err):
            return None
        if code != 0:
            raise self._refused(kind + " inspect", code, err or out)
        try:
            return json.loads(out)[0]
        except (ValueError, LookupError, TypeError) as exc:
            raise self._not_understood(kind, exc) from None

    def _not_understood(self, kind, exc):
        words = "{0} {1} inspect said what is not understood: {2!r}".format(self.name, kind, exc)
        return NodeError("not_supported", words)

    def create(self, words, environ):
        """Create a container from the words after ``create``. Returns what the engine warned of.

        ``environ`` is added to the engine's own, for ``--env=NAME``. Raises OSError where the kernel refuses the words.
        """
        code, out, err = self.ask(["create", *words], ACT_S, environ)
        if code != 0:
            raise self._refused("create", code, err or out)
        return " ".join(err.split())

    def start(self, container, keep):
        """Start it. The file descriptors ``keep`` go to the engine's monitor, which holds locks as long as it lives."""
        code, out, err = self.ask(["start", container], ACT_S, keep=keep)
        if code != 0:
            raise self._refused("start", code, err or out)

    def send(self, container, name):
        """Send a signal to its init. False where it does not run any more."""
        code, _out, _err = self.ask(["kill", "--signal", name, container], LOOK_S)
        return code == 0

    def remove(self, container):
        """End it at once, and remove it. One that is not there is as good."""
        # `rm --force` alone waits for the end of each process, 10 s in all.
        self.send(container, "KILL")
        code, out, err = self.ask(["rm", "--force", container], ACT_S)
        if code != 0 and not _MISSING.search(err):
            raise self._refused("rm", code, err or out)

    def has_image(self, image):
        """Whether it is on the node. Raises NodeError where the engine does not say."""
        return self.inspect("image", image) is not None

    def pull(self, image, go_on=None):
        """Fetch an image. ``go_on`` is asked again and again; False where it said no."""
        code, out, err = self.ask(["pull", "--quiet", image], PULL_S, go_on=go_on)
        if code is None:
            return False
        if code != 0:
            raise self._refused("pull", code, err or out, "{0} pull {1} on the node".format(self.name, image))
        return True

    def log(self, container):
        """What the container said past its log file: the words of a start that failed."""
        code, out, err = self.ask(["logs", container], LOOK_S)
        return " ".join((err + " " + out).split())[:500] if code == 0 else ""

    def _refused(self, what, code, words, next_step=None):
        said = " ".join(words.split())[:500] or "it said nothing"
        return NodeError("not_supported", "{0} {1} ended with {2}: {3}".format(self.name, what, code, said), next_step)

    def ask(self, words, limit_s, environ=None, keep=(), go_on=None, joined=False):
        """(exit code, stdout, stderr); the code is None where ``go_on`` ended it.

        ``joined``: both streams are in stdout, in the order in which they were written.
        Raises NodeError when it takes longer, OSError when it cannot be run.
        """
        # Files, not pipes: what the engine leaves in the background would hold a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [self.tool, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out if joined else err,
                cwd="/",
                env=dict(engine_environment(), **(environ or {})),
                pass_fds=keep,
                start_new_session=True,
                preexec_fn=_signals_as_usual,
            )
            OWN_TOOLS.add(process.pid)
            code = _wait(process, limit_s, go_on)
            if code is None and not (go_on and not go_on()):
                raise NodeError(
                    "not_supported",
                    "{0} {1} gave no answer within {2:g} s".format(self.name, words[0], limit_s),
                    "look at it on the node: {0} ps".format(self.name),
                )
            OWN_TOOLS.discard(process.pid)
            out.seek(0)
            err.seek(0)
            return code, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace")


def _signals_as_usual():
    """Supervisor and recorder ignore these; the container would inherit that."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _wait(process, limit_s, go_on):
    """The exit code; None where the process was ended because it took too long, or because ``go_on`` said no."""
    deadline = time.monotonic() + limit_s
    pause = 0.005
    while process.poll() is None:
        if time.monotonic() > deadline or (go_on and not go_on()):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                pass  # it hangs in the kernel: it is left behind, not waited for
            return None
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    return process.returncode


def engine_environment():
    """The environment for the engine. Its store must be the same in a login and without one."""
    from .launch import clean_environment

    environ = clean_environment(os.environ)
    runtime = "/run/user/{0}".format(os.geteuid())
    if "XDG_RUNTIME_DIR" not in environ and os.path.isdir(runtime):
        environ["XDG_RUNTIME_DIR"] = runtime
    return environ


def find(wanted=None):
    """The engine ``wanted``, or the first that this node has. Raises NodeError where there is none."""
    for name in [wanted] if wanted else ENGINES:
        tool = shutil.which(name)
        if tool:
            return Engine(name, tool)
    raise NodeError(
        "not_supported",
        "there is no {0} on this node".format(wanted or "podman and no docker"),
        "install it there (apt install podman), or run without --container",
    )


def unix_time(text):
    """Unix seconds of a time as engines write it; None for year 1, which stands for never."""
    match = _TIME.match(text or "")
    if not match or match[1].startswith("0001-"):
        return None
    whole = calendar.timegm(time.strptime(match[1].replace(" ", "T"), "%Y-%m-%dT%H:%M:%S"))
    offset = (int(match[4]) * 3600 + int(match[5]) * 60) * (-1 if match[3] == "-" else 1) if match[3] else 0
    return whole + float(match[2] or 0) - offset
