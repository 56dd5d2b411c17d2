"""Queues in the store: lines of jobs that start in order, seen by every client of the same database."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from stoker.errors import NotFound, UsageError
from stoker.store import schema
from stoker.store.rows import JobRow, QueueRow

if TYPE_CHECKING:
    from stoker.store.store import Store
    from stoker.store.transaction import Transaction

QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


class Queues:
    """The queues of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> list[QueueRow]:
        """All queues, by name."""
        with self._store.read() as connection:
            found = [QueueRow(**row) for row in connection.execute(select(schema.queues)).mappings()]
        return sorted(found, key=lambda queue: queue.name)

    def entries(self, queue: str) -> Sequence[JobRow]:
        """The jobs of `queue` that are not over, in the order in which they start."""
        table = schema.jobs
        query = select(table).where(table.c.queue == queue, table.c.state.in_(("queued", "starting", "running")))
        with self._store.read() as connection:
            return sorted((JobRow(**row) for row in connection.execute(query).mappings()), key=lambda job: job.turn)

    @staticmethod
    def ensure(transaction: Transaction, name: str, at: float) -> QueueRow:
        """The queue of this name, made where there is none. Raises UsageError for what is no name."""
        if not QUEUE_NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a queue", next_step="up to 63 letters, digits and _ . -, such as night"
            )
        queue = transaction.queue(name)
        if queue is None:
            queue = QueueRow(name, None, False, None, None, at)
            transaction.put_queue(queue)
        return queue

    def change(
        self, name: str, *, max_running: int | None = None, per_node: bool = False,
        stop_on_failure: bool | None = None, now: float | None = None,
    ) -> QueueRow:  # fmt: skip
        """Set how a queue runs; make it where there is none. What is None stays; `per_node` takes the limit away."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            queue = self.ensure(transaction, name, at)
            limit = None if per_node else queue.max_running if max_running is None else max_running
            stop = queue.stop_on_failure if stop_on_failure is None else stop_on_failure
            changed = replace(queue, max_running=limit, stop_on_failure=stop)
            transaction.put_queue(changed)
            transaction.event("queue.changed", at, data={"queue": name, "max_running": limit, "stop_on_failure": stop})
        return changed

    def pause(self, name: str, reason: str, *, now: float | None = None) -> bool:
        """Start nothing more of a queue. False where it was paused already. Raises NotFound."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            return pause(transaction, _known(transaction, name), reason, at)

    def resume(self, name: str, *, now: float | None = None) -> bool:
        """Let a paused queue go on. False where it was not paused. Raises NotFound."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            queue = _known(transaction, name)
            if not queue.paused:
                return False
            transaction.put_queue(replace(queue, paused_at=None, paused_reason=None))
            transaction.event("queue.resumed", at, data={"queue": name})
            return True

    def move(self, job_id: str, *, before: str | None = None, last: bool = False, now: float | None = None) -> int:
        """Put a waiting job before another one of its queue, first (both left out) or `last`; its position from 1.

        It takes the priority of the one that it then stands beside. Raises UsageError for a job that does not wait.
        """
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            waiting = _waiting(transaction, job_id)
            job = next(row for row in waiting if row.id == job_id)
            # The ranks of a gang stand together.
            block = [row for row in waiting if row.id == job_id or (job.gang is not None and row.gang == job.gang)]
            others = [row for row in waiting if row not in block]
            index = len(others) if last else 0
            if before is not None:
                index = _index(others, before)
                if index < 0:
                    raise UsageError(f"{before} does not wait in the queue {job.queue}", next_step="stoker queue list")
            if others:
                beside = others[min(index, len(others) - 1)].priority
                moved = [replace(row, priority=beside) for row in block]
                order = [*others[:index], *moved, *others[index:]]
                _put_in_order(transaction, order, {row.id: row for row in waiting}, at)
            transaction.event("queue.moved", at, job=job_id, data={"queue": job.queue, "position": index + 1})
            return index + 1


def pause(transaction: Transaction, queue: QueueRow, reason: str, at: float) -> bool:
    """Pause a queue inside a transaction; False where it was paused already."""
    if queue.paused:
        return False
    transaction.put_queue(replace(queue, paused_at=at, paused_reason=reason))
    transaction.event("queue.paused", at, data={"queue": queue.name, "reason": reason})
    return True


def _known(transaction: Transaction, name: str) -> QueueRow:
    queue = transaction.queue(name)
    if queue is None:
        raise NotFound(f"there is no queue {name!r}", next_step="stoker queue list shows them")
    return queue


def _waiting(transaction: Transaction, job_id: str) -> Sequence[JobRow]:
    """The jobs that wait in the store in the queue of this one, in order."""
    job = transaction.job(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id!r}", next_step="stoker queue list shows them")
    if job.queue is None:
        raise UsageError(f"{job_id} stands in no queue")
    if job.state != "queued" or job.node is not None:
        where = f" on {job.node}" if job.node else ""
        raise UsageError(f"{job_id} does not wait any more: it is {job.state}{where}")
    rows = [row for row in transaction.jobs(("queued",)) if row.queue == job.queue and row.node is None]
    return sorted(rows, key=lambda row: row.turn)


def _index(rows: Sequence[JobRow], job_id: str) -> int:
    """Where a job stands among `rows`, or the first rank of its gang; -1: nowhere."""
    gang = next((row.gang for row in rows if row.id == job_id), None)
    found = (i for i, row in enumerate(rows) if row.id == job_id or (gang is not None and row.gang == gang))
    return next(found, -1)


def _put_in_order(transaction: Transaction, order: Sequence[JobRow], before: dict[str, JobRow], at: float) -> None:
    """Deal out the places that these jobs have among them anew."""
    places = sorted(float(row.number) if row.place is None else row.place for row in order)
    for row, place in zip(order, places, strict=True):
        old = before[row.id]
        if (row.priority, place) != (old.priority, float(old.number) if old.place is None else old.place):
            transaction.change_job(old, {"priority": row.priority, "place": place, "updated_at": at})
