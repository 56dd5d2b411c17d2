"""Writing: what one transaction may do. A job's change and its event are written together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Insert, Table, Update, delete, insert, select, update

from stoker.store import localities, samples, schema
from stoker.store.listing import run_again
from stoker.store.rows import AlertRow, AttemptRow, JobRow, MemberRow, NodeRow, QueueRow, SampleRow, TemplateRow
from stoker.store.workflows import WorkflowWriting

Found = TypeVar("Found")


class Transaction:
    """The only writer of the store while it lasts.

    `Store.write()` gives one, and commits it when the block ends well.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.workflows = WorkflowWriting(connection)

    # ---- reading, under the write lock ----

    def job(self, job_id: str) -> JobRow | None:
        """The job with exactly this id."""
        row = self._connection.execute(select(schema.jobs).where(schema.jobs.c.id == job_id)).mappings().one_or_none()
        return JobRow(**row) if row is not None else None

    def run_again(self, job_id: str) -> bool:
        """Whether another job was submitted as this one again, or as another rank of its gang."""
        table = schema.jobs
        query = select(table.c.id).where(table.c.id == job_id, run_again())
        return self._connection.execute(query).first() is not None

    def jobs(self, states: tuple[str, ...]) -> list[JobRow]:
        """All jobs in `states`, in the order in which they came."""
        query = select(schema.jobs).where(schema.jobs.c.state.in_(states)).order_by(schema.jobs.c.number)
        return [JobRow(**row) for row in self._connection.execute(query).mappings()]

    def attempt(self, job_id: str, number: int) -> AttemptRow | None:
        """One attempt."""
        table = schema.attempts
        query = select(table).where(table.c.job_id == job_id, table.c.number == number)
        row = self._connection.execute(query).mappings().one_or_none()
        return AttemptRow(**row) if row is not None else None

    def attempts_of_now(self, states: tuple[str, ...]) -> list[AttemptRow]:
        """The newest attempt of each job in `states`."""
        jobs, attempts = schema.jobs, schema.attempts
        query = (
            select(attempts)
            .join(jobs, (jobs.c.id == attempts.c.job_id) & (jobs.c.attempt == attempts.c.number))
            .where(jobs.c.state.in_(states))
        )
        return [AttemptRow(**row) for row in self._connection.execute(query).mappings()]

    def gang(self, gang: str) -> list[JobRow]:
        """The ranks of a gang, in order."""
        query = select(schema.jobs).where(schema.jobs.c.gang == gang).order_by(schema.jobs.c.rank)
        return [JobRow(**row) for row in self._connection.execute(query).mappings()]

    def recent_samples(self, at: float) -> dict[str, list[SampleRow]]:
        """By node, the two newest samples from `at` (Unix seconds) on, the older one first."""
        return samples.recent(self._connection, at)

    def ran_with(self, words: Mapping[str, str]) -> dict[str, frozenset[str]]:
        """By key, the nodes on which a job began whose spec or wishes hold these words (as they stand in JSON)."""
        return localities.ran_with(self._connection, words)

    def attempts_to_end(self) -> list[AttemptRow]:
        """Attempts that their jobs went on without, and that may be alive on nodes that were away."""
        query = select(schema.attempts).where(schema.attempts.c.stop_due.is_(True))
        return [AttemptRow(**row) for row in self._connection.execute(query).mappings()]

    def nodes(self) -> list[NodeRow]:
        """Every node that was ever asked, by name."""
        query = select(schema.nodes).order_by(schema.nodes.c.name)
        return [NodeRow(**row) for row in self._connection.execute(query).mappings()]

    def members(self) -> list[MemberRow]:
        """What was decided of nodes, by name."""
        query = select(schema.members).order_by(schema.members.c.name)
        return [MemberRow(**row) for row in self._connection.execute(query).mappings()]

    def queues(self) -> list[QueueRow]:
        """Every queue."""
        return [QueueRow(**row) for row in self._connection.execute(select(schema.queues)).mappings()]

    def queue(self, name: str) -> QueueRow | None:
        """The queue with exactly this name."""
        query = select(schema.queues).where(schema.queues.c.name == name)
        row = self._connection.execute(query).mappings().one_or_none()
        return QueueRow(**row) if row is not None else None

    def template(self, name: str) -> TemplateRow | None:
        """The template with exactly this name."""
        query = select(schema.templates).where(schema.templates.c.name == name)
        row = self._connection.execute(query).mappings().one_or_none()
        return TemplateRow(**row) if row is not None else None

    def alerts(self) -> list[AlertRow]:
        """The alerts that are raised now."""
        return [AlertRow(**row) for row in self._connection.execute(select(schema.alerts)).mappings()]

    def samples_since(self, node: str, at: float) -> list[SampleRow]:
        """The samples of a node from `at` on, oldest first."""
        table = schema.samples
        query = select(table).where(table.c.node == node, table.c.at >= at).order_by(table.c.at)
        return [SampleRow(**row) for row in self._connection.execute(query).mappings()]

    # ---- writing ----

    def event(self, kind: str, at: float, *, job: str | None = None, attempt: int | None = None,
              node: str | None = None, data: Mapping[str, Any] | None = None) -> int:  # fmt: skip
        """Write one event and return its number."""
        values = {"at": at, "type": kind, "job_id": job, "attempt": attempt, "node": node, "data": dict(data or {})}
        (seq,) = self._connection.execute(insert(schema.events).values(values)).inserted_primary_key or (0,)
        return int(seq)

    def add_job(self, values: Mapping[str, Any]) -> None:
        """Insert a job. Raises sqlalchemy's IntegrityError for an id or uid that is there."""
        self._insert(schema.jobs, values)

    def add_attempt(self, values: Mapping[str, Any]) -> None:
        """Insert an attempt.

        Raises sqlalchemy's IntegrityError for one that is there: it was claimed by somebody else.
        """
        self._insert(schema.attempts, values)

    def change_job(self, seen: JobRow, values: Mapping[str, Any]) -> bool:
        """Change a job that still has the attempt and the state it had when `seen`.

        False, and nothing changed, where it has not.
        """
        table = schema.jobs
        statement = (
            update(table)
            .where(table.c.id == seen.id, table.c.attempt == seen.attempt, table.c.state == seen.state)
            .values(**values)
        )
        return self._connection.execute(statement).rowcount == 1

    def change_attempt(self, job_id: str, number: int, values: Mapping[str, Any]) -> None:
        """Change what is written of one attempt."""
        table = schema.attempts
        self._connection.execute(
            update(table).where(table.c.job_id == job_id, table.c.number == number).values(**values)
        )

    def put_node(self, node: NodeRow) -> None:
        """Insert or replace what is known of a node."""
        values = dict(vars(node))
        changed = self._connection.execute(
            update(schema.nodes).where(schema.nodes.c.name == node.name).values(**values)
        )
        if not changed.rowcount:
            self._insert(schema.nodes, values)

    def put_member(self, member: MemberRow) -> None:
        """Insert what was decided of a node, or replace it."""
        self._connection.execute(delete(schema.members).where(schema.members.c.name == member.name))
        self._insert(schema.members, vars(member))

    def add_sample(self, sample: SampleRow, keep_s: float) -> None:
        """Insert a sample, and now and then remove what is older than `keep_s` seconds, or too much of what is old."""
        samples.add(self._connection, sample, keep_s)

    def raise_alert(self, alert: AlertRow) -> None:
        """Insert an alert that is not there."""
        self._insert(schema.alerts, vars(alert))
        self.event("alert.raised", alert.since, node=alert.node, data={"key": alert.key, "text": alert.text})

    def clear_alert(self, alert: AlertRow, at: float, text: str) -> None:
        """Remove an alert; `text` says how the figure is now."""
        table = schema.alerts
        self._connection.execute(delete(table).where(table.c.node == alert.node, table.c.key == alert.key))
        data = {"key": alert.key, "text": text, "raised_s": at - alert.since}
        self.event("alert.cleared", at, node=alert.node, data=data)

    def remove_job(self, job_id: str) -> None:
        """Remove a job and its attempts; its events stay."""
        self._connection.execute(delete(schema.attempts).where(schema.attempts.c.job_id == job_id))
        for table in (schema.checkpoints, schema.checkpoint_pulls):
            self._connection.execute(delete(table).where(table.c.job_id == job_id))
        self._connection.execute(delete(schema.jobs).where(schema.jobs.c.id == job_id))

    def put_queue(self, queue: QueueRow) -> None:
        """Insert a queue, or replace the one of its name."""
        self._connection.execute(delete(schema.queues).where(schema.queues.c.name == queue.name))
        self._insert(schema.queues, vars(queue))

    def put_template(self, template: TemplateRow) -> None:
        """Insert a template, or replace the one of its name."""
        self.remove_template(template.name)
        self._insert(schema.templates, vars(template))

    def remove_template(self, name: str) -> bool:
        """Remove a template; False where there is none of this name. Jobs made from it keep its name."""
        table = schema.templates
        return self._connection.execute(delete(table).where(table.c.name == name)).rowcount == 1

    def add_benchmark(self, values: Mapping[str, Any]) -> None:
        """Insert one figure of a node."""
        self._insert(schema.benchmarks, values)

    def found(self, read: Callable[[Connection], Found]) -> Found:
        """What `read` finds, under the write lock."""
        return read(self._connection)

    def change(self, statement: Insert | Update | Delete) -> int:
        """Carry out one statement of a module of the store, and return how many rows it changed."""
        return self._connection.execute(statement).rowcount

    def _insert(self, table: Table, values: Mapping[str, Any]) -> None:
        self._connection.execute(insert(table).values(**values))
