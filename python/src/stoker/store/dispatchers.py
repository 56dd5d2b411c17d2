"""Dispatchers: which ones run, which of them leads, and since which epoch.

One leads and makes the rounds; the others stand by. Two things decide who leads. `stoker.store.presence` proves that a
dispatcher has ended: then another one leads at once. One that is there and silent (stopped, hanging) leads until its
lease has run out. An epoch is the number of the event that tells of its beginning. What an older epoch brings late is
refused (`Store.under`), in the transaction that would have written it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update

from stoker.errors import StokerError
from stoker.store import schema
from stoker.store.engine import speaking
from stoker.store.identity import new_id
from stoker.store.presence import Presence, forget, present

if TYPE_CHECKING:
    from stoker.store.store import Store

# One that ended without a word is listed for a day.
FORGET_S = 86400.0


class SupersededError(StokerError):
    """What a dispatcher brought after another one had begun to lead: nothing of it was written."""


@dataclass(frozen=True)
class DispatcherRow:
    """A dispatcher that runs in a loop, as it wrote itself down. `heartbeat_at` is by the clock of its own host.

    Others wait `lease_s` seconds for a leader that is silent. `epoch` is the one that it leads under, or led last.
    """

    id: str
    host: str
    pid: int
    lease_s: float
    started_at: float
    heartbeat_at: float
    leader: bool
    epoch: int | None
    rounds: int
    round_at: float | None
    round_s: float | None


def may_lead(me: str, leader: DispatcherRow | None, there: bool, silent_s: float) -> str | None:
    """Why `me` may lead in place of `leader`; None: it may not.

    `there`: the leader's process is known to live. `silent_s`: for how long it has given no sign.
    """
    if leader is None:
        return "nobody leads"
    if leader.id == me:
        return "it leads"
    if not there:
        return f"{leader.id} has ended"
    if silent_s > leader.lease_s:
        return f"{leader.id} has been silent for {silent_s:.0f} s"
    return None


class Dispatchers:
    """The dispatchers of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> list[DispatcherRow]:
        """All that are written down, the leader first, then in the order in which they began."""
        with self._store.read() as connection:
            return _rows(connection)

    def there(self, dispatcher_id: str) -> bool:
        """Whether the process of a dispatcher lives; a stopped one does."""
        with speaking(self._store._engine.url):
            return present(self._store._engine, dispatcher_id)

    def join(self, host: str, pid: int, lease_s: float, *, now: float | None = None) -> tuple[str, Presence]:
        """Write a new dispatcher down. Returns its id, and the proof that it is there, to be kept until it ends."""
        at = time.time() if now is None else now
        dispatcher_id = new_id(host)
        with speaking(self._store._engine.url):
            presence = Presence.take(self._store._engine, dispatcher_id)
        self.write_down(dispatcher_id, host, pid, lease_s, now=at)
        return dispatcher_id, presence

    def write_down(self, dispatcher_id: str, host: str, pid: int, lease_s: float, *, now: float | None = None) -> None:
        """Insert the row of a dispatcher; also again, where the store was restored meanwhile."""
        at = time.time() if now is None else now
        values = {
            "id": dispatcher_id, "host": host, "pid": pid, "lease_s": lease_s, "started_at": at, "heartbeat_at": at,
            "leader": False, "rounds": 0,
        }  # fmt: skip
        with self._store.write() as transaction:
            transaction.change(insert(schema.dispatchers).values(**values))
            transaction.event("dispatcher.started", at, data={"dispatcher": dispatcher_id, "host": host, "pid": pid})

    def beat(self, dispatcher_id: str, *, now: float | None = None, **values: Any) -> bool:
        """Give a sign of life, with `rounds`, `round_at` and `round_s` where they changed. False: it is not known."""
        at = time.time() if now is None else now
        table = schema.dispatchers
        with self._store.touch() as connection:
            statement = update(table).where(table.c.id == dispatcher_id).values(heartbeat_at=at, **values)
            return connection.execute(statement).rowcount == 1

    def lead(
        self, dispatcher_id: str, instead_of: DispatcherRow | None, why: str, *, now: float | None = None
    ) -> int | None:
        """Begin to lead under a new epoch, and return it.

        None: `instead_of` gave a sign of life, or somebody else was faster.
        """
        at = time.time() if now is None else now
        table = schema.dispatchers
        with self._store.write() as transaction:
            leader = next((row for row in transaction.found(_rows) if row.leader), None)
            if leader != instead_of:
                return None
            data = {"dispatcher": dispatcher_id, "instead_of": leader.id if leader else None, "reason": why}
            epoch = transaction.event("dispatcher.leads", at, data=data)
            transaction.change(update(table).where(table.c.leader.is_(True)).values(leader=False))
            own = update(table).where(table.c.id == dispatcher_id)
            if not transaction.change(own.values(leader=True, epoch=epoch, heartbeat_at=at)):
                raise StokerError(f"the dispatcher {dispatcher_id} is not written down")
        self._forget(at)
        return epoch

    def leave(self, dispatcher_id: str, *, now: float | None = None) -> None:
        """Take a dispatcher that ends out of the list; another one leads at once."""
        at = time.time() if now is None else now
        table = schema.dispatchers
        with self._store.write() as transaction:
            if transaction.change(delete(table).where(table.c.id == dispatcher_id)):
                transaction.event("dispatcher.stopped", at, data={"dispatcher": dispatcher_id})

    def _forget(self, at: float) -> None:
        old = [row.id for row in self.list() if not row.leader and row.heartbeat_at < at - FORGET_S]
        gone = [dispatcher_id for dispatcher_id in old if not self.there(dispatcher_id)]
        if gone:
            with self._store.write() as transaction:
                transaction.change(delete(schema.dispatchers).where(schema.dispatchers.c.id.in_(gone)))
            for dispatcher_id in gone:
                forget(self._store._engine, dispatcher_id)


def refuse_superseded(connection: Connection, epoch: int) -> None:
    """Raise SupersededError unless the leader leads under this epoch. Under the write lock: it stays so."""
    rows = _rows(connection)
    if any(row.leader and row.epoch == epoch for row in rows):
        return
    leader = next((row for row in rows if row.leader), None)
    now = f"{leader.id} leads under epoch {leader.epoch}" if leader else "no dispatcher leads"
    raise SupersededError(f"this round came too late: it was made under epoch {epoch}, and {now}; nothing was written")


def _rows(connection: Connection) -> list[DispatcherRow]:
    found: list[Mapping[str, Any]] = [dict(row) for row in connection.execute(select(schema.dispatchers)).mappings()]
    rows = [DispatcherRow(**row) for row in found]
    return sorted(rows, key=lambda row: (not row.leader, row.started_at, row.id))
