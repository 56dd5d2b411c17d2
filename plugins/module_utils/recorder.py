# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recorder: the direct parent of the user's command, which writes down how it ended, and ends it when asked.

The same Guard serves in the supervisor when the recorder was killed: orphans of a killed recorder become children of
the supervisor, a subreaper, so the exit code is still known.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import time
import traceback

from . import agent_task, identity, launch, sandbox, snapshots
from .output import Pump, open_log
from .processes import TOKEN_VARIABLE, Family
from .statedir import NodeError, from_os_error

# The exit codes that shells use for a command that could not be started.
NOT_FOUND, NOT_EXECUTABLE, NOT_STARTED = 127, 126, 125
LEFTOVER_GRACE_S = 5.0
RETRY_S = 1.0


class Wake:
    """Waits for a signal that matters (a child ended, somebody asks) or for a time to pass."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self.write_end, False)
        signal.set_wakeup_fd(self.write_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_ignored: None)
        # A shutdown or a closing session tells everybody to end; we end after the command, to record how it ended.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def wait(self, seconds, other=None):
        """Wait; the file descriptor ``other`` ends that too, when there is something to read from it."""
        watched = [self.read_end] if other is None else [self.read_end, other]
        if self.read_end in select.select(watched, [], [], max(0.0, seconds))[0]:
            os.read(self.read_end, 4096)


def reap():
    """Collect ended children: pid -> wait status."""
    found = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found[pid] = status


def command_line(attempt, spec, apart):
    """(argv to execute, file descriptors it needs). A script is never quoted into a shell line: it is a file.

    ``apart``: another user, or one in a sandbox, who does not see the attempt's folder.
    """
    if spec.get("argv"):
        return list(spec["argv"]), []
    interpreter = shlex.split(spec.get("interpreter") or "/bin/sh")
    if apart:
        fd, path = sandbox.script_file(spec["script"])
        return [*interpreter, path], [fd]
    path = attempt.file("script")
    with open(
        path, "w", encoding="utf-8", errors="surrogateescape", opener=lambda name, flags: os.open(name, flags, 0o700)
    ) as out:
        out.write(spec["script"])
    return [*interpreter, path], []


def command_environment(attempt, spec, state, who):
    """The environment of the command: this login's, the spec's, the secrets, and what Stoker promises."""
    environ = launch.clean_environment(os.environ)
    environ.update(who.environment() if who else {})
    environ["PYTHONUNBUFFERED"] = "1"
    environ.update(spec.get("env") or {})
    environ.update(attempt.read("secrets.json") or {})
    environ.update({"STOKER_JOB": attempt.job, "STOKER_ATTEMPT": str(attempt.number), TOKEN_VARIABLE: state["token"]})
    if spec.get("gpus") or state.get("gpus"):
        environ.update({"CUDA_VISIBLE_DEVICES": ",".join(state.get("gpus") or ()), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    if spec.get("dataset"):
        environ["STOKER_DATA"] = snapshots.dataset_path(attempt.state_dir, spec)
    if spec.get("resume"):
        environ["STOKER_RESUME_FROM"] = snapshots.resume_path(attempt, spec)
    return environ


class Command:
    """Forks the user's command behind a gate: it runs only after its pid is on disk."""

    def __init__(self, attempt, spec, state, groups, keep):
        self.attempt = attempt
        self.who = sandbox.person(spec)
        self.sandboxed = spec.get("sandbox") == "bwrap"
        self.argv, script = command_line(attempt, spec, self.who or self.sandboxed)
        keep = keep + script
        self.environ = command_environment(attempt, spec, state, self.who)
        self.prompt = None
        if spec.get("agent"):
            self.prompt, path = agent_task.open_prompt(attempt, spec, self.who or self.sandboxed)
            keep = [*keep, self.prompt]
            self.argv = [word.replace(agent_task.PROMPT_MARK, path) for word in self.argv]
            self.environ.update(agent_task.environment(spec, path))
        self.workdir = sandbox.workdir(spec, self.who)
        self.pump = Pump(attempt) if spec.get("split_output") else None
        outputs = self.pump.writers if self.pump else (open_log(attempt, "out.log"),) * 2
        gate_read, gate_write = os.pipe()
        fault_read, fault_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(gate_write)
            os.close(fault_read)
            self._become(gate_read, fault_write, outputs, keep)
        os.close(gate_read)
        os.close(fault_write)
        if self.prompt is not None:
            os.close(self.prompt)
        self.gate, self.fault = gate_write, fault_read
        groups.enter(self.pid)
        if self.pump:
            self.pump.start()
        else:
            os.close(outputs[0])

    def _become(self, gate, fault, outputs, keep):
        """In the child: wait for the gate, then become the command. Never returns."""
        step, code = "start", NOT_STARTED
        try:
            os.setsid()
            if os.read(gate, 1) != b"g":
                os._exit(NOT_STARTED)
            for number in range(1, signal.NSIG):
                if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                    signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            null = os.open(os.devnull, os.O_RDONLY)
            first = null if self.prompt is None else self.prompt
            for source, target in ((first, 0), (outputs[0], 1), (outputs[1], 2)):
                os.dup2(source, target)
            for fd in keep:
                os.set_inheritable(fd, True)
            if self.who:
                step = "user " + self.who.name
                self.who.become()
            step = "working directory " + self.workdir
            os.chdir(self.workdir)
            self.environ["PWD"] = self.workdir
            step, code = self.argv[0], NOT_EXECUTABLE
            argv = self.argv
            if self.sandboxed:
                sandbox.find_program(argv[0], self.environ.get("PATH"))
                argv = [*sandbox.bwrap_words(self.workdir), *argv]
            os.execvpe(argv[0], argv, self.environ)
        except FileNotFoundError as exc:
            code = NOT_FOUND if code == NOT_EXECUTABLE else code
            os.write(fault, "{0}: {1}".format(step, exc.strerror).encode("utf-8", "replace"))
        except OSError as exc:
            os.write(fault, "{0}: {1}".format(step, exc.strerror).encode("utf-8", "replace"))
        except BaseException:  # noqa: BLE001 - a forked child must never return
            os.write(fault, "{0}: {1}".format(step, traceback.format_exc(limit=1)).encode("utf-8", "replace"))
        finally:
            os._exit(code)

    def release(self):
        """Let the command go. Returns what kept it from starting, None when it runs."""
        os.write(self.gate, b"g")
        os.close(self.gate)
        words = b""
        while True:
            data = os.read(self.fault, 65536)
            if not data:
                break
            words += data
        os.close(self.fault)
        return words.decode("utf-8", "replace") or None


class Guard:
    """Watches one command to its end, and writes exit.json when every proof is there."""

    def __init__(self, attempt, spec, wake, error=None, pump=None):
        self.attempt = attempt
        self.spec = spec
        self.wake = wake
        self.error = error
        self.pump = pump
        self.status = None
        self.left_behind = 0
        # bwrap and the init of a container stand between us and the command, and tell how it ended as a shell does.
        self.by_proxy = bool(spec.get("container")) or spec.get("sandbox") == "bwrap"
        self.family = Family(attempt)
        self.command = (attempt.read("state.json") or {}).get("command")

    def take(self, statuses):
        """Note the wait statuses of reaped children."""
        if self.command and self.command["pid"] in statuses:
            self.status = statuses[self.command["pid"]]
            if self.by_proxy and os.WIFEXITED(self.status):
                self.status = as_status(os.WEXITSTATUS(self.status))
        if self.pump:
            self.pump.take(statuses, ended=self.status is not None)

    def _reap(self):
        self.take(reap())

    def _gone(self):
        return self.status is not None or not identity.is_alive(self.command)

    def step(self):
        """Do what is due now. True once the attempt is over and nothing of it is left."""
        self._reap()
        if self._gone():
            self._reap()  # it may have ended between the two looks
            return self._end(self._begun_stop())
        stop = self.attempt.read("stop.json")
        if stop:
            return self._stop(stop)
        return False

    def wait(self):
        """Wait until there may be something to do."""
        self.wake.wait(1.0)

    def _stop(self, stop):
        """Checkpoint signal, TERM to all, grace, then freeze and KILL until nothing is left."""
        self.attempt.update_state(stop_began=True)
        name = self.spec.get("checkpoint_signal")
        if name and self.family.send_to_catchers(getattr(signal, "SIG" + name)):
            self._wait_until_gone(lambda: float(self.spec.get("checkpoint_grace_s", 30.0)))
        self._reap()
        if self.family.send(signal.SIGTERM, self._proxy()):
            # Asked for each time: a second request to stop may shorten it.
            self._wait_until_gone(lambda: float((self.attempt.read("stop.json") or stop).get("grace_s", 10.0)))
        left = self.family.kill(self._reap)
        self._reap()
        if left:
            # In a system call that never returns: the truth is that it still runs.
            self.attempt.update_state(unkillable=sorted(left))
            self.wake.wait(5.0)
            return False
        return self._end(stop)

    def _begun_stop(self):
        """The request to stop, once it is being carried out: a command that ended before that ended by itself."""
        began = (self.attempt.read("state.json") or {}).get("stop_began")
        return self.attempt.read("stop.json") if began else None

    def _proxy(self):
        """Who is left out of a friendly signal: it would end before the command, whose end it is to tell."""
        return {self.command["pid"]} if self.by_proxy and self.command else set()

    def _wait_until_gone(self, seconds):
        began = time.monotonic()
        while time.monotonic() - began < seconds():
            self._reap()
            if not self.family.members():
                return
            self.wake.wait(0.05)

    def _end(self, stop):
        """Write the exit record, then end what the command left behind."""
        if self.pump:
            self.pump.drain(1.0)
        members = self.family.members()
        self.left_behind = len(members)
        if self.status is not None or stop:
            self._write(stop)
        if members:
            self.family.send(signal.SIGTERM, self._proxy())
            self._wait_until_gone(lambda: LEFTOVER_GRACE_S)
            self.family.kill(self._reap)
        return True

    def _write(self, stop):
        record = exit_record(self.attempt, self.status, stop, self.error, self._oom_kills())
        record["left_behind"] = self.left_behind
        settle(self.attempt, record, self.wake)

    def _oom_kills(self):
        return self.family.groups.oom_kills()


def as_status(code):
    """The wait status that the exit code of a proxy stands for: it writes a signal as 128 and its number."""
    number = code - 128
    return number if 0 < number < signal.NSIG else (code & 255) << 8


def guard_of(attempt, spec, wake):
    """The guard for what an attempt runs, by whoever takes it over."""
    if (attempt.read("state.json") or {}).get("container"):
        from .container_job import ContainerGuard

        return ContainerGuard(attempt, spec, wake)
    return Guard(attempt, spec, wake)


def settle(attempt, record, wake):
    """Write the exit record; as long as that fails keep the lock and the knowledge, and try again.

    The reason goes to supervisor.log, where ``observe`` finds it.
    """
    while True:
        try:
            attempt.write_exit(record)
            return
        except OSError as exc:
            sys.stderr.write("exit record: {0}\n".format(from_os_error(exc).message))
            sys.stderr.flush()
            wake.wait(RETRY_S)


def oom_kills_of_kernel():
    """How many processes this kernel killed for want of memory since it booted; None where it does not say."""
    try:
        with open("/proc/vmstat", encoding="ascii") as handle:
            for line in handle:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        return None
    return None


def exit_record(attempt, status, stop, error, group_oom_kills):
    """How an attempt ended, from the wait status of its command."""
    state = attempt.read("state.json") or {}
    ended = identity.boottime()
    record = {
        "schema": "stoker.exit/1",
        "code": None,
        "signal": None,
        "oom": None,
        "error": error,
        "ended_at": identity.now(),
        "ended_boot_s": ended,
        "stopped": stop.get("reason") if stop else None,
    }
    if stop and stop.get("detail"):
        record["detail"] = stop["detail"]
    if state.get("started_boot_s") is not None:
        record["elapsed_s"] = round(ended - state["started_boot_s"], 3)
    if status is None:
        return record
    if os.WIFSIGNALED(status):
        record["signal"] = os.WTERMSIG(status)
    else:
        record["code"] = os.WEXITSTATUS(status)
    if record["code"] == 0:
        record["oom"] = False
    elif group_oom_kills is not None:
        record["oom"] = group_oom_kills > 0
    elif state.get("kernel_oom_kills") is not None and oom_kills_of_kernel() == state["kernel_oom_kills"]:
        record["oom"] = False  # nothing at all was killed for memory on this machine meanwhile
    return record


def run(attempt, spec, groups, keep, supervisor):
    """The recorder's life. Never returns."""
    try:
        identity.set_process_name("stoker-record")
        identity.become_subreaper()
        wake = Wake()
        _run(attempt, spec, groups, keep, supervisor, wake)
    except BaseException:  # noqa: BLE001 - a forked child must never return
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _run(attempt, spec, groups, keep, supervisor, wake):
    state = attempt.update_state(recorder=identity.identify(os.getpid()))
    if spec.get("container"):
        from .container_job import begin

        guard = begin(attempt, spec, wake, keep)
    else:
        guard = _begin(attempt, spec, state, groups, keep, wake)
    while guard and not guard.step():
        guard.wait()
        supervisor.revive()


def _begin(attempt, spec, state, groups, keep, wake):
    """Start the command. Returns its guard, or None where it could not start: that is then written down."""
    try:
        launch.require_environment(attempt.state_dir, spec.get("env") or {})
        command = Command(attempt, spec, state, groups, keep)
        attempt.update_state(
            phase="running",
            command=identity.identify(command.pid),
            pump=command.pump and identity.identify(command.pump.pid),
            started_at=identity.now(),
            started_boot_s=identity.boottime(),
            started_clock_s=time.monotonic(),
        )
    except (OSError, ValueError, NodeError) as exc:
        # The gate was never opened: the command did not run, and ends with us.
        message = from_os_error(exc).message if isinstance(exc, OSError) else str(exc)
        settle(attempt, dict(exit_record(attempt, None, None, message, None), code=NOT_STARTED), wake)
        return None
    error = command.release()
    attempt.drop_secrets()
    return Guard(attempt, spec, wake, error, command.pump)
