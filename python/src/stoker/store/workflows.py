"""Workflows in the store: what was submitted, and how far each part of each step is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from stoker.errors import UsageError
from stoker.store import schema
from stoker.store.identity import new_id
from stoker.store.rows import JobRow, PartRow, WorkflowRow

if TYPE_CHECKING:
    from stoker.store.store import Store

_ID_TRIES = 20


class Workflows:
    """The workflows of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, workflow: str) -> WorkflowRow | None:
        """The workflow with this id, or the only one whose id begins so.

        None: there is none. Raises UsageError: there are several.
        """
        table = schema.workflows
        prefix = table.c.id.startswith(workflow, autoescape=True)
        query = select(table).where((table.c.id == workflow) | prefix).order_by(table.c.id).limit(6)
        with self._store.read() as connection:
            found = [WorkflowRow(**row) for row in connection.execute(query).mappings()]
        exact = [row for row in found if row.id == workflow]
        if exact or len(found) < 2:
            return next(iter(exact or found), None)
        raise UsageError(
            f"{workflow!r} may be any of {', '.join(row.id for row in found)}", next_step="write more of the id"
        )

    def page(
        self, states: Sequence[str] = (), name: str | None = None, since: float | None = None, *,
        limit: int | None = None, offset: int = 0,
    ) -> list[WorkflowRow]:  # fmt: skip
        """Workflows, newest first; only those in `states`, of that `name`, submitted from `since` (Unix seconds) on.

        Their bodies, which may be large, are left out: they are empty.
        """
        table = schema.workflows
        query = _chosen(select(*(column for column in table.c if column.name != "body")), states, name, since)
        query = query.order_by(table.c.number.desc()).offset(offset).limit(limit)
        with self._store.read() as connection:
            return [WorkflowRow(body={}, **row) for row in connection.execute(query).mappings()]

    def count(self, states: Sequence[str] = (), name: str | None = None, since: float | None = None) -> int:
        """How many there are of these."""
        query = _chosen(select(func.count()).select_from(schema.workflows), states, name, since)
        with self._store.read() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self, workflows: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many parts of each of these workflows are in which state."""
        table = schema.workflow_parts
        query = select(table.c.workflow_id, table.c.state, func.count()).where(table.c.workflow_id.in_(workflows))
        found: dict[str, dict[str, int]] = {workflow: {} for workflow in workflows}
        with self._store.read() as connection:
            for workflow, state, count in connection.execute(query.group_by(table.c.workflow_id, table.c.state)):
                found[workflow][state] = count
        return found

    def parts(self, workflow: str) -> list[PartRow]:
        """All parts of one workflow, by step and number."""
        with self._store.read() as connection:
            return WorkflowWriting(connection).parts(workflow)

    def jobs(self, workflow: str) -> list[JobRow]:
        """The jobs that the parts of a workflow have now, those that were cleared away left out."""
        with self._store.read() as connection:
            return WorkflowWriting(connection).jobs(workflow)

    def running(self) -> list[str]:
        """The ids of the workflows that are not over."""
        table = schema.workflows
        with self._store.read() as connection:
            return list(connection.execute(select(table.c.id).where(table.c.state == "running")).scalars())

    def remove(self, workflows: Iterable[str], now: float) -> list[str]:
        """Remove these, with their parts, as far as they are over; return which. Their events and jobs stay."""
        removed: list[str] = []
        with self._store.write() as transaction:
            for workflow in workflows:
                row = transaction.workflows.get(workflow)
                if row is None or row.state == "running":
                    continue  # another one was quicker: removed, or resumed
                transaction.workflows.remove(row.id)
                transaction.event("workflow.removed", now, data={"workflow": row.id, "name": row.name})
                removed.append(row.id)
        return removed


class WorkflowWriting:
    """Reading and writing workflows within a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, workflow: str) -> WorkflowRow | None:
        """The workflow with exactly this id."""
        query = select(schema.workflows).where(schema.workflows.c.id == workflow)
        row = self._connection.execute(query).mappings().one_or_none()
        return WorkflowRow(**row) if row is not None else None

    def running(self) -> list[WorkflowRow]:
        """Those that are not over, in the order in which they came."""
        table = schema.workflows
        query = select(table).where(table.c.state == "running").order_by(table.c.number)
        return [WorkflowRow(**row) for row in self._connection.execute(query).mappings()]

    def parts(self, workflow: str) -> list[PartRow]:
        """All parts of one workflow, by step and number."""
        table = schema.workflow_parts
        query = select(table).where(table.c.workflow_id == workflow).order_by(table.c.step, table.c.part)
        return [PartRow(**row) for row in self._connection.execute(query).mappings()]

    def jobs(self, workflow: str, states: Sequence[str] | None = None) -> list[JobRow]:
        """The jobs that its parts have now; only those of parts in `states`, where these are given."""
        jobs, parts = schema.jobs, schema.workflow_parts
        query = select(jobs).join(parts, parts.c.job_id == jobs.c.id).where(parts.c.workflow_id == workflow)
        if states is not None:
            query = query.where(parts.c.state.in_(list(states)))
        return [JobRow(**row) for row in self._connection.execute(query.order_by(jobs.c.number)).mappings()]

    def free_id(self, name: str) -> str:
        """An id made from `name` that no workflow has. Raises UsageError when there are too many of this name."""
        for _ in range(_ID_TRIES):
            workflow = new_id(name)
            if self.get(workflow) is None:
                return workflow
        raise UsageError(f"no free workflow id begins with {workflow[:-5]!r}", next_step="choose another name")

    def add(self, row: WorkflowRow, parts: Sequence[PartRow]) -> None:
        """Insert a workflow with its parts."""
        self._connection.execute(insert(schema.workflows).values(**vars(row)))
        self._connection.execute(insert(schema.workflow_parts), [dict(vars(part)) for part in parts])

    def change(self, workflow: str, values: Mapping[str, Any]) -> None:
        """Change what is written of a workflow."""
        table = schema.workflows
        self._connection.execute(update(table).where(table.c.id == workflow).values(**values))

    def remove(self, workflow: str) -> None:
        """Delete a workflow and its parts."""
        parts, table = schema.workflow_parts, schema.workflows
        self._connection.execute(delete(parts).where(parts.c.workflow_id == workflow))
        self._connection.execute(delete(table).where(table.c.id == workflow))

    def put_part(self, part: PartRow) -> None:
        """Replace what is written of a part."""
        table = schema.workflow_parts
        key = (table.c.workflow_id == part.workflow_id) & (table.c.step == part.step) & (table.c.part == part.part)
        self._connection.execute(update(table).where(key).values(**vars(part)))


def _chosen(query: Select[Any], states: Sequence[str], name: str | None, since: float | None) -> Select[Any]:
    table = schema.workflows
    rules: list[ColumnElement[bool]] = []
    if states:
        rules.append(table.c.state.in_(list(states)))
    if name is not None:
        rules.append(table.c.name == name)
    if since is not None:
        rules.append(table.c.created_at >= since)
    return query.where(*rules)
