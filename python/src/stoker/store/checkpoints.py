"""Checkpoints that are kept of jobs, and their fetching: one process at a time has a job's, for a while.

if (pull := store.checkpoints.claim(job.id)) is not None:
    ...
    store.checkpoints.keep(pull, checkpoint)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Text, and_, delete, func, insert, or_, select, type_coerce, update

from stoker.store import schema
from stoker.store.checkpoint_files import CheckpointFiles
from stoker.store.rows import CheckpointRow, JobRow, PullRow

if TYPE_CHECKING:
    from stoker.store.store import Store
    from stoker.store.transaction import Transaction

# How long a claim holds when nobody renews it, in seconds.
LEASE_S = 60.0
# So many are kept of a job: the newest, and the one before should that turn out damaged.
KEPT = 2
# How a spec that has them stands in the store. A quote within a text would be escaped.
_HAS = '"checkpoints": {'


class Checkpoints:
    """The checkpoints in one store; `files` are those on this machine.

    Every method raises StokerError when the database or the disk fails.
    """

    def __init__(self, store: Store, files: CheckpointFiles) -> None:
        self._store = store
        self.files = files

    def of(self, job_id: str) -> list[CheckpointRow]:
        """Those of one job, newest first; damaged ones, too."""
        return self.of_jobs([job_id]).get(job_id, [])

    def of_jobs(self, job_ids: Iterable[str]) -> dict[str, list[CheckpointRow]]:
        """The same of several."""
        with self._store.read() as connection:
            return kept(connection, job_ids)

    def pulls(self, job_ids: Iterable[str]) -> dict[str, PullRow]:
        """By job, how fetching stands; a job that nobody fetched for is not in it."""
        with self._store.read() as connection:
            return pulls(connection, job_ids)

    def due(self, now: float | None = None) -> list[JobRow]:
        """Jobs of which a checkpoint may be there to fetch now, and nobody is at it.

        Those that run, when their interval is over; those whose newest attempt ended other than well, until what it
        wrote last was fetched.
        """
        at = time.time() if now is None else now
        jobs, pull = schema.jobs, schema.checkpoint_pulls
        turn = func.coalesce(pull.c.next_at, 0.0) <= at
        # What it wrote last does not wait for the interval, only for another try where the one before failed.
        turn |= and_(jobs.c.state != "running", pull.c.problem.is_(None))
        return self._unsettled(turn, func.coalesce(pull.c.until, 0.0) <= at)

    def unsettled(self, job_ids: Iterable[str]) -> list[JobRow]:
        """Those of these jobs whose newest attempt ended other than well, and may have left something to fetch."""
        jobs = schema.jobs
        return self._unsettled(jobs.c.id.in_(list(job_ids)), jobs.c.state != "running")

    def _unsettled(self, *more: ColumnElement[bool]) -> list[JobRow]:
        jobs, pull = schema.jobs, schema.checkpoint_pulls
        # Of a job that goes on in another attempt what there is of results comes, too: the next one has its own folder.
        again = and_(jobs.c.results_due.is_(True), jobs.c.state == "queued", jobs.c.node.is_(None))
        query = (
            select(jobs).outerjoin(pull, pull.c.job_id == jobs.c.id)
            .where(
                or_(type_coerce(jobs.c.spec, Text).contains(_HAS, autoescape=True), again), jobs.c.attempt > 0,
                jobs.c.state != "succeeded", jobs.c.state != "starting",
                func.coalesce(pull.c.settled, 0) < jobs.c.attempt, *more,
            )
            .order_by(jobs.c.number)
        )  # fmt: skip
        with self._store.read() as connection:
            rows = [JobRow(**row) for row in connection.execute(query).mappings()]
        # What waits on a node for GPUs has written nothing yet.
        return [row for row in rows if not (row.state == "queued" and row.node)]

    def claim(self, job_id: str, *, now: float | None = None) -> PullRow | None:
        """Take the fetching for `LEASE_S` seconds, under a new number. None: somebody else has it."""
        at = time.time() if now is None else now
        table = schema.checkpoint_pulls
        with self._store.write() as transaction:
            before = transaction.found(lambda connection: pulls(connection, [job_id])).get(job_id)
            if before is None:
                transaction.change(insert(table).values(job_id=job_id, epoch=0, settled=0))
            elif (before.until or 0.0) > at:
                return None
            epoch = (before.epoch if before else 0) + 1
            transaction.change(
                update(table).where(table.c.job_id == job_id).values(epoch=epoch, until=at + LEASE_S, tried_at=at)
            )
            return transaction.found(lambda connection: pulls(connection, [job_id]))[job_id]

    def renew(self, pull: PullRow, *, now: float | None = None) -> bool:
        """Keep a claim for another `LEASE_S` seconds. False: it is another one's by now."""
        at = time.time() if now is None else now
        with self._store.touch() as connection:
            statement = update(schema.checkpoint_pulls).where(*_own(pull)).values(until=at + LEASE_S)
            return connection.execute(statement).rowcount == 1

    def end(
        self, pull: PullRow, *, next_at: float | None, settled: int | None = None, problem: str | None = None,
        event: Mapping[str, Any] | None = None, now: float | None = None,
    ) -> bool:  # fmt: skip
        """End a claim without a new checkpoint. False, and nothing written: it is another one's.

        `settled`: of that attempt none will come; `event` (attempt, node): tell of the `problem`.
        """
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            if not _put(transaction, pull, next_at, settled, problem):
                return False
            if event is not None:
                where = {name: event[name] for name in ("attempt", "node")}
                transaction.event("checkpoint.refused", at, job=pull.job_id, **where, data={"reason": problem})
            return True

    def keep(
        self, pull: PullRow, checkpoint: Mapping[str, Any], *, next_at: float | None, settled: int | None = None,
        now: float | None = None,
    ) -> list[str] | None:  # fmt: skip
        """Write down one whose files are here, and end the claim; the digests that the job needs no more.

        The same as the newest one again is no new one. None, and nothing written: the claim is another one's.
        """
        at = time.time() if now is None else now
        table = schema.checkpoints
        with self._store.write() as transaction:
            if not _put(transaction, pull, next_at, settled, None):
                return None
            before = transaction.found(lambda connection: kept(connection, [pull.job_id])).get(pull.job_id, [])
            values = {**checkpoint, "job_id": pull.job_id, "place": self.files.place, "at": at}
            newest = before[0] if before else None
            if newest is not None and newest.damaged is None and newest.digest == values["digest"]:
                same = {name: values[name] for name in ("mark", "attempt", "of_job", "node", "written_at", "place")}
                transaction.change(update(table).where(table.c.seq == newest.seq).values(**same))
                return []
            transaction.change(insert(table).values(**values))
            transaction.event(
                "checkpoint.pulled", at, job=pull.job_id, attempt=values["attempt"], node=values["node"],
                data={name: values[name] for name in ("name", "step", "files", "bytes", "digest")},
            )  # fmt: skip
            sound = [row for row in before if row.damaged is None][KEPT - 1 :]
            gone = [*sound, *(row for row in before if row.damaged is not None)]
            transaction.change(delete(table).where(table.c.seq.in_([row.seq for row in gone])))
            left = {row.digest for row in before if row not in gone} | {values["digest"]}
            return sorted({row.digest for row in gone} - left)


def kept(connection: Connection, job_ids: Iterable[str]) -> dict[str, list[CheckpointRow]]:
    """The checkpoints of these jobs, newest first."""
    table, found = schema.checkpoints, dict[str, list[CheckpointRow]]()
    for part in _parts(job_ids):
        query = select(table).where(table.c.job_id.in_(part)).order_by(table.c.seq.desc())
        for row in connection.execute(query).mappings():
            found.setdefault(row["job_id"], []).append(CheckpointRow(**row))
    return found


def pulls(connection: Connection, job_ids: Iterable[str]) -> dict[str, PullRow]:
    """How fetching stands for these jobs."""
    table, found = schema.checkpoint_pulls, dict[str, PullRow]()
    for part in _parts(job_ids):
        rows = connection.execute(select(table).where(table.c.job_id.in_(part))).mappings()
        found.update((row["job_id"], PullRow(**row)) for row in rows)
    return found


def mark_damaged(transaction: Transaction, job: str, digest: str, why: str, node: str | None, at: float) -> None:
    """Never begin from this checkpoint of `job` again; the one before counts."""
    table = schema.checkpoints
    changed = transaction.change(
        update(table)
        .where(table.c.job_id == job, table.c.digest == digest, table.c.damaged.is_(None))
        .values(damaged=why)
    )
    if changed:
        transaction.event("checkpoint.damaged", at, job=job, node=node, data={"digest": digest, "reason": why})


def inherit(transaction: Transaction, old: str, new: str) -> None:
    """A job that is run again goes on from what is kept of the one before."""
    rows = transaction.found(lambda connection: kept(connection, [old])).get(old, [])
    for row in reversed([row for row in rows if row.damaged is None]):
        values = {name: value for name, value in vars(row).items() if name not in ("seq", "job_id")}
        transaction.change(insert(schema.checkpoints).values(**values, job_id=new))


def _put(
    transaction: Transaction, pull: PullRow, next_at: float | None, settled: int | None, problem: str | None
) -> bool:
    values: dict[str, Any] = {"until": None, "next_at": next_at, "problem": problem}
    if settled is not None:
        values["settled"] = settled
    return transaction.change(update(schema.checkpoint_pulls).where(*_own(pull)).values(**values)) == 1


def _own(pull: PullRow) -> tuple[Any, ...]:
    table = schema.checkpoint_pulls
    return table.c.job_id == pull.job_id, table.c.epoch == pull.epoch


def _parts(job_ids: Iterable[str]) -> Sequence[list[str]]:
    # SQLite takes 32,766 values in one statement, older ones 999.
    wanted = list(job_ids)
    return [wanted[start : start + 900] for start in range(0, len(wanted), 900)]
