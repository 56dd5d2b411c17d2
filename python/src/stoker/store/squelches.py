"""Nodes whose alerts are silenced for a time, also over restarts."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Update, delete, insert, or_, select, update

from stoker.store import schema
from stoker.store.rows import SquelchRow

if TYPE_CHECKING:
    from stoker.store.store import Store

_table, _notices = schema.squelches, schema.notices


class Squelches:
    """The silences of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, now: float) -> Sequence[SquelchRow]:
        """Those that are not over at `now` (Unix seconds), by pattern."""
        with self._store.read() as connection:
            return active(connection, now)

    def put(self, squelch: SquelchRow) -> None:
        """Silence the nodes of a pattern; what is due about their state waits, too."""
        with self._store.write() as transaction:
            old = or_(_table.c.pattern == squelch.pattern, _table.c.until <= squelch.since)
            transaction.change(delete(_table).where(old))
            transaction.change(insert(_table).values(**vars(squelch)))
            held = or_(_notices.c.held_until.is_(None), _notices.c.held_until < squelch.until)
            for node in transaction.found(lambda c: _waiting(c, squelch.pattern)):
                transaction.change(_due(node).where(held).values(held_until=squelch.until))

    def end(self, pattern: str) -> bool:
        """End a silence; what waited because of it is due. False: there is none."""
        with self._store.write() as transaction:
            ended = bool(transaction.change(delete(_table).where(_table.c.pattern == pattern)))
            for node in transaction.found(lambda c: _waiting(c, pattern)) if ended else ():
                transaction.change(_due(node).values(held_until=None))
        return ended


def active(connection: Connection, now: float) -> Sequence[SquelchRow]:
    """Those that are not over, by pattern."""
    query = select(_table).where(_table.c.until > now).order_by(_table.c.pattern)
    return [SquelchRow(**row) for row in connection.execute(query).mappings()]


def until(squelches: Sequence[SquelchRow], node: str | None) -> float | None:
    """Until when (Unix seconds) a node is silenced; None: it is not."""
    return max((one.until for one in squelches if node and fnmatchcase(node, one.pattern)), default=None)


def _waiting(connection: Connection, pattern: str) -> list[str]:
    """The nodes of a pattern of whose state something is due."""
    query = select(_notices.c.node).where(_notices.c.state == "due", _notices.c.node.is_not(None)).distinct()
    return [node for node in connection.execute(query).scalars() if fnmatchcase(node, pattern)]


def _due(node: str) -> Update:
    return update(_notices).where(_notices.c.node == node, _notices.c.state == "due", _notices.c.tries == 0)
