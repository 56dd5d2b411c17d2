# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend ``process``: a job is a process of this machine under a supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import time

from .. import gpu_queue, identity, launch, leases, logs, schemas, snapshots
from ..observe import Evidence, observe
from ..processes import Family, send_signal
from ..statedir import NodeError, is_locked

TIDY_S = 2.0
SETTLED_S = 10.0


class ProcessBackend:
    """See the package docstring for the interface."""

    def __init__(self, state, entry, rungs=None):
        self.state = state
        self.entry = entry
        self.rungs = rungs
        self.busy_processes = None  # this node's own list, in place of the one in a job's spec

    # -- start -------------------------------------------------------------------------------------------------

    def start(self, spec, attempt_number, secrets=None, promise=None):
        """Begin one attempt. Returns (changed, launch or None). ``promise``: until when its lease runs, see leases."""
        spec = schemas.require(spec, "stoker.spec")
        if spec.get("gpu_uuids"):
            spec["gpus"] = len(spec["gpu_uuids"])
        missing = sorted(set(spec.get("secret_env") or ()) - set(secrets or ()))
        if missing:
            raise NodeError(
                "bad_request",
                "no value came for the secret {0}".format(", ".join(missing)),
                "set it in the environment of the controller that dispatches, or in stoker_secrets",
            )
        self._check_attempts(spec, attempt_number)
        if not self.state.has_attempt(spec["job"], attempt_number):
            snapshots.require(self.state, spec)
        files = {"spec.json": dict(spec, accepted_at=identity.now())}
        if secrets:
            files["secrets.json"] = secrets
        if self.busy_processes is not None:
            files["gate.json"] = {"busy_processes": self.busy_processes}
        if spec.get("lease"):
            files["lease.json"] = leases.lease(spec["lease"], promise)
            if not self.state.has_attempt(spec["job"], attempt_number):
                leases.refuse_late(files["lease.json"])
        created = self.state.create_attempt(spec["job"], attempt_number, files)
        attempt = self.state.attempt(spec["job"], attempt_number)
        if not created:
            self._check_same(attempt, spec)
            if spec.get("lease") and promise:
                leases.renew(attempt, files["lease.json"])
        return created, self._launch(attempt)

    def _check_attempts(self, spec, number):
        for other in self.state.attempts(spec["job"]):
            self._check_same(other, spec)
            if other.number > number:
                raise NodeError(
                    "stale_attempt",
                    "attempt {0} of {1} was superseded by {2} here".format(number, spec["job"], other.number),
                )
            if other.number < number and observe(other)["state"] in ("queued", "starting", "running"):
                raise NodeError(
                    "conflict",
                    "attempt {0} of {1} is still alive here".format(other.number, spec["job"]),
                    "stop it first: stoker stop {0}".format(spec["job"]),
                )

    @staticmethod
    def _check_same(attempt, spec):
        known = attempt.read("spec.json") or {}
        if known.get("uid") != spec["uid"]:
            raise NodeError(
                "conflict",
                "the node has another job called {0} (uid {1})".format(attempt.job, known.get("uid")),
                "start this one under another id",
            )

    def _launch(self, attempt, evidence=None):
        evidence = evidence or Evidence(attempt)
        if not evidence.needs_launch():
            return None
        if evidence.spec.get("gpus"):
            gpu_queue.take_ticket(self.state, attempt)
        return launch.Launch(self.entry, attempt, self.rungs)

    def relaunch(self, attempt):
        """Give an accepted attempt the supervisor that it lacks. Returns a Launch where its command is to begin.

        It was killed or the node booted before the command began; or recorder and supervisor were both killed, and
        nobody would enforce the limits of what still runs.
        """
        # A launch by another call may be just under way.
        if time.time() - os.stat(attempt.file("spec.json")).st_mtime <= SETTLED_S:
            return None
        evidence = Evidence(attempt)
        if evidence.unguarded():
            launch.start_supervisor(self.entry, attempt, "subreaper", adopt=True)
            return None
        return self._launch(attempt, evidence)

    # -- cancel ------------------------------------------------------------------------------------------------

    def cancel(self, job, number, grace_s=None, reason="cancelled"):
        """Ask for the end of an attempt. Returns True where that changed anything."""
        attempt = self.state.attempt(job, number)
        evidence = Evidence(attempt)
        if evidence.judge()[0] not in ("queued", "starting", "running"):
            return False
        asked = attempt.read("stop.json")
        if asked is None:
            grace = evidence.spec.get("grace_s", 10.0) if grace_s is None else grace_s
            attempt.write("stop.json", {"reason": reason, "grace_s": grace, "asked_at": identity.now()})
        elif grace_s is not None:
            attempt.write("stop.json", dict(asked, grace_s=grace_s))
        for role in ("recorder", "supervisor"):
            who = (evidence.state or {}).get(role)
            if identity.is_alive(who):
                send_signal(who["pid"], who["start"], signal.SIGUSR1)
                # One that somebody stopped (a debugger, a frozen machine) could not do what it is asked for.
                send_signal(who["pid"], who["start"], signal.SIGCONT)
        if not is_locked(attempt.file("supervisor.lock")) and not identity.is_alive(
            (evidence.state or {}).get("recorder")
        ):
            # Nobody is there to do it: a new supervisor ends what is left, or records that it never began.
            launch.start_supervisor(self.entry, attempt, "subreaper", adopt=evidence.began)
        return asked is None

    def signal(self, job, number, name):
        """Send a signal to those processes of an attempt that handle it: the others it would only end."""
        attempt = self.state.attempt(job, number)
        state = self.state_of(attempt)
        if state != "running":
            raise NodeError("conflict", "attempt {0} of {1} is {2}, not running".format(number, job, state))
        if not Family(attempt).send_to_catchers(getattr(signal, "SIG" + name)):
            raise NodeError(
                "not_supported",
                "no process of {0} handles SIG{1}: it would only end it".format(job, name),
                "stoker stop {0}, to end it".format(job),
            )
        return True

    def renew_lease(self, job, number, wanted, promise=None):
        """Move the end of the lease. Returns True where it changed."""
        return leases.renew(self.state.attempt(job, number), leases.lease(wanted, promise))

    # -- observe -----------------------------------------------------------------------------------------------

    def observe(self, jobs="live", specs=False):
        """Observations: of all attempts, of those of given jobs, or of the live ones."""
        names = self.state.jobs() if jobs in ("all", "live") else [job for job in jobs if job in set(self.state.jobs())]
        found = []
        for job in names:
            for attempt in self.state.attempts(job):
                if jobs == "live" and attempt.finished():
                    continue
                found.append(observe(attempt, with_spec=specs))
        return found

    def read_log(self, job, number, stream="out", offset=None, tail=None, limit=logs.CHUNK_LIMIT_BYTES, wait=0.0):
        """One chunk of a log, and the attempt's observation when it was read."""
        attempt = self.state.attempt(job, number)
        if offset is None:
            offset = logs.tail_offset(attempt, stream, tail) if tail is not None else 0
        logs.wait_for_more(attempt, stream, offset, wait, lambda: _over(attempt))
        # First the state, then the bytes: what was written before the end is then in the chunk.
        seen = observe(attempt)
        ended = seen["state"] not in ("queued", "starting", "running")
        return logs.read(attempt, stream, offset, limit, ended), seen

    @staticmethod
    def state_of(attempt):
        """The state of one attempt, without what else there is to say of it."""
        return Evidence(attempt).judge()[0]

    # -- remove ------------------------------------------------------------------------------------------------

    def remove(self, job):
        """Remove a job's folder. Returns [(attempt, bytes)]. Raises NodeError while an attempt may be alive."""
        removed = self.removable(job)
        if removed:
            trash = os.path.join(self.state.path, "jobs", ".trash-{0}-{1}".format(job, os.getpid()))
            os.rename(self.state.job_path(job), trash)
            shutil.rmtree(trash)
        return removed

    def removable(self, job):
        """What ``remove`` would remove: [(attempt, bytes)]. Raises NodeError while an attempt may be alive."""
        found = []
        for attempt in self.state.attempts(job):
            if not _over(attempt):
                raise NodeError(
                    "conflict", "attempt {0} of {1} is not over".format(attempt.number, job), "stoker stop " + job
                )
            if not _let_go(attempt):
                raise NodeError(
                    "conflict",
                    "what attempt {0} of {1} left behind is still being ended".format(attempt.number, job),
                    "try again in some seconds",
                )
            found.append((attempt.number, _bytes_in(attempt.path)))
        return found


def _let_go(attempt):
    """Whether nobody works on an attempt that is over; its supervisor needs a moment after the exit record."""
    deadline = time.monotonic() + TIDY_S
    while is_locked(attempt.file("supervisor.lock")) or is_locked(attempt.file("alive.lock")):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _over(attempt):
    return Evidence(attempt).judge()[0] not in ("queued", "starting", "running")


def _bytes_in(path):
    total = 0
    for folder, _names, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # a temporary name
    return total
