"""Results that are to be fetched: one dispatcher at a time takes a job's, for a while and under a number.

    if (job := store.due.claim(job.id, now)) is not None:
        ...
        store.due.put(job, results, due=False)

No global order is needed here, so nobody waits: a row that another one is just looking at is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select, update

from stoker.store import schema
from stoker.store.rows import FINISHED_STATES, JobRow

if TYPE_CHECKING:
    from stoker.store.store import Store

# How long a claim holds when nobody renews it.
LEASE_S = 60.0


class DueResults:
    """The results that are due in one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def jobs(self) -> list[JobRow]:
        """Jobs that are over and whose results are to be fetched and have not been, oldest first."""
        table = schema.jobs
        query = select(table).where(table.c.results_due.is_(True), table.c.state.in_(FINISHED_STATES))
        with self._store.read() as connection:
            return [JobRow(**row) for row in connection.execute(query.order_by(table.c.number)).mappings()]

    def claim(self, job_id: str, *, now: float | None = None) -> JobRow | None:
        """Take the results of a job that is over for `LEASE_S` seconds, under a new number.

        None: they are not due, or another one has them.
        """
        at = time.time() if now is None else now
        table = schema.jobs
        free = or_(table.c.results_until.is_(None), table.c.results_until <= at)
        query = select(table).where(
            table.c.id == job_id, table.c.results_due.is_(True), table.c.state.in_(FINISHED_STATES), free
        )
        with self._store.touch() as connection:
            row = connection.execute(query.with_for_update(skip_locked=True)).mappings().one_or_none()
            if row is None:
                return None
            taken = {"results_until": at + LEASE_S, "results_epoch": (row["results_epoch"] or 0) + 1}
            connection.execute(update(table).where(table.c.id == job_id).values(**taken))
            return JobRow(**{**row, **taken})

    def renew(self, job: JobRow, *, now: float | None = None) -> bool:
        """Keep a claim for another `LEASE_S` seconds. False: it is another one's by now."""
        at = time.time() if now is None else now
        with self._store.touch() as connection:
            statement = update(schema.jobs).where(*_own(job)).values(results_until=at + LEASE_S)
            return connection.execute(statement).rowcount == 1

    def put(
        self, job: JobRow, results: Mapping[str, Any], due: bool, *, lost: str | None = None, now: float | None = None,
    ) -> bool:  # fmt: skip
        """Write down what came of fetching, and end the claim. False, and nothing written: it is another one's.

        `lost`: why they can never be fetched any more.
        """
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            values = {"results": results, "results_due": due, "results_until": None}
            if not transaction.change(update(schema.jobs).where(*_own(job)).values(**values)):
                return False
            if lost is not None:
                transaction.event("results.lost", at, job=job.id, attempt=job.attempt or None, node=job.node,
                                  data={"reason": lost})  # fmt: skip
            elif not due:
                data = {"local": results.get("local"), "files": results.get("files"), "bytes": results.get("bytes")}
                attempt = job.attempt or None
                transaction.event("job.results", at, job=job.id, attempt=attempt, node=job.node, data=data)
            return True


def _own(job: JobRow) -> tuple[Any, ...]:
    return schema.jobs.c.id == job.id, schema.jobs.c.results_epoch == job.results_epoch
