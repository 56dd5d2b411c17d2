# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of one attempt: waits for its GPUs, starts the recorder, samples, and enforces timeout and lease.

It and the recorder watch each other: the recorder starts a new supervisor when this one was killed; this one takes
over the recorder's work when that one was killed.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
import uuid

from . import (
    agent_task,
    cgroups,
    gpu_gate,
    gpu_queue,
    identity,
    launch,
    leases,
    logs,
    recorder,
    run_files,
    sandbox,
    snapshots,
)
from .processes import Family, send_signal
from .samples import Sampler
from .statedir import Lock, NodeError, StateDir, from_os_error

HEAD_POLL_S = 0.5
TICK_S = 1.0
SCAN_BYTES_PER_TICK = 32 * 1024 * 1024


class Reviver:
    """Starts a new supervisor when the old one was killed. Used by the recorder."""

    def __init__(self, attempt, entry, rung, keep):
        self.attempt = attempt
        self.entry = entry
        self.rung = rung
        self.keep = keep
        self.next_at = 0.0

    def revive(self):
        state = self.attempt.read("state.json") or {}
        if identity.is_alive(state.get("supervisor")) or time.monotonic() < self.next_at:
            return
        self.next_at = time.monotonic() + 5.0
        launch.start_supervisor(self.entry, self.attempt, "subreaper", adopt=True)


class Supervisor:
    """One life of the supervisor role."""

    def __init__(self, attempt, entry, rung):
        self.attempt = attempt
        self.entry = entry
        self.rung = rung
        self.spec = snapshots.resolved(attempt, attempt.read("spec.json"))
        self.wake = recorder.Wake()
        self.locks = []
        self.groups = cgroups.Groups()
        self.guard = None
        self.recorder = None

    # -- before the command ------------------------------------------------------------------------------------

    def start(self):
        """Bring the attempt to the point where its command runs. False where it ended before."""
        self.attempt.update_state(
            phase="starting",
            boot=identity.boot_identity(),
            supervisor=identity.identify(os.getpid()),
            rung=self.rung,
            token=(self.attempt.read("state.json") or {}).get("token") or uuid.uuid4().hex,
            kernel_oom_kills=recorder.oom_kills_of_kernel(),
        )
        try:
            # Before it waits: what lies on this node may be cleared away meanwhile.
            snapshots.unpack(self.attempt, self.spec)
            agent_task.check(self.spec)
            if self.spec.get("container"):
                if not self._fetch_image():
                    return self._never_ran(self.attempt.read("stop.json"))
            else:
                sandbox.check(self.spec)
            if self.spec.get("environment") and not self._install_environment():
                return self._never_ran(self.attempt.read("stop.json"))
            if self.spec.get("gpus") and not self._wait_for_gpus():
                return False
            # An image may have taken longer: what may run elsewhere by now does not begin here.
            self._enforce_lease()
            if self.attempt.read("stop.json"):
                return self._never_ran(self.attempt.read("stop.json"))
            self._make_groups()
        except NodeError as exc:
            return self._never_ran(None, exc.message + ("; " + exc.next_step if exc.next_step else ""))
        except OSError as exc:
            return self._never_ran(None, from_os_error(exc).message)
        self._fork_recorder()
        return True

    def _fetch_image(self):
        """Before GPUs are held: it may take long. False where the attempt was asked to stop meanwhile."""
        from .container_job import fetch_image

        return fetch_image(self.attempt, self.spec, lambda: not self.attempt.read("stop.json"))

    def _install_environment(self):
        """The same, for what its project needs."""
        from .environment_job import install

        def go_on():
            self._enforce_lease()
            return not self.attempt.read("stop.json")

        spec = install(self.attempt, self.spec, self.entry, go_on)
        self.spec = spec or self.spec
        return spec is not None

    def _wait_for_gpus(self):
        state, uuids = self.attempt.state_dir, self.spec.get("gpu_uuids")
        said, inventory = None, gpu_queue.Inventory()
        gate = gpu_gate.Gate(state, dict(self.spec.get("preflight") or {}, **(self.attempt.read("gate.json") or {})))
        while True:
            stop = self.attempt.read("stop.json")
            if stop:
                gpu_queue.drop_ticket(state, self.attempt)
                return self._never_ran(stop)
            locks, got, waiting = gpu_queue.claim(state, self.attempt, self.spec["gpus"], uuids, inventory, gate)
            if locks:
                self.locks = locks
                self.attempt.update_state(gpus=got, waiting=None, preflight=gate.findings(got))
                gpu_queue.drop_ticket(state, self.attempt)
                return True
            if waiting.as_dict() != said:
                said = waiting.as_dict()
                self.attempt.update_state(phase="queued", waiting=said)
            self._enforce_lease()
            # Only the first in line looks often: the others cannot get anything before it.
            self.wake.wait(HEAD_POLL_S * (1 + min(waiting.position, 5)))

    def _never_ran(self, stop, error=None):
        record = recorder.exit_record(self.attempt, None, stop, error, None)
        if error:
            record["code"] = recorder.NOT_STARTED
        recorder.settle(self.attempt, record, self.wake)
        gpu_queue.drop_ticket(self.attempt.state_dir, self.attempt)
        self._forget_copy()
        return False

    def _make_groups(self):
        # Another state folder of this machine may have a job of the same id: it needs a group of its own.
        token = self.attempt.read("state.json")["token"]
        name = "{0}.{1}.{2}".format(self.attempt.job, self.attempt.number, token[:8])
        if self.spec.get("container"):
            return  # the engine's own groups hold the container, and its limits
        if self.rung != "subreaper":
            self.groups = cgroups.create(name, below_own=self.rung.startswith("systemd"))
        self.groups.limit(self.spec.get("memory_bytes"), self.spec.get("cpus"))
        rung = self.groups.kind or "subreaper" if self.rung == "cgroup" else self.rung
        self.attempt.update_state(groups=self.groups.record(), rung=rung)

    def _fork_recorder(self):
        identity.become_subreaper()
        keep = [lock.fd for lock in self.locks]
        if not self.spec.get("container"):
            keep.append(self.alive.fd)  # a container's engine would hold it, and that proves nothing of ours
        reviver = Reviver(self.attempt, self.entry, self.rung, keep)
        pid = os.fork()
        if pid == 0:
            self.lock.release()
            recorder.run(self.attempt, self.spec, self.groups, keep, reviver)
        self.recorder = identity.identify(pid)

    # -- while the command runs --------------------------------------------------------------------------------

    def watch(self):
        """Until the attempt is over and nothing of it is left."""
        state = self.attempt.read("state.json") or {}
        self.groups = cgroups.Groups.from_record(state.get("groups"))
        self.recorder = self.recorder or state.get("recorder")
        interval_s = float(self.spec.get("sample_interval_s", 10.0))
        sampler = Sampler(self.attempt, interval_s, state.get("gpus") or [], run_files.folder_of(self.attempt))
        statuses = {}
        while True:
            statuses.update(recorder.reap())
            if not identity.is_alive(self.recorder) and self._without_recorder(statuses):
                break
            self._hold_gpus(state)
            self._enforce_timeout()
            self._enforce_lease()
            self._enforce_agent()
            self._observe(sampler)
            self.wake.wait(TICK_S)
        self._tidy()

    def _hold_gpus(self, state):
        """A container cannot hold its own locks: who takes it over does, as soon as its engine lets go of them."""
        if not state.get("container") or len(self.locks) >= len(state.get("gpus") or ()):
            return
        held = {lock.path for lock in self.locks}
        for gpu in state["gpus"]:
            lock = gpu_queue.gpu_lock(self.attempt.state_dir, gpu)
            if lock.path not in held and lock.acquire():
                self.locks.append(lock)

    def _without_recorder(self, statuses):
        """The recorder has ended: after its work, or killed. True when there is nothing left to do."""
        if self.attempt.finished() and self.guard is None:
            return not Family(self.attempt).members() or self._sweep()
        state = self.attempt.read("state.json") or {}
        if not state.get("command") and not state.get("container"):
            record = dict(recorder.exit_record(self.attempt, None, None, None, None), lost="killed")
            recorder.settle(
                self.attempt, dict(record, detail="the recorder was killed before the command began"), self.wake
            )
            return True
        if self.guard is None:
            self.guard = recorder.guard_of(self.attempt, self.spec, self.wake)
        self.guard.take(statuses)
        return self.guard.step()

    def _sweep(self):
        Family(self.attempt).kill(recorder.reap)
        return True

    def _observe(self, sampler):
        """Samples and log scan: worth having, never worth an attempt's life."""
        try:
            sampler.tick(Family(self.attempt))
            logs.scan(self.attempt, self.spec, SCAN_BYTES_PER_TICK)
        except Exception:  # noqa: BLE001 - whatever a job can write
            _note()  # a full disk, for example

    def ask_to_stop(self, reason, detail=None):
        if not self.attempt.read("stop.json") and not self.attempt.finished():
            self.attempt.write(
                "stop.json",
                {
                    "reason": reason,
                    "detail": detail,
                    "grace_s": self.spec.get("grace_s", 10.0),
                    "asked_at": identity.now(),
                },
            )
            state = self.attempt.read("state.json") or {}
            if identity.is_alive(state.get("recorder")):
                send_signal(state["recorder"]["pid"], state["recorder"]["start"], signal.SIGUSR1)

    def _enforce_timeout(self):
        limit = self.spec.get("timeout_s")
        if not limit:
            return
        state = self.attempt.read("state.json") or {}
        # This clock stands still while the machine is suspended: a nap is not the job's time.
        if state.get("started_clock_s") is not None and time.monotonic() - state["started_clock_s"] > limit:
            self._end("timeout")

    def _enforce_agent(self):
        """Stop an agent whose transcript reports more than it may use."""
        if not self.spec.get("agent"):
            return
        try:
            over = agent_task.beyond(self.spec, agent_task.usage(self.attempt))
        except Exception as exc:  # noqa: BLE001 - whatever a job can write
            _note()
            over = "its transcript cannot be counted, and no limit be held: {0}: {1}".format(type(exc).__name__, exc)
        if over:
            self._end("limit", over)

    def _enforce_lease(self):
        if not leases.ran_out(self.attempt.read("lease.json")):
            return
        self._end("expired")

    def _end(self, reason, detail=None):
        """Ask for the end; where that cannot be written down, take it: nothing outlives its limits for want of room."""
        try:
            self.ask_to_stop(reason, detail)
        except OSError:
            _note()
            Family(self.attempt).kill(recorder.reap)

    def _tidy(self):
        try:
            logs.scan(self.attempt, self.spec, None)
        except OSError:
            _note()
        self.groups.remove()
        self._forget_copy()

    def _forget_copy(self):
        try:
            snapshots.forget_copy(self.attempt)
        except OSError:
            _note()


def _note():
    """What went wrong, to supervisor.log; on a full disk there is no place to say it, and the work goes on."""
    try:
        traceback.print_exc()
    except OSError:
        pass


def _take_over_container(attempt):
    """A container that outlived the node's PID 1 is from now on one of this boot, its processes with new numbers."""
    state = attempt.read("state.json") or {}
    if state.get("container") and state.get("boot") != identity.boot_identity():
        from .container_job import note_again

        note_again(attempt)


def run(entry, state_path, lock_dir, job, number, rung, adopt):
    """The entry point of the process. Returns an exit code."""
    identity.set_process_name("stoker-superv")
    attempt = StateDir(state_path, lock_dir).attempt(job, int(number))
    supervisor = Supervisor(attempt, entry, rung)
    supervisor.lock = Lock(attempt.file("supervisor.lock"))
    if not supervisor.lock.acquire():
        return 0  # another one is at it
    if attempt.finished():
        supervisor._forget_copy()  # the one before may have been killed at that
        return 0
    supervisor.alive = Lock(attempt.file("alive.lock"), inheritable=True)
    if adopt:
        attempt.update_state(supervisor=identity.identify(os.getpid()))
        identity.become_subreaper()
        _take_over_container(attempt)
    else:
        state = attempt.read("state.json")
        if state and state.get("recorder"):
            return 0  # its command began once: it is never begun again
        if not supervisor.alive.acquire():
            return 0
        if not supervisor.start():
            return 0
    supervisor.watch()
    return 0
