"""The states of jobs and attempts, which may follow which, and what becomes of a job whose attempt is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.dispatch.retry import backoff_s, worth_retrying
from stoker.store import FINISHED_STATES, GANG_AGAIN, GANG_OVER, JobRow

# So often a job goes elsewhere free of charge when a lease ran out: after that it may be the job that ends its nodes.
MOST_MOVES = 5
# Why an attempt is lost of which surely nothing runs any more.
_SURELY = ("reboot", "killed", "expired", "provider")
# After these it goes elsewhere: the machine is away, and nothing runs on it.
_AWAY = ("expired", "provider")
_ENDED = frozenset({"succeeded", "failed", "cancelled", "lost"})

# A job: "queued" again means that a further attempt follows, or that the node lets it wait for GPUs.
JOB_TRANSITIONS: Mapping[str, frozenset[str]] = {
    "queued": frozenset({"starting", "running", *FINISHED_STATES}),
    "starting": frozenset({"queued", "running", *FINISHED_STATES}),
    "running": frozenset({"queued", *FINISHED_STATES}),
    **dict.fromkeys(FINISHED_STATES, frozenset()),
}

# An attempt never goes back: an observation that says so is older than what is known.
ATTEMPT_TRANSITIONS: Mapping[str, frozenset[str]] = {
    "starting": frozenset({"queued", "running"}) | _ENDED,
    "queued": frozenset({"starting", "running"}) | _ENDED,
    "running": _ENDED,
    **dict.fromkeys(_ENDED, frozenset()),
}


class TransitionError(Exception):
    """A change that the table of states does not know: a fault of the program, not of a node."""


def check_job(before: str, after: str) -> None:
    """Raise TransitionError when a job may not go from `before` to `after`. Staying is no transition."""
    if before != after and after not in JOB_TRANSITIONS[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")


def follows(before: str, after: str) -> bool:
    """Whether an attempt may be seen `after` it was seen `before`."""
    return before == after or after in ATTEMPT_TRANSITIONS[before]


def after_end(
    job: JobRow, state: str, reason: str | None, now: float, *, exit_code: int | None = None, signal: int | None = None,
    moves: int = MOST_MOVES,
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """What becomes of `job` when its attempt ended as `state` (`reason`).

    Returns the event's type, and the job's new values. A job that was put back uses up no retry. One whose lease ran
    out (policy `move`), or whose machine the provider took away, goes elsewhere at once; up to `moves` times that is no
    failure of its own. One that may be tried again is `dead` when its retries are spent, or when this is no failure
    that it is tried again for. A rank that was stopped because of another one of its gang begins again with it, or
    failed with it.
    """
    ended: dict[str, Any] = {"state": state, "reason": reason, "not_before": None, "put_back": None}
    if job.stop_requested == GANG_AGAIN:
        if state == "lost" and reason is None:
            return "job.lost", ended  # it may be alive there: no other one follows
        again = _again(job, "begins again with the other ranks of its gang")
        return "job.retry", {**again, "not_before": job.not_before, "stop_requested": None}
    if job.stop_requested == GANG_OVER and state == "cancelled":
        why = f"stopped: another rank of its gang {job.gang} is over"
        return "job.failed", {**ended, "state": "failed", "reason": "gang", "detail": why}
    stopped = state == "cancelled" or (state == "lost" and reason in _SURELY)
    if stopped and job.put_back is not None and job.stop_requested is None:
        return "job.requeued", _again(job, f"attempt {job.attempt} was stopped: {job.put_back}")
    failed = state == "failed" or (state == "lost" and reason is not None)
    if job.stop_requested is not None or not failed:
        return f"job.{state}", ended
    if reason in _AWAY and (job.moves or 0) < moves:
        return "job.moved", {**_again(job, f"attempt {job.attempt} lost ({reason}) on {job.node}; it goes elsewhere"),
                             "moves": (job.moves or 0) + 1}  # fmt: skip
    if job.retries_used < job.max_retries and worth_retrying(job, state, reason, exit_code, signal):
        pause = backoff_s(job)
        told = f"{state} ({reason})" if reason else state
        again = _again(job, f"attempt {job.attempt} {told}; the next one in {pause:.0f} s")
        return "job.retry", {**again, "retries_used": job.retries_used + 1, "not_before": now + pause}
    if job.max_retries > 0:
        return "job.dead", {**ended, "state": "dead"}
    return f"job.{state}", ended


def _again(job: JobRow, detail: str) -> dict[str, Any]:
    """The values of a job that waits in the store for a further attempt."""
    return {
        "state": "queued", "reason": None, "node": None, "not_before": None, "put_back": None, "ended_at": None,
        "started_at": None, "elapsed_s": None, "exit_code": None, "signal": None, "stop_ordered_at": None,
        "detail": detail,
    }  # fmt: skip
