"""The store: what is asked (jobs) and what is known (attempts, nodes, events)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, or_, select

from stoker.errors import NotFound, UsageError
from stoker.paths import state_dir
from stoker.store import schema
from stoker.store.access import Calls, Tokens
from stoker.store.benchmarks import Benchmarks
from stoker.store.checkpoint_files import CheckpointFiles
from stoker.store.checkpoints import Checkpoints, inherit
from stoker.store.dispatchers import Dispatchers, refuse_superseded
from stoker.store.due import DueResults
from stoker.store.engine import connect, shown, speaking, store_url
from stoker.store.identity import new_id
from stoker.store.logs import LogCopies
from stoker.store.members import Members
from stoker.store.notices import Notices
from stoker.store.queues import Queues
from stoker.store.rows import LIVE_STATES, AttemptRow, EventRow, JobOutcome, JobRow, NodeRow
from stoker.store.samples import Samples
from stoker.store.snapshots import Snapshots
from stoker.store.squelches import Squelches
from stoker.store.stopping import request_stop, where_of
from stoker.store.templates import Templates
from stoker.store.transaction import Transaction
from stoker.store.workflows import Workflows

if TYPE_CHECKING:
    from stoker.store.copying import TableCopy
    from stoker.store.instances import Instances
    from stoker.store.memory import Memory
    from stoker.store.read_only import ReadOnly
    from stoker.store.sessions import Sessions

_ID_TRIES = 20


def open_store(url: str | None = None) -> Store:
    """Open the store of `url`, of STOKER_STORE_URL, or the SQLite file in the state folder.

    Its tables are made or brought up to date when needed. Raises StokerError, UsageError for a wrong URL.
    """
    return Store(connect(store_url(url)))


def _file_of(engine: Engine) -> str | None:
    """The file of an SQLite database, None for another one."""
    return engine.url.database if engine.url.get_backend_name() == "sqlite" else None


class Store:
    """One open store.

    Safe to use from several threads; not across a fork. Every method raises StokerError when the database fails.

    Each write is one transaction and waits up to 30 s for other writers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.url = shown(engine.url)
        self.log_copies = LogCopies(state_dir() / "logs")
        self.snapshots = Snapshots(state_dir() / "snapshots", _file_of(engine))
        self.templates = Templates(self)
        self.queues = Queues(self)
        self.members = Members(self)
        self.workflows = Workflows(self)
        self.benchmarks = Benchmarks(self)
        self.samples = Samples(self)
        self.dispatchers = Dispatchers(self)
        self.due = DueResults(self)
        self.checkpoints = Checkpoints(self, CheckpointFiles(state_dir() / "checkpoints"))
        self.tokens = Tokens(self)
        self.calls = Calls(self)
        self.notices = Notices(self)
        self.squelches = Squelches(self)
        self._epoch: int | None = None

    # What few calls need is imported by these.

    @cached_property
    def instances(self) -> Instances:
        """Rented machines, and what they cost."""
        from stoker.store.instances import Instances

        return Instances(self)

    @cached_property
    def memory(self) -> Memory:
        """Threads, thoughts and facts."""
        from stoker.store.memory import Memory
        from stoker.store.memory_reading import MemoryReading

        return Memory(self, MemoryReading(self._looking))

    @cached_property
    def sessions(self) -> Sessions:
        """Sessions of assistants, and their messages."""
        from stoker.store.sessions import Sessions

        return Sessions(self, self._looking)

    @cached_property
    def _looking(self) -> ReadOnly:
        from stoker.store.read_only import ReadOnly

        return ReadOnly(self._engine.url)

    def close(self) -> None:
        """Give back the connections."""
        self._close_looking()
        self._engine.dispose()

    def _close_looking(self) -> None:
        if "_looking" in self.__dict__:
            self._looking.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def under(self, epoch: int | None) -> Store:
        """This store as a leader of that epoch writes to it: `write` raises SupersededError once another one leads.

        None: this store as it is.
        """
        if epoch is None:
            return self
        fenced = Store(self._engine)  # not a copy: its parts would write as those of this store do
        fenced._epoch = epoch
        return fenced

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is the only writer; committed at the end of the block, rolled back by any exception."""
        with speaking(self._engine.url):
            connection = self._engine.connect().execution_options(stoker_writes=True)
            with connection, connection.begin():
                if self._epoch is not None:
                    refuse_superseded(connection, self._epoch)
                yield Transaction(connection)

    @contextmanager
    def touch(self) -> Iterator[Connection]:
        """A transaction for rows of the caller's own that tells no event.

        On PostgreSQL it waits for nobody but those who write the same row; SQLite has one writer at a time.
        """
        with speaking(self._engine.url):
            only_writer = self._engine.dialect.name == "sqlite"
            connection = self._engine.connect().execution_options(stoker_writes=only_writer)
            with connection, connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; what it reads is of one moment only within one statement."""
        with speaking(self._engine.url), self._engine.connect() as connection:
            yield connection

    # ---- jobs ----

    def add_job(
        self,
        name: str,
        spec: Mapping[str, Any],
        target: str | None = None,
        max_retries: int = 0,
        *,
        priority: int = 0,
        retry_of: str | None = None,
        submitted_by: str | None = None,
        template: str | None = None,
        queue: str | None = None,
        retry_on: str | None = None,
        results: Mapping[str, Any] | None = None,
        wants: Mapping[str, Any] | None = None,
        ranks: int = 1,
        fresh: bool = False,
        cache_key: str | None = None,
        now: float | None = None,
        within: Transaction | None = None,
    ) -> JobRow:
        """Add a job that is `queued`, with an id made from `name`, in a transaction of its own or `within` another.

        With `ranks` above 1 it is a gang of so many jobs, all of this spec; rank 0, which gives it its id, is returned.

        `spec` is a stoker.spec/1; job, uid and name are filled in here. A `queue` that is not there is made. `results`
        are due when their `asked` is true. It goes on from the checkpoints of the job `retry_of`, but when `fresh`.

        Raises UsageError for a spec that is not valid, or that holds values of secrets (only their names belong in it).
        """
        at = time.time() if now is None else now
        refuse_secrets(spec)
        for _ in range(_ID_TRIES):
            job_id = new_id(name)
            ids = [job_id, *(f"{job_id}-{rank}" for rank in range(1, ranks))]
            checked = [
                checked_spec({**spec, "schema": "stoker.spec/1", "job": i, "uid": str(uuid.uuid4()), "name": name})
                for i in ids
            ]
            with nullcontext(within) if within is not None else self.write() as transaction:
                if not any(transaction.job(i) for i in ids):
                    more: dict[str, Any] = {
                        "retry_of": retry_of, "submitted_by": submitted_by, "template": template, "queue": queue,
                        "retry_on": retry_on, "results": results,
                        "results_due": True if results and results.get("asked") else None,
                        "cache_key": cache_key, "wants": wants, "gang": job_id if ranks > 1 else None,
                    }  # fmt: skip
                    if queue is not None:
                        self.queues.ensure(transaction, queue, at)
                    rows = [
                        _add(transaction, each, target, max_retries, priority,
                             {**more, "rank": rank if ranks > 1 else None}, at)
                        for rank, each in enumerate(checked)
                    ]  # fmt: skip
                    if retry_of is not None and not fresh:
                        inherit(transaction, retry_of, rows[0].id)
                    return rows[0]
        raise UsageError(
            f"no free job id begins with {job_id[:-5]!r}: there are too many jobs of this name",
            next_step="choose another --name, or remove old jobs with stoker clean",
        )

    def job(self, job_id: str) -> JobRow | None:
        """The job with this id, or the only one whose id begins so.

        None: there is none. Raises UsageError: there are several.
        """
        table = schema.jobs
        prefix = table.c.id.startswith(job_id, autoescape=True)
        query = select(table).where((table.c.id == job_id) | prefix).order_by(table.c.id).limit(6)
        with self.read() as connection:
            found = [JobRow(**row) for row in connection.execute(query).mappings()]
        exact = [job for job in found if job.id == job_id]
        if exact or len(found) < 2:
            return next(iter(exact or found), None)
        names = ", ".join(job.id for job in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{job_id!r} may be any of {names}", next_step="write more of the id")

    def jobs(
        self,
        states: Sequence[str] | None = None,
        target: str | None = None,
        limit: int | None = None,
        newest_first: bool = True,
        *,
        node: str | None = None,
    ) -> list[JobRow]:
        """Jobs in the order in which they came.

        Only those in `states`, with that `target`, placed on `node`, where these are given.
        """
        table = schema.jobs
        query = select(table).order_by(table.c.number.desc() if newest_first else table.c.number)
        if states is not None:
            query = query.where(table.c.state.in_(list(states)))
        if target is not None:
            query = query.where(table.c.target == target)
        if node is not None:
            query = query.where(table.c.node == node)
        if limit is not None:
            query = query.limit(limit)
        with self.read() as connection:
            return [JobRow(**row) for row in connection.execute(query).mappings()]

    def succeeded_with(self, cache_key: str, limit: int) -> list[str]:
        """Ids of jobs with this key that ended well, newest first."""
        table = schema.jobs
        query = select(table.c.id).where(table.c.cache_key == cache_key, table.c.state == "succeeded")
        with self.read() as connection:
            return list(connection.execute(query.order_by(table.c.number.desc()).limit(limit)).scalars())

    def gang(self, gang: str) -> list[JobRow]:
        """The ranks of a gang, in order."""
        with self.read() as connection:
            return Transaction(connection).gang(gang)

    def attempts(self, job_id: str) -> list[AttemptRow]:
        """All attempts of one job, oldest first."""
        table = schema.attempts
        query = select(table).where(table.c.job_id == job_id).order_by(table.c.number)
        with self.read() as connection:
            return [AttemptRow(**row) for row in connection.execute(query).mappings()]

    def newest_attempts(self, job_ids: Iterable[str]) -> list[AttemptRow]:
        """The newest attempt of each of these jobs that has one."""
        table, jobs = schema.attempts, schema.jobs
        query = select(table).join(jobs, (jobs.c.id == table.c.job_id) & (jobs.c.attempt == table.c.number))
        found: list[AttemptRow] = []
        wanted = list(job_ids)
        with self.read() as connection:
            # SQLite takes 32,766 values in one statement, older ones 999.
            for start in range(0, len(wanted), 900):
                rows = connection.execute(query.where(table.c.job_id.in_(wanted[start : start + 900]))).mappings()
                found.extend(AttemptRow(**row) for row in rows)
        return found

    def shortest_lease_s(self) -> float | None:
        """The shortest lease of an attempt that may be under way, in seconds; None: nobody has to renew any."""
        table = schema.attempts
        query = select(table.c.lease).where(table.c.state.in_(LIVE_STATES), table.c.lease.is_not(None))
        with self.read() as connection:
            return min((float(lease["seconds"]) for (lease,) in connection.execute(query)), default=None)

    def outcomes(self, since: float | None = None) -> list[JobOutcome]:
        """How each job stands, in one query and without the observations; those submitted from `since` (Unix) on."""
        jobs, attempts = schema.jobs, schema.attempts
        newest = (attempts.c.job_id == jobs.c.id) & (attempts.c.number == jobs.c.attempt)
        elapsed = func.coalesce(attempts.c.elapsed_s, jobs.c.elapsed_s)
        query = select(jobs.c.template, jobs.c.node, jobs.c.state, elapsed).select_from(
            jobs.outerjoin(attempts, newest)
        )
        if since is not None:
            query = query.where(jobs.c.created_at >= since)
        with self.read() as connection:
            return [JobOutcome(*row) for row in connection.execute(query)]

    def request_stop(
        self, job_id: str, reason: str = "cancelled", grace_s: float | None = None, *, now: float | None = None,
        within: Transaction | None = None,
    ) -> JobRow:  # fmt: skip
        """Ask for the end of a job and return it as it is then.

        A job that waits in the store is `cancelled` at once; for one on a node the next round sends the order; one that
        is over stays as it is. Asking twice keeps the first reason. `grace_s` None: the job's own. With a rank of a
        gang all of them are stopped. `within` another transaction, or in one of its own. Raises NotFound.
        """
        at = time.time() if now is None else now
        with nullcontext(within) if within is not None else self.write() as transaction:
            job = _known(transaction, job_id)
            for each in transaction.gang(job.gang) if job.gang is not None else [job]:
                request_stop(transaction, each, reason, grace_s, at)
            return _known(transaction, job_id)

    def delete_jobs(self, ids: Iterable[str], *, now: float | None = None) -> int:
        """Remove jobs that are over, with attempts and log copies, and return how many. Their events stay.

        Raises UsageError, and removes none, when one of them is not over. An id that is not there is left out of the
        count.
        """
        at = time.time() if now is None else now
        removed: list[str] = []
        with self.write() as transaction:
            for job_id in ids:
                job = transaction.job(job_id)
                if job is None:
                    continue
                if not job.finished:
                    raise UsageError(
                        f"{job.id} is {job.state}: only a job that is over can be removed",
                        next_step=f"stoker stop {job.id}",
                    )
                transaction.remove_job(job.id)
                transaction.event("job.removed", at, **where_of(job), data={"state": job.state})
                removed.append(job.id)
        for job_id in removed:
            self.log_copies.remove(job_id)
        return len(removed)

    # ---- nodes, events ----

    def node(self, name: str) -> NodeRow | None:
        """What is known of one node; None: it was never asked."""
        with self.read() as connection:
            row = connection.execute(select(schema.nodes).where(schema.nodes.c.name == name)).mappings().one_or_none()
        return NodeRow(**row) if row is not None else None

    def nodes(self) -> list[NodeRow]:
        """Every node that was ever asked, by name."""
        query = select(schema.nodes).order_by(schema.nodes.c.name)
        with self.read() as connection:
            return [NodeRow(**row) for row in connection.execute(query).mappings()]

    def events(
        self, since: int = 0, types: Sequence[str] | None = None, job_id: str | None = None, limit: int | None = None,
        *, node: str | None = None, not_before: float | None = None, newest: bool = False,
    ) -> list[EventRow]:  # fmt: skip
        """Events with a number above `since`, oldest first. Reading on from the last number misses none.

        In `types` a * stands for anything. `not_before` is Unix seconds. `newest`: of more than `limit` the last ones,
        not the first.
        """
        table = schema.events
        query = select(table).where(table.c.seq > since).order_by(table.c.seq.desc() if newest else table.c.seq)
        if types is not None:
            query = query.where(or_(*(_of_type(kind) for kind in types)))
        if job_id is not None:
            query = query.where(table.c.job_id == job_id)
        if node is not None:
            query = query.where(table.c.node == node)
        if not_before is not None:
            query = query.where(table.c.at >= not_before)
        if limit is not None:
            query = query.limit(limit)
        with self.read() as connection:
            rows = [EventRow(**row) for row in connection.execute(query).mappings()]
        return rows[::-1] if newest else rows

    def last_event(self) -> int:
        """The number of the newest event; 0: there is none."""
        with self.read() as connection:
            return int(connection.execute(select(func.max(schema.events.c.seq))).scalar() or 0)

    def delete_events(self, before: float) -> int:
        """Remove events older than `before` (Unix seconds) and return how many."""
        with speaking(self._engine.url):
            connection = self._engine.connect().execution_options(stoker_writes=True)
            with connection, connection.begin():
                return connection.execute(delete(schema.events).where(schema.events.c.at < before)).rowcount

    # ---- as a whole ----

    def copy_to(self, target: Store, *, without: Sequence[str] = (), replace: bool = False) -> list[TableCopy]:
        """Copy every row into `target` and compare; see `stoker.store.copying.copy`."""
        from stoker.store.copying import copy

        with speaking(self._engine.url), speaking(target._engine.url):
            return copy(self._engine, target._engine, without=without, replace=replace)

    def sums(self) -> list[TableCopy]:
        """Rows and checksum of each table."""
        from stoker.store.copying import sums

        with speaking(self._engine.url):
            return sums(self._engine)

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with self.read() as connection:
            tables = schema.metadata.sorted_tables
            return {t.name: int(connection.execute(select(func.count()).select_from(t)).scalar_one()) for t in tables}

    def faults(self) -> list[str]:
        """What the database finds wrong with itself; nothing is well."""
        from stoker.store.copying import faults

        with speaking(self._engine.url):
            return faults(self._engine)

    def fold(self) -> None:
        """Put all of an SQLite store that no one else has open into its one file."""
        self._close_looking()
        self._engine.dispose()
        with speaking(self._engine.url), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            raw.execute("PRAGMA journal_mode = DELETE")  # type: ignore[union-attr]

    # ---- log copies ----

    def write_log_copy(self, job_id: str, attempt: int, offset: int, data: bytes, keep_bytes: int) -> None:
        """Add `data`, which lies at `offset` of the attempt's log, to its copy, which keeps the last `keep_bytes`."""
        with self.write() as transaction:
            if transaction.attempt(job_id, attempt) is None:
                return  # removed meanwhile, or a name that a node made up
            start, end = self.log_copies.extend(job_id, attempt, offset, data, keep_bytes)
            transaction.change_attempt(job_id, attempt, {"log_start": start, "log_end": end})

    def read_log_copy(self, job_id: str, attempt: int) -> tuple[int, bytes]:
        """Where in the attempt's log the copy begins, and its bytes; (0, b"") where there is none on this machine."""
        return self.log_copies.read(job_id, attempt)


def _of_type(kind: str) -> ColumnElement[bool]:
    column = schema.events.c.type
    if "*" not in kind:
        return column == kind
    pattern = kind.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
    return column.like(pattern, escape="\\")


def refuse_secrets(spec: Mapping[str, Any]) -> None:
    """Refuse a spec that carries values of secrets: the store keeps their names only. Raises UsageError."""
    names = spec.get("secret_env", [])
    listed = isinstance(names, list | tuple) and all(isinstance(name, str) and "=" not in name for name in names)
    if "secrets" in spec or not listed:
        raise UsageError(
            "a job's spec holds the names of its secrets, never their values",
            next_step="give secret_env as a list of names",
        )


def checked_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as it may be stored. Raises UsageError that names what is wrong with it."""
    from ansible_collections.stoker.fleet.plugins.module_utils.schemas import SchemaError, require

    try:
        return dict(require(dict(spec), "stoker.spec", reader="this controller", sender="the caller"))
    except SchemaError as problem:
        raise UsageError(f"the job cannot be stored: {problem.message}") from problem


def _add(
    transaction: Transaction, spec: Mapping[str, Any], target: str | None, max_retries: int, priority: int,
    more: Mapping[str, Any], at: float,
) -> JobRow:  # fmt: skip
    job_id = str(spec["job"])
    number = transaction.event("job.queued", at, job=job_id, data={"target": target, "retry_of": more["retry_of"]})
    transaction.add_job(
        {
            "id": job_id, "uid": spec["uid"], "number": number, "name": spec["name"], "spec": spec, "target": target,
            "attempt": 0, "state": "queued", "max_retries": max_retries, "retries_used": 0, "priority": priority,
            "created_at": at, "updated_at": at, **more,
        }
    )  # fmt: skip
    return _known(transaction, job_id)


def _known(transaction: Transaction, job_id: str) -> JobRow:
    job = transaction.job(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id!r}", next_step="stoker jobs lists them")
    return job
