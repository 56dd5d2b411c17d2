# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From evidence to state: what can be proved of an attempt now."""

from __future__ import annotations

import os
import signal

from . import agent_task, identity, logs, samples, snapshots
from .processes import Family
from .statedir import from_os_error, is_locked

SCAN_BYTES_PER_LOOK = 16 * 1024 * 1024
# A program may survive running out of memory; it counts as the cause when it is among its last words.
_LAST_WORDS_BYTES = 16384
# What of its output a job's followers in a workflow can look at.
_TAIL_BYTES = 4096
_OOM_PATTERNS = ("cuda-oom", "host-oom")


class Evidence:
    """Everything that was looked at, in the order that leaves no gap: the exit record comes last again."""

    def __init__(self, attempt):
        self.attempt = attempt
        self.spec = attempt.read("spec.json") or {}
        self.state = attempt.read("state.json")
        self.exit = attempt.read("exit.json")
        self.supervised = self.alive = False
        self.members = {}
        if self.exit is None:
            self.supervised = is_locked(attempt.file("supervisor.lock"))
            self.alive = is_locked(attempt.file("alive.lock"))
            if self.state and not self.supervised and not self.alive and self.same_boot:
                self.members = Family(attempt).members()
            # It may have ended, and let go of its locks, between the first look and now.
            self.state = attempt.read("state.json")
            self.exit = attempt.read("exit.json")
        self.container = None
        if self.exit is None and self.began and self.state.get("container") and not (self.alive or self.supervised):
            from .container_evidence import judge

            self.container = judge(attempt, self.state, self.same_boot)

    @property
    def same_boot(self):
        return bool(self.state) and self.state.get("boot") == identity.boot_identity()

    @property
    def began(self):
        """Whether the user's command was ever about to run."""
        return bool(self.state) and bool(self.state.get("recorder"))

    @property
    def holds(self):
        return self.supervised or self.alive or bool(self.members)

    def needs_launch(self):
        """Accepted, never begun, and nobody at it: starting its supervisor (again) is safe, after a reboot too."""
        return self.exit is None and not self.began and not self.supervised

    def unguarded(self):
        """Whether the command lives, and neither supervisor nor recorder is there to see to its limits and its end."""
        here = self.exit is None and self.began and self.same_boot and self.holds and not self.supervised
        return here and not identity.is_alive(self.state.get("recorder"))

    def judge(self):
        """Return (state, reason, evidence)."""
        if self.exit is not None:
            return _ended(self.exit)
        if not self.state:
            return "starting", None, "accepted by the node; its supervisor has not begun yet"
        if not self.began:
            where = "queued" if self.state.get("phase") == "queued" else "starting"
            if not self.supervised:
                return where, None, "it has not begun; it will be started again"
            return where, None, "its supervisor holds its lock" + self._meanwhile()
        if self.container and self.container[0] == "running" and not self.members:
            return self.container[:3]
        if self.container and self.container[0] == "ended":
            return _ended(self.container[3])
        if not self.same_boot and not (self.supervised and self.state.get("container")):
            return "lost", "reboot", "the node booted since: the boot id or the start of PID 1 changed"
        if self.holds:
            return "running", None, self._proof_of_life()
        return "lost", "killed", "no exit record, no lock held, and none of its processes is left"

    def _meanwhile(self):
        """What takes long before the command begins."""
        if self.state.get("phase") == "fetching":
            return "; the image is being fetched"
        if self.state.get("phase") == "installing":
            return "; what its project needs is being installed: {0}".format(self.state.get("installing"))
        return ""

    def _proof_of_life(self):
        if self.alive:
            return "its lock is held"
        if self.supervised:
            return "its supervisor holds its lock"
        return "{0} of its processes live, without supervisor".format(len(self.members))


def _ended(record):
    if record.get("lost"):
        return "lost", record["lost"], record.get("detail") or record.get("evidence") or "recorded on the node"
    stopped = record.get("stopped")
    code, number = record.get("code"), record.get("signal")
    how = "exit record: " + (
        "signal {0}".format(signal_name(number))
        if number
        else "exit {0}".format(code)
        if code is not None
        else "it never ran, or nobody saw how it ended"
    )
    if stopped == "cancelled":
        return "cancelled", None, how + ", after it was asked to stop; none of its processes was left"
    if stopped == "timeout":
        return "failed", "timeout", how + ", at its time limit"
    if stopped == "limit":
        return "failed", "limit", "{0}; stopped: {1}".format(how, record.get("detail") or "it used more than it may")
    if stopped == "expired":
        return "lost", "expired", how + ", when nobody had renewed its lease"
    if record.get("error"):
        return "failed", "start", "it could not start: " + record["error"]
    if code == 0:
        return "succeeded", None, how
    if record.get("oom"):
        return "failed", "oom", how + "; the kernel killed it for memory"
    return "failed", "signal" if number else "code", how


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def settle(evidence):
    """Write down a proven end, so that nothing later can contradict it. Returns the state judged."""
    state, reason, proof = evidence.judge()
    if evidence.exit is not None:
        # Its supervisor may have been killed before it took the copy away.
        attempt = evidence.attempt
        left = os.path.isdir(attempt.file("resume")) and not is_locked(attempt.file("supervisor.lock"))
        return state, reason, proof + (_without_copy(attempt) if left else "")
    record = None
    if evidence.container and evidence.container[0] == "ended":
        evidence.exit = record = evidence.container[3]
    elif state == "lost":
        record = {"schema": "stoker.exit/1", "lost": reason, "detail": proof, "ended_at": None}
    if record:
        try:
            evidence.attempt.write_exit(record)
        except OSError as exc:
            return state, reason, proof + "; it could not be written down: " + from_os_error(exc).message
        if evidence.state and evidence.state.get("container"):
            from .container_job import discard

            discard(evidence.attempt)
        proof += _without_copy(evidence.attempt)
    return state, reason, proof


def _without_copy(attempt):
    """Nobody is left to take its copy of a checkpoint away; what to add to the evidence where that fails."""
    try:
        snapshots.forget_copy(attempt)
    except OSError as exc:
        return "; {0} stays: {1}".format(attempt.file("resume"), from_os_error(exc).message)
    return ""


def observe(attempt, with_spec=False, write=True):
    """The observation of one attempt (``stoker.observation/1``). ``write``: record a proven loss."""
    evidence = Evidence(attempt)
    state, reason, proof = settle(evidence) if write else evidence.judge()
    spec, record = evidence.state or {}, evidence.exit or {}
    ended = state not in ("queued", "starting", "running")
    found = {
        "schema": "stoker.observation/1",
        "job": attempt.job,
        "uid": evidence.spec.get("uid"),
        "name": evidence.spec.get("name"),
        "attempt": attempt.number,
        "state": state,
        "reason": reason,
        "evidence": proof,
        "exit_code": record.get("code"),
        "signal": record.get("signal"),
        "oom": record.get("oom"),
        "error": record.get("error"),
        "detail": _detail(evidence, state),
        "queued_at": evidence.spec.get("accepted_at"),
        "started_at": spec.get("started_at"),
        "ended_at": record.get("ended_at"),
        "elapsed_s": _elapsed(evidence, state),
        "pid": (spec.get("command") or {}).get("pid"),
        "rung": spec.get("rung"),
        "supervised": evidence.supervised,
        "stopping": not ended and os.path.exists(attempt.file("stop.json")),
        "gpus": spec.get("gpus") or [],
        "waiting": spec.get("waiting") if state == "queued" else None,
        "preflight": spec.get("preflight"),
        "boot_id": (spec.get("boot") or {}).get("boot_id"),
        "log_size": logs.size(attempt),
        "left_behind": record.get("left_behind"),
        "sample": samples.newest(attempt),
        "usage": None,
    }
    found.update(_of_its_output(attempt, evidence, ended, found["detail"]))
    if state == "failed" and reason == "code":
        last_words = found["log_size"] - _LAST_WORDS_BYTES
        for finding in found["findings"]:
            if finding["name"] in _OOM_PATTERNS and finding["offset"] >= last_words:
                found.update(reason="oom", evidence="{0}; memory ran out at out.log:{1}".format(proof, finding["line"]))
    if with_spec:
        found["spec"] = {key: value for key, value in evidence.spec.items() if key not in ("accepted_at",)}
    return found


def _of_its_output(attempt, evidence, ended, detail):
    """What its log and its transcript tell. A job may write anything: that hides neither its state nor other jobs."""
    told = {"last_line": None, "findings": [], "finding_counts": {}, "metrics": {}, "outputs": None, "tail": None}
    for what, look in (("log", _scanned), ("transcript", _usage)):
        try:
            told.update(look(attempt, evidence, ended))
        except Exception as exc:  # noqa: BLE001 - whatever a job can write
            told["detail"] = detail or "its {0} cannot be read: {1}: {2}".format(what, type(exc).__name__, exc)
    return told


def _scanned(attempt, evidence, ended):
    over = ended and not evidence.holds
    known = logs.scan(attempt, evidence.spec, None if over else SCAN_BYTES_PER_LOOK, finish=over) or {}
    metrics = known.get("metrics") or {}
    if not ended:
        # The curve of a running job is long, and goes over the wire in every round: it follows at the end.
        metrics = {name: dict(values, series=None) for name, values in metrics.items()}
    return {
        **_given_on(attempt, evidence.spec, known, over),
        "last_line": known.get("last_line"),
        "findings": known.get("findings") or [],
        "finding_counts": known.get("finding_counts") or {},
        "metrics": metrics,
        "trackers": known.get("trackers") or [],
    }


def _usage(attempt, evidence, ended):
    """What the agent of an agent task reported that it used; nothing for any other job."""
    if not evidence.spec.get("agent"):
        return {}
    used = agent_task.usage(attempt, finish=ended and not evidence.holds)
    return {"usage": {name: used[name] for name in ("turns", "tokens", "cost_usd")}}


def _given_on(attempt, spec, known, over):
    """What a job that is over hands to those that follow it, where its spec names outputs."""
    if spec.get("outputs") is None or not over:
        return {"outputs": None, "tail": None}
    tail = logs.last_text(attempt, "stdout" if spec.get("split_output") else "out", _TAIL_BYTES)
    return {"outputs": known.get("outputs") or {}, "tail": tail}


def _elapsed(evidence, state):
    if evidence.exit is not None:
        return evidence.exit.get("elapsed_s")
    began = (evidence.state or {}).get("started_boot_s")
    if state == "running" and began is not None:
        return round(max(0.0, identity.boottime() - began), 3)
    return None


def _detail(evidence, state):
    """What is odd about it, in one sentence; None normally."""
    if state != "running":
        return (evidence.exit or {}).get("detail")
    if evidence.state.get("unkillable"):
        return "process {0} does not end, not even by SIGKILL".format(", ".join(map(str, evidence.state["unkillable"])))
    if not identity.is_alive(evidence.state.get("command")) and evidence.supervised:
        said = _last_line(evidence.attempt.file("supervisor.log"))
        if said.startswith("exit record: "):
            return "its command has ended, and the exit record cannot be written: " + said[len("exit record: ") :]
    if not evidence.supervised:
        return "its supervisor is gone; how it ends may stay unknown" if not evidence.alive else None
    return None


def _last_line(path):
    try:
        with open(path, "rb") as handle:
            lines = handle.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
