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
    store: Store, states: Sequence[str] | None, nodes: Sequence[str] | None, target: str | None, limit: int, skip: int,
    *, name: str | None = None, queue: str | None = None, since: float | None = None, unanswered: bool = False,
) -> tuple[list[JobRow], int]:  # fmt: skip
    """At most `limit` jobs (0: all), newest first, without the newest `skip` ones; and how many there are in all.

    Only those in `states`; only those that are on one of `nodes` or were meant for `target`; only those of that `name`,
    in that `queue`, submitted from `since` (Unix seconds) on; `unanswered`: only those that were not run again. Raises
    StokerError when the database fails.
    """
    table = schema.jobs
    wanted: list[ColumnElement[bool]] = [table.c.state.in_(list(states))] if states is not None else []
    if nodes is not None:
        wanted.append(or_(table.c.node.in_(list(nodes)), table.c.target == target))
    wanted += [table.c.name == name] if name is not None else []
    wanted += [table.c.queue == queue] if queue is not None else []
    wanted += [table.c.created_at >= since] if since is not None else []
    wanted += [~run_again()] if unanswered else []
    query = select(table).where(*wanted).order_by(table.c.number.desc()).offset(skip)
    with store.read() as connection:
        total = int(connection.execute(select(func.count()).select_from(table).where(*wanted)).scalar_one())
        rows = connection.execute(query.limit(limit) if limit else query).mappings()
        return [JobRow(**row) for row in rows], total


def run_again() -> ColumnElement[bool]:
    """Whether another job was submitted as this one again, or as another rank of its gang."""
    table, later, rank = schema.jobs, schema.jobs.alias(), schema.jobs.alias()
    own = select(later.c.retry_of).where(later.c.retry_of.is_not(None))
    gangs = select(rank.c.gang).join(later, later.c.retry_of == rank.c.id).where(rank.c.gang.is_not(None))
    return table.c.id.in_(own) | (table.c.gang.is_not(None) & table.c.gang.in_(gangs))
