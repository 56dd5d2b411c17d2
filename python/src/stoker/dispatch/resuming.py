"""Checkpoints in a round: which ones waiting jobs can go on from, and which turned out to be of no use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoker.dispatch.model import State
from stoker.dispatch.observations import Answer
from stoker.store import JobRow, Store, Transaction
from stoker.store.checkpoints import kept, mark_damaged, pulls

BAD = "bad_checkpoint"


def resumable(store: Store, transaction: Transaction, jobs: Sequence[JobRow]) -> dict[str, Any]:
    """The fields of a round's state that are about checkpoints."""
    waiting = _waiting(jobs)
    if not waiting:
        return {"place": store.checkpoints.files.place, "kept": store.checkpoints.files.here()}
    return {
        "checkpoints": transaction.found(lambda connection: kept(connection, waiting)),
        "pulls": transaction.found(lambda connection: pulls(connection, waiting)),
        "place": store.checkpoints.files.place,
        "kept": store.checkpoints.files.here(),
    }


def forget_lost(store: Store, transaction: Transaction, state: State, now: float) -> bool:
    """Checkpoints of this machine whose files somebody took away: never wait for those, and say so. Whether any was."""
    root, found = store.checkpoints.files.root, False
    for job, rows in state.checkpoints.items():
        for row in rows:
            if row.damaged is None and row.place == state.place and row.digest not in state.kept:
                mark_damaged(transaction, job, row.digest, f"its files in {root} are gone", row.node, now)
                found = True
    return found


def record_damage(store: Store, answers: Sequence[Answer], now: float) -> None:
    """Write down which checkpoints were found damaged when they were brought to a node."""
    for answer in answers:
        for (order, job, number), told in answer.orders.items():
            error = told.get("error") or {}
            if order != "start" or error.get("code") != BAD:
                continue
            with store.write() as transaction:
                attempt = transaction.attempt(job, number)
                if attempt is not None and attempt.resume is not None:
                    why = str(error.get("message") or "it is damaged")
                    mark_damaged(transaction, job, attempt.resume["digest"], why, answer.node, now)


def _waiting(jobs: Sequence[JobRow]) -> list[str]:
    there = [job for job in jobs if job.attempt or job.retry_of is not None]
    wanted = [job for job in there if job.spec.get("checkpoints") or job.results_due]
    return [job.id for job in wanted if job.state == "queued" and job.node is None]
