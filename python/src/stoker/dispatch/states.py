"""The states of jobs and attempts, which may follow which, and what becomes of a job whose attempt is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.store import FINISHED_STATES, JobRow

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

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
# A loss without reason is not tried again: nothing proves that the attempt is over.
_LOSSES_RETRIED = frozenset({"reboot", "killed", "expired"})


class TransitionError(Exception):
    """A change that the table of states does not know: a fault of the program, not of a node."""


def check_job(before: str, after: str) -> None:
    """Raise TransitionError when a job may not go from `before` to `after`. Staying is no transition."""
    if before != after and after not in JOB_TRANSITIONS[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")


def follows(before: str, after: str) -> bool:
    """Whether an attempt may be seen `after` it was seen `before`."""
    return before == after or after in ATTEMPT_TRANSITIONS[before]


def backoff_s(retries_used: int) -> float:
    """How long a job waits for its next attempt, in seconds: 1, 2, 4, ... at most 60."""
    return float(min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(retries_used, 10)))


def after_end(job: JobRow, state: str, reason: str | None, now: float) -> tuple[str, dict[str, Any]]:
    """What becomes of `job` when its attempt ended as `state` (`reason`).

    Returns the event's type, and the job's new values.
    """
    ended: dict[str, Any] = {"state": state, "reason": reason, "not_before": None}
    if job.stop_requested is not None or not _worth_retrying(state, reason):
        return f"job.{state}", ended
    if job.retries_used < job.max_retries:
        pause = backoff_s(job.retries_used)
        told = f"{state} ({reason})" if reason else state
        again = {
            "state": "queued", "reason": None, "node": None, "retries_used": job.retries_used + 1,
            "not_before": now + pause, "ended_at": None, "started_at": None, "elapsed_s": None, "exit_code": None,
            "signal": None, "detail": f"attempt {job.attempt} {told}; the next one in {pause:g} s",
        }  # fmt: skip
        return "job.retry", again
    if job.max_retries > 0:
        return "job.dead", {**ended, "state": "dead"}
    return f"job.{state}", ended


def _worth_retrying(state: str, reason: str | None) -> bool:
    # What could not start will not start the next time either.
    return (state == "failed" and reason != "start") or (state == "lost" and reason in _LOSSES_RETRIED)
