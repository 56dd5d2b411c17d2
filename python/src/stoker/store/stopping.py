"""Asking for the end of a job, inside a transaction."""

from __future__ import annotations

from typing import Any

from stoker.store.rows import GANG_STOPS, JobRow
from stoker.store.transaction import Transaction


def request_stop(transaction: Transaction, job: JobRow, reason: str, grace_s: float | None, at: float) -> None:
    """Ask for the end of one job: it is `cancelled` at once where it waits in the store, else the next round orders it.

    Asking twice keeps the first reason; `grace_s` None: the job's own.
    """
    if job.finished:
        return
    # A gang's own stop may bring its ranks back; somebody's does not.
    first = None if job.stop_requested in GANG_STOPS else job.stop_requested
    if job.state == "queued" and job.node is None:
        _cancel_waiting(transaction, job, reason, at)
    elif first is None or grace_s != job.stop_grace_s:
        asked = first or reason
        values = {"stop_requested": asked, "stop_grace_s": grace_s, "stop_ordered_at": None, "updated_at": at}
        transaction.change_job(job, values)
        if first is None:
            data = {"reason": asked, "grace_s": grace_s}
            transaction.event("job.stop_requested", at, **where_of(job), data=data)


def _cancel_waiting(transaction: Transaction, job: JobRow, reason: str, at: float) -> None:
    values = {
        "state": "cancelled", "stop_requested": reason, "not_before": None, "ended_at": at, "updated_at": at,
        "detail": "stopped before it was started" if not job.attempt else "stopped before its next attempt",
    }  # fmt: skip
    transaction.change_job(job, values)
    data = {"from": job.state, "to": "cancelled", "reason": reason}
    transaction.event("job.cancelled", at, **where_of(job), data=data)


def where_of(job: JobRow) -> dict[str, Any]:
    """What an event says of the job that it is about."""
    return {"job": job.id, "attempt": job.attempt or None, "node": job.node}
