"""One page of a list of jobs: filtered, counted and cut by the database, however many jobs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, or_, select

from stoker.store import schema
from stoker.store.rows import JobRow

if TYPE_CHECKING:
    from stoker.store.store import Store


def page(
    store: Store, states: Sequence[str] | None, nodes: Sequence[str] | None, target: str | None, limit: int, skip: int
) -> tuple[list[JobRow], int]:
    """At most `limit` jobs (0: all), newest first, without the newest `skip` ones; and how many there are in all.

    Only those in `states`; only those that are on one of `nodes` or were meant for `target`. Raises StokerError when
    the database fails.
    """
    table = schema.jobs
    wanted: list[ColumnElement[bool]] = [table.c.state.in_(list(states))] if states is not None else []
    if nodes is not None:
        wanted.append(or_(table.c.node.in_(list(nodes)), table.c.target == target))
    query = select(table).where(*wanted).order_by(table.c.number.desc()).offset(skip)
    with store.read() as connection:
        total = int(connection.execute(select(func.count()).select_from(table).where(*wanted)).scalar_one())
        rows = connection.execute(query.limit(limit) if limit else query).mappings()
        return [JobRow(**row) for row in rows], total
