# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command of an attempt in a container: created, started, watched and ended through its engine.

Its processes are children of the engine, so what tells how it ended is the container itself. Supervisor and recorder
do the rest as for any command.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

from . import cgroups, engines, identity, oom_watch, recorder
from . import container_words as words
from .output import FifoPump, open_log
from .processes import Family, carries, send_signal
from .statedir import NodeError, from_os_error

# Seconds between two looks at a container whose processes are not to be seen from here.
LOOK_EVERY_S = 2.0
# The engine writes down how a container ended a moment after its last process is gone.
END_LIMIT_S = 15.0


def fetch_image(attempt, spec, go_on):
    """Have the image on the node. False where ``go_on`` said no. Raises NodeError where it cannot be had."""
    wanted = spec["container"]
    engine = engines.find(wanted.get("engine"))
    pull = wanted.get("pull") or "missing"
    if pull != "always" and engine.has_image(wanted["image"]):
        return True
    if pull == "never":
        raise NodeError(
            "not_supported",
            "the image {0} is not on this node, and may not be fetched".format(wanted["image"]),
            "{0} pull {1} on the node, or --pull missing".format(engine.name, wanted["image"]),
        )
    attempt.update_state(phase="fetching")
    fetched = engine.pull(wanted["image"], go_on)
    attempt.update_state(phase="starting")
    return fetched


def engine_of(attempt):
    """The engine that has the attempt's container. Raises NodeError where it is not on this node any more."""
    return engines.find((attempt.read("state.json") or {})["container"]["engine"])


def discard(attempt):
    """Remove the container of an attempt whose record is safe. What its engine refuses is written to supervisor.log."""
    words.forget_secrets(attempt)
    try:
        remove(attempt)
    except (NodeError, OSError) as exc:
        sys.stderr.write("container of {0!r}: {1}\n".format(attempt, exc))
        sys.stderr.flush()


def remove(attempt):
    """Remove the container of an attempt, if it has one. Raises NodeError where its engine refuses."""
    known = (attempt.read("state.json") or {}).get("container")
    if known and not known.get("removed"):
        engines.find(known["engine"]).remove(known["name"])
        attempt.update_state(container=dict(known, removed=True))


def note_running(attempt, seen):
    """Write down what runs: the container, the identity of its init, and since when."""
    command = _init_of(attempt, seen)
    began = identity.boottime()
    if command:
        began = min(began, command["start"] / os.sysconf("SC_CLK_TCK"))
    attempt.update_state(
        phase="running",
        container=_noted(attempt, seen, command),
        command=command,
        started_at=identity.now() - (identity.boottime() - began),
        started_boot_s=began,
        started_clock_s=time.monotonic(),
    )


def note_again(attempt):
    """Write down that a container, if it still runs, belongs to this boot of the node."""
    seen = _look(attempt)
    if seen and seen.running:
        command = _init_of(attempt, seen)
        boot = identity.boot_identity()
        attempt.update_state(boot=boot, container=_noted(attempt, seen, command), command=command)


def _noted(attempt, seen, command):
    found = dict(attempt.read("state.json")["container"], id=seen.id)
    if seen.monitor:
        found["monitor"] = identity.identify(seen.monitor)
    if command:
        found["memory_groups"] = cgroups.memory_groups_of(command["pid"]).record()
    return found


def _init_of(attempt, seen):
    """The container's init as a process of this node; None where it is not to be seen from here.

    An engine in another process namespace tells numbers that mean somebody else here: hence the token.
    """
    if not seen.pid or not carries(seen.pid, attempt.read("state.json")["token"]):
        return None
    command = identity.identify(seen.pid)
    return command if command["start"] else None


def _look(attempt):
    """What the engine says; None where it says nothing, which is written down."""
    try:
        return engine_of(attempt).look(attempt.read("state.json")["container"]["name"])
    except NodeError as exc:
        sys.stderr.write("container of {0!r}: {1}\n".format(attempt, exc.message))
        return None


def _note_late(attempt):
    """Make up for a recorder that was killed between the start and its note of it."""
    seen = _look(attempt)
    if seen and seen.running:
        note_running(attempt, seen)


class ContainerFamily(Family):
    """The processes of an attempt, and its container: what may not be signalled from here, the engine signals."""

    def __init__(self, attempt):
        super().__init__(attempt)
        self.name = (attempt.read("state.json") or {})["container"]["name"]

    def send(self, number, without=frozenset()):
        members = self.members()
        # The init hands on what it gets: sent to it too, its child would get it twice.
        others = {pid: start for pid, start in members.items() if pid not in without}
        if others and all(_may_signal(pid) for pid in others):
            for pid, start in others.items():
                send_signal(pid, start, number)
            return len(members)
        return int(engine_of(self.attempt).send(self.name, signal.Signals(number).name[3:]))

    def kill(self, between_looks):
        init = (self.attempt.read("state.json") or {}).get("command")
        if init and identity.is_alive(init):
            # With the init of its process namespace the kernel ends everything in it.
            send_signal(init["pid"], init["start"], signal.SIGKILL)
            time.sleep(0.02)
        if not init or identity.is_alive(init):
            engine_of(self.attempt).send(self.name, "KILL")
        return super().kill(between_looks)


def _may_signal(pid):
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True
    return True


class Container:
    """The container of an attempt that is about to begin."""

    def __init__(self, attempt, spec, keep):
        self.attempt = attempt
        self.spec = spec
        self.keep = keep
        self.engine = engines.find(spec["container"].get("engine"))
        self.name = None
        self.pump = None

    def create(self):
        """Create it, its name on disk before. Raises NodeError or OSError."""
        state = self.attempt.read("state.json")
        self.name = words.name_of(self.attempt, state["token"])
        self.attempt.update_state(container={"engine": self.engine.name, "name": self.name})
        secrets = self.attempt.read("secrets.json")
        environ, inherited = words.environment(self.attempt, self.spec, state, secrets)
        if self.spec.get("split_output"):
            self.pump = FifoPump(self.attempt, words.folder_of(self.attempt), bool(self.spec["container"].get("user")))
        else:
            os.close(open_log(self.attempt, "out.log"))
        words.write_files(self.attempt, self.spec, environ)
        argv = words.create_words(self.attempt, self.spec, state, self.engine, inherited)
        try:
            warned = self.engine.create(argv, inherited)
        except OSError as exc:
            if exc.errno == errno.E2BIG:
                raise NodeError("bad_request", "{0}: {1}".format(words.argv_0(self.spec), exc.strerror)) from None
            raise
        if (self.spec.get("memory_bytes") or self.spec.get("cpus")) and "ignored" in warned.lower():
            raise NodeError(
                "not_supported",
                "a limit was asked for, and {0} cannot hold it here: {1}".format(self.engine.name, warned[:300]),
                "run without --memory and --cpus, or delegate the control groups to this user",
            )

    def start(self):
        """Start it, and write down what runs. Raises NodeError or OSError."""
        if self.pump:
            self.pump.start()
            self.attempt.update_state(pump=identity.identify(self.pump.pid))
        self.engine.start(self.name, self.keep)
        seen = self.engine.look(self.name)
        if seen is None:
            raise NodeError("internal", "the container {0} is gone just after its start".format(self.name))
        note_running(self.attempt, seen)

    def drop(self):
        """Remove what there may be of it after a start that failed. What the engine says to that is written down."""
        if self.pump:
            self.pump.close()
        discard(self.attempt)


def begin(attempt, spec, wake, keep):
    """Start the attempt's container. Returns its guard, or None where it could not start: that is then written down."""
    container = None
    try:
        container = Container(attempt, spec, keep)
        container.create()
        container.start()
    except (NodeError, OSError, ValueError) as exc:
        if container and container.name:
            container.drop()
        fault = from_os_error(exc) if isinstance(exc, OSError) else exc
        message = getattr(fault, "message", str(fault))
        step = getattr(fault, "next_step", None)
        message += "; " + step if step else ""
        record = recorder.exit_record(attempt, None, None, message, None)
        recorder.settle(attempt, dict(record, code=recorder.NOT_STARTED), wake)
        return None
    finally:
        attempt.drop_secrets()
    return ContainerGuard(attempt, spec, wake, pump=container.pump)


class ContainerGuard(recorder.Guard):
    """Watches one container to its end, and removes it when its record is safe.

    An init whose monitor was killed becomes our child: then the kernel tells how it ended.
    """

    def __init__(self, attempt, spec, wake, error=None, pump=None):
        if not (attempt.read("state.json") or {}).get("started_at"):
            _note_late(attempt)
        super().__init__(attempt, spec, wake, error, pump)
        self.family = ContainerFamily(attempt)
        self.name = self.family.name
        container = (attempt.read("state.json") or {})["container"]
        self.memory = cgroups.Groups.from_record(container.get("memory_groups"))
        self.oom_watch = oom_watch.watch(self.memory)
        self.oom_kills = None
        self.handle = self._pidfd()
        self.looked_at = 0.0
        self.gone_at = None

    def _pidfd(self):
        """Tells us at once when the init ends; None where the kernel or this Python cannot."""
        try:
            return os.pidfd_open(self.command["pid"]) if identity.is_alive(self.command) else None
        except (AttributeError, OSError):
            return None

    def wait(self):
        # The engine wakes nobody.
        self.wake.wait(0.2 if self.handle is None else 1.0, self.handle)

    def _gone(self):
        self._count_oom_kills()
        if self.command:
            return not identity.is_alive(self.command)
        if self.status is None and time.monotonic() - self.looked_at > LOOK_EVERY_S:
            self.looked_at = time.monotonic()
            seen = self._look()
            return seen is None or not seen.running
        return self.status is not None

    def _look(self):
        return engine_of(self.attempt).look(self.name)

    def step(self):
        if self._forgettable() and words.fault(self.attempt) is None:
            words.forget_secrets(self.attempt)
        try:
            return super().step()
        except NodeError as exc:
            # Nothing is known then, and nothing is claimed: the next look may tell.
            ended = self.command and not identity.is_alive(self.command)
            sys.stderr.write("{0}: {1}\n".format("exit record" if ended else "engine", exc.message))
            sys.stderr.flush()
            self.wake.wait(recorder.RETRY_S)
            return False

    def _forgettable(self):
        return os.path.exists(os.path.join(words.folder_of(self.attempt), "environment"))

    def _end(self, stop):
        if not self._learn():
            return False
        self.error = self.error or words.start_fault(self.attempt, self.spec, self._engine_log)
        words.forget_secrets(self.attempt)
        if self.pump:
            self.pump.close()
        over = super()._end(stop)
        if over and not self.attempt.finished():
            record = dict(recorder.exit_record(self.attempt, None, None, None, None), lost="killed")
            recorder.settle(self.attempt, dict(record, detail="its engine does not know how it ended"), self.wake)
        if self.attempt.finished():
            discard(self.attempt)
        return over

    def _learn(self):
        """Find out how it ended. False while the engine has not written that down yet."""
        seen = self._look()
        if seen and seen.oom:
            self.oom_kills = self.oom_kills or 1
        if self.status is None and seen and seen.code is not None:
            self.status = recorder.as_status(seen.code)
        if self.status is not None or seen is None or seen.status == "created":
            return True
        self.gone_at = self.gone_at or time.monotonic()
        if time.monotonic() - self.gone_at < END_LIMIT_S:
            return False
        return not self.command or not identity.is_alive(self.command)

    def _engine_log(self):
        return engine_of(self.attempt).log(self.name)

    def _count_oom_kills(self):
        """The group goes with the container: what it counts is read as long as it is there."""
        count = self.memory.oom_kills()
        if count is not None:
            self.oom_kills = max(count, self.oom_kills or 0)

    def _oom_kills(self):
        return 1 if self.oom_watch and self.oom_watch.happened() else self.oom_kills
