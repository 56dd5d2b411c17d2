"""Samples of the nodes in the store: the newest in full, older ones thinned out, the oldest gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Integer, cast, delete, func, insert, select

from stoker.store import schema
from stoker.store.rows import AlertRow, SampleRow

if TYPE_CHECKING:
    from stoker.store.store import Store

# From this age on one sample is kept for each span, in seconds: (age, span).
THINNED = ((3600.0, 60.0), (86400.0, 600.0))


class Samples:
    """The samples and alerts of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def since(self, at: float, nodes: Sequence[str] | None = None) -> list[SampleRow]:
        """Those from `at` (Unix seconds by this machine's clock) on, oldest first; of `nodes` alone where given."""
        table = schema.samples
        query = select(table).where(table.c.at >= at).order_by(table.c.at, table.c.node)
        if nodes is not None:
            query = query.where(table.c.node.in_(list(nodes)))
        with self._store.read() as connection:
            return [SampleRow(**row) for row in connection.execute(query).mappings()]

    def newest(self, node: str) -> SampleRow | None:
        """The newest of a node; None: there is none."""
        with self._store.read() as connection:
            return newest(connection, node)

    def alerts(self) -> list[AlertRow]:
        """The alerts that are raised now, by node and key."""
        with self._store.read() as connection:
            found = [AlertRow(**row) for row in connection.execute(select(schema.alerts)).mappings()]
        return sorted(found, key=lambda alert: (alert.node, alert.key))


def newest(connection: Connection, node: str) -> SampleRow | None:
    """The newest sample of a node."""
    table = schema.samples
    query = select(table).where(table.c.node == node).order_by(table.c.at.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return SampleRow(**row) if row is not None else None


def recent(connection: Connection, at: float) -> dict[str, list[SampleRow]]:
    """By node, the two newest from `at` on, the older one first."""
    table = schema.samples
    age = func.row_number().over(partition_by=table.c.node, order_by=table.c.at.desc()).label("age")
    ranked = select(table, age).where(table.c.at >= at).subquery()
    columns = [column for column in ranked.c if column.name != "age"]
    found: dict[str, list[SampleRow]] = {}
    query = select(*columns).where(ranked.c.age <= 2).order_by(ranked.c.at)
    for row in connection.execute(query).mappings():
        found.setdefault(str(row["node"]), []).append(SampleRow(**row))
    return found


def add(connection: Connection, sample: SampleRow, keep_s: float) -> None:
    """Write a sample; once a minute what has become old is thinned out, and what is older than `keep_s` removed."""
    before = newest(connection, sample.node)
    table = schema.samples
    # Of two that came in the same instant the later one stands.
    connection.execute(delete(table).where(table.c.node == sample.node, table.c.at == sample.at))
    connection.execute(insert(table).values(**vars(sample)))
    if before is None or before.at // 60 != sample.at // 60:
        _thin(connection, sample.node, sample.at, keep_s)


def _thin(connection: Connection, node: str, now: float, keep_s: float) -> None:
    table = schema.samples
    connection.execute(delete(table).where(table.c.at < now - keep_s))
    for age, span in THINNED:
        old = (table.c.node == node) & (table.c.at < now - age)
        kept = select(func.min(table.c.at)).where(old).group_by(cast(table.c.at / span - 0.5, Integer))
        connection.execute(delete(table).where(old, table.c.at.not_in(kept)))
