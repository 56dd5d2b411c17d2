"""Rented machines in the store: the intent before anything is rented, what became of it, when it was in which state.

Instances share their store with the rounds: under a leader's epoch (`Store.under`) a leader of before cannot write.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, insert, or_, select, update

from stoker.store import instance_tables as tables
from stoker.store.instance_rows import LIVE_PHASES, InstanceRow, IntervalRow, Ledger, MarkRow, ReservationRow
from stoker.store.transaction import Transaction

if TYPE_CHECKING:
    from stoker.store.store import Store

_table, _intervals, _reservations, _marks = (
    tables.instances, tables.instance_intervals, tables.reservations, tables.machine_marks,
)  # fmt: skip
Rows = list[InstanceRow]


class Instances:
    """The rented machines of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def store_id(self) -> str:
        """The name of this store in labels at the provider: made once, the same for all who share the store."""
        query = select(tables.identity.c.id)
        with self._store.read() as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is None:
            with self._store.write() as transaction:
                found = transaction.found(lambda c: c.execute(query).scalar_one_or_none())
                if found is None:
                    found = secrets.token_hex(4)
                    transaction.change(insert(tables.identity).values(one=1, id=found))
        return found

    # ---- instances ----

    def add(
        self,
        intent: InstanceRow,
        reservation: ReservationRow | None = None,
        allow: Callable[[Ledger], str | None] = lambda _ledger: None,
        *,
        day: float = 0.0,
    ) -> str | None:
        """Write an intent down, with the dollars put aside for it; None: done. Else why not, and nothing is written.

        `allow` is asked under the write lock, so that two that rent at once cannot both have the last dollar; its
        ledger has the intervals from `day` (Unix seconds) on. A job that has an instance, one that may be there
        included, is not given a second one.
        """
        with self._store.write() as transaction:
            ledger = transaction.found(lambda c: _ledger(c, intent.job, intent.project, day))
            held = next((row for row in ledger.live if intent.job is not None and row.job == intent.job), None)
            refusal = f"{intent.job} has the instance {held.id} ({held.phase})" if held is not None else allow(ledger)
            if refusal is not None:
                return refusal
            transaction.change(insert(_table).values(**vars(intent)))
            if reservation is not None:
                transaction.change(insert(_reservations).values(**vars(reservation)))
            _tell(transaction, intent, intent.created_at, {"why": intent.why} if intent.why else {})
        return None

    def change(
        self,
        seen: InstanceRow,
        values: Mapping[str, Any],
        event: Mapping[str, Any] | None = None,
        *,
        now: float | None = None,
    ) -> InstanceRow | None:
        """Change an instance that still is as it was when `seen`, and return it; None: it is not, nothing changed.

        A new phase is told by the event `instance.PHASE`, another problem by `instance.problem` or, where
        there is none any more, `instance.recovered`, with `event` as data. An instance that is over has no open
        interval any more. What somebody wants of it by hand may be written in any phase: where `values` has that, it
        has to be as it was, too.
        """
        at = time.time() if now is None else now
        values = dict(values)
        moved = values.get("phase", seen.phase) != seen.phase
        if moved:
            # What is put back as it was is so since it was.
            values.setdefault("phase_since", at)
        if "problem" in values and values["problem"] != seen.problem:
            values.setdefault("problem_since", at if values["problem"] is not None else None)
        same = [_table.c.id == seen.id, _table.c.phase == seen.phase, _table.c.phase_since == seen.phase_since]
        same += [_table.c.wish == seen.wish] if "wish" in values else []
        new = replace(seen, **values)
        with self._store.write() as transaction:
            if values and not transaction.change(update(_table).where(*same).values(**values)):
                return None
            if moved:
                _tell(transaction, new, at, event)
            elif new.problem != seen.problem:
                _tell(transaction, new, at, event, kind="recovered" if new.problem is None else "problem")
            if not new.live:
                transaction.change(_open(seen.id).values(until=at))
        return new

    def get(self, instance: str) -> InstanceRow | None:
        """The instance of an intent; None: there is none."""
        found = self._rows(select(_table).where(_table.c.id == instance))
        return found[0] if found else None

    def all(self, live: bool = True) -> Rows:
        """All instances, oldest first; `live`: without those that are proven to be over."""
        query = select(_table).order_by(_table.c.created_at, _table.c.id)
        return self._rows(query.where(_table.c.phase.in_(LIVE_PHASES)) if live else query)

    def of_job(self, job: str) -> Rows:
        """All instances that were held for a job when last heard of, oldest first."""
        return self._rows(select(_table).where(_table.c.job == job).order_by(_table.c.created_at, _table.c.id))

    def _rows(self, query: Select[Any]) -> Rows:
        with self._store.read() as connection:
            return _instances(connection, query)

    # ---- what they cost ----

    def intervals(self, instance: str | None = None, *, since: float | None = None) -> list[IntervalRow]:
        """The intervals of one instance, or of all, in order; those that end after `since` (Unix seconds)."""
        query = select(_intervals).order_by(_intervals.c.instance, _intervals.c.number)
        if instance is not None:
            query = query.where(_intervals.c.instance == instance)
        if since is not None:
            query = query.where(_ends_after(since))
        with self._store.read() as connection:
            return [IntervalRow(**row) for row in connection.execute(query).mappings()]

    def put_interval(
        self, row: InstanceRow, state: str, at: float, *, up_rate: float | None = None, down_rate: float | None = None,
    ) -> bool:  # fmt: skip
        """Note that an instance is in `state` since `at`, for its job, at its rates. False: that was known already."""
        with self._store.write() as transaction:
            last = transaction.found(lambda c: _last(c, row.id))
            new = IntervalRow(
                row.id, 1 if last is None else last.number + 1, state, at, None, row.gpu_rate, row.disk_rate,
                up_rate=up_rate, down_rate=down_rate, pool=row.pool, job=row.job, project=row.project,
                submitted_by=row.submitted_by,
            )  # fmt: skip
            if last is not None and last.until is None:
                same = replace(new, number=last.number, since=last.since, up_gb=last.up_gb, down_gb=last.down_gb)
                if same == last:
                    return False
                # A clock that was set back makes no time that is negative.
                new = replace(new, since=max(at, last.since))
                transaction.change(_open(row.id).values(until=new.since))
            transaction.change(insert(_intervals).values(**vars(new)))
        return True

    def clock_set_back(self, now: float) -> None:
        """Let no interval begin or end after `now`: the clock was ahead when that was written down."""
        begun, over = _intervals.c.since > now, _intervals.c.until > now
        with self._store.write() as transaction:
            transaction.change(update(_intervals).where(over).values(until=now))
            transaction.change(update(_intervals).where(begun).values(since=now))

    def put_transfer(self, instance: str, up_gb: float | None, down_gb: float | None) -> bool:
        """Note what was sent and received in the interval of now, in GB; None: not known. False: it has none."""
        with self._store.touch() as connection:
            changed = connection.execute(_open(instance).values(up_gb=up_gb, down_gb=down_gb))
            return changed.rowcount == 1

    def reservations(self, *, unsettled: bool = True) -> list[ReservationRow]:
        """What was put aside, oldest first; `unsettled`: and not settled yet."""
        query = select(_reservations).order_by(_reservations.c.at, _reservations.c.instance)
        if unsettled:
            query = query.where(_reservations.c.settled_at.is_(None))
        with self._store.read() as connection:
            return [ReservationRow(**row) for row in connection.execute(query).mappings()]

    def settle(self, instance: str, dollars: float, *, now: float | None = None) -> bool:
        """Replace what was put aside by what it came to. False: it is settled already, or nothing was put aside."""
        at = time.time() if now is None else now
        one = update(_reservations).where(_reservations.c.instance == instance, _reservations.c.settled_at.is_(None))
        with self._store.write() as transaction:
            if not transaction.change(one.values(settled=dollars, settled_at=at)):
                return False
            transaction.event("budget.settled", at, data={"instance": instance, "dollars": dollars})
        return True

    def ledger(self, job: str | None, project: str | None, *, day: float = 0.0) -> Ledger:
        """What `add` would show to `allow` now."""
        with self._store.read() as connection:
            return _ledger(connection, job, project, day)

    # ---- machines of the provider ----

    def marks(self) -> dict[int, MarkRow]:
        """What is known of each machine that was ever rented, by its number at the provider."""
        with self._store.read() as connection:
            return {row["machine_id"]: MarkRow(**row) for row in connection.execute(select(_marks)).mappings()}

    def mark(self, more: MarkRow) -> None:
        """Add to what is known of a machine: all figures of `more` are those of one time that it was rented."""
        with self._store.write() as transaction:
            this = _marks.c.machine_id == more.machine_id
            known = transaction.found(lambda c: c.execute(select(_marks).where(this)).mappings().one_or_none())
            if known is None:
                transaction.change(insert(_marks).values(**vars(more)))
                return
            counted = ("boots", "boot_s", "failures", "losses", "run_s")
            sums = {name: known[name] + getattr(more, name) for name in counted}
            times = [at for at in (known["failed_at"], more.failed_at) if at is not None]
            transaction.change(update(_marks).where(this).values(**sums, failed_at=max(times, default=None)))


def _tell(
    transaction: Transaction, row: InstanceRow, at: float, data: Mapping[str, Any] | None, kind: str | None = None
) -> None:
    told = {"instance": row.id, "pool": row.pool, "provider_id": row.provider_id, "problem": row.problem}
    found = {
        name: value for name, value in {**told, "evidence": row.evidence, **(data or {})}.items() if value is not None
    }
    transaction.event(f"instance.{kind or row.phase}", at, job=row.job, node=row.node, data=found)


def _instances(connection: Connection, query: Select[Any]) -> Rows:
    return [InstanceRow(**row) for row in connection.execute(query).mappings()]


def _ledger(connection: Connection, job: str | None, project: str | None, day: float) -> Ledger:
    concerned = [_ends_after(day)]
    concerned += [_intervals.c.job == job] if job is not None else []
    concerned += [_intervals.c.project == project] if project is not None else []
    intervals = select(_intervals).where(or_(*concerned)).order_by(_intervals.c.instance, _intervals.c.number)
    return Ledger(
        tuple(_instances(connection, select(_table).where(_table.c.phase.in_(LIVE_PHASES)))),
        tuple(IntervalRow(**row) for row in connection.execute(intervals).mappings()),
        tuple(
            ReservationRow(**row)
            for row in connection.execute(select(_reservations).where(_reservations.c.settled_at.is_(None))).mappings()
        ),
    )


def _last(connection: Connection, instance: str) -> IntervalRow | None:
    query = select(_intervals).where(_intervals.c.instance == instance).order_by(_intervals.c.number.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return IntervalRow(**row) if row is not None else None


def _open(instance: str) -> Any:
    return update(_intervals).where(_intervals.c.instance == instance, _intervals.c.until.is_(None))


def _ends_after(at: float) -> Any:
    return or_(_intervals.c.until.is_(None), _intervals.c.until > at)
