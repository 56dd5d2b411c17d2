"""Queues: lines of jobs that start in order, seen by everybody who uses the same store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Unpack

from stoker.config import MOST
from stoker.errors import NotFound, UsageError
from stoker.operations import quantities
from stoker.operations.dispatch import RoundStream
from stoker.operations.find import job_row, near
from stoker.operations.options import RunOptions, named_job, one_command
from stoker.operations.registry import Command, Short, operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.submit import prepared, submit, title
from stoker.operations.templates import named_of
from stoker.operations.values import Job, Problem, RoundReport
from stoker.operations.views import jobs_of

if TYPE_CHECKING:
    from stoker.store import QueueRow

DEFAULT = "default"
PAUSE_S = 2.0
WAIT_S = 10.0


@dataclass(frozen=True)
class Queue:
    """A queue, and its jobs that are not over in the order in which they start.

    `max_running` None: on each node as many at a time as it has GPUs, one where it has none. `jobs` that run or wait on
    a node come first, those that wait in the store have a position from 1. Of these `skipped` are left out before, and
    `left_out` behind.
    """

    name: str
    max_running: int | None
    stop_on_failure: bool
    paused: bool
    paused_reason: str | None
    under_way: tuple[Job, ...]
    waiting: tuple[Job, ...]
    skipped: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class QueueList:
    """Queues, by name."""

    queues: tuple[Queue, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Queued:
    """A job that was put into a queue. `position` counts those that wait, from 1; None where it does not wait."""

    job: Job
    queue: str
    position: int | None


@dataclass(frozen=True)
class QueueChange:
    """What was done to a queue. `changed` is False where it was so already."""

    queue: Queue
    changed: bool
    told: str
    problems: tuple[Problem, ...] = ()


class QueueStream(RoundStream):
    """Rounds until a queue has nothing left that can start or end. `failed` are the jobs that did not end well."""

    def __init__(self, session: Session, queue: str) -> None:
        super().__init__(session, PAUSE_S)
        self.queue = queue
        self._seen = {row.id for row in session.store.queues.entries(queue)}
        self.failed: tuple[Job, ...] = ()
        self.paused: str | None = None

    def __iter__(self) -> Iterator[RoundReport]:
        for report in super().__iter__():
            entries = self._session.store.queues.entries(self.queue)
            self._seen |= {row.id for row in entries}
            ended = jobs_of(self._session, [job_row(self._session, job) for job in sorted(self._seen)])
            self.failed = tuple(job for job in ended if job.finished and job.state != "succeeded")
            queue = _known(self._session, self.queue)
            self.paused = queue.paused_reason if queue.paused else None
            yield report
            if not entries or (queue.paused and all(row.node is None for row in entries)):
                return

    def _make(self) -> tuple[Problem, ...]:
        jobs = [row.id for row in self._session.store.queues.entries(self.queue)]
        # The waiting is done on the nodes.
        return make_round(self._session, "dispatch", jobs=jobs, wait_s=WAIT_S) if jobs else ()

    def _pause_s(self, report: RoundReport, interval_s: float) -> float:
        return 0.0 if report.changes or report.elapsed_s > WAIT_S / 2 else interval_s

    @property
    def exit_code(self) -> int:
        """1 when a job did not end well, or the queue was paused with jobs left in it."""
        return int(bool(self.failed) or self.paused is not None)


@operation("queue", "queue list", "read", method="list")
def list_queues(session: Session, queue: str | None = None, *, limit: int = 100, skip: int = 0) -> QueueList:
    """Show queues: what runs, and what waits in which order and why.

    Args:
        queue: Only this one.
        limit: At most this many of those that wait, in each queue; 0 for all.
        skip: Leave out this many of the first that wait: the next page.
    """
    for option, value in (("--limit", limit), ("--skip", skip)):
        quantities.count(value, option)
    rows = [_known(session, queue)] if queue is not None else session.store.queues.list()
    return QueueList(tuple(_view(session, row, limit or None, skip) for row in rows))


@operation("queue", "queue add", "operate")
def add(
    session: Session, argv: Command = (), *, to: str = DEFAULT, priority: int = 0, template: str | None = None,
    param: Annotated[Mapping[str, str] | None, Short("-p")] = None, **options: Unpack[RunOptions],
) -> Queued:  # fmt: skip
    """Put a command, or a template, into a queue: a dispatcher, or stoker queue start, makes the rounds that start it.

    Args:
        argv: The command and its arguments.
        to: The queue; one that is not there is made.
        priority: Jobs of a higher one come first.
        template: Queue a job of this template instead of a command.
        param: A value for a parameter of the template, NAME=VALUE. Repeatable.
    """
    began = time.monotonic()
    quantities.count(priority, "--priority", least=-MOST)
    if template is None:
        if param:
            raise UsageError("--param is for a template", next_step="--template NAME")
        one_command(argv, options, "queue add")
        named = named_job(argv, options, title(argv, options))
    else:
        if argv or options.get("script") is not None:
            raise UsageError("give either a command or a template, not both")
        named = named_of(session, template, param or {}, options)
    done = submit(
        session, prepared(session, named, options), template=template, began=began, queue=to, priority=priority
    )
    queue = _view(session, _known(session, to))
    ids = [job.id for job in queue.waiting]
    return Queued(done.job, to, ids.index(done.job.id) + 1 if done.job.id in ids else None)


@operation("queue", "queue start", "operate")
def start(session: Session, queue: str = DEFAULT) -> QueueStream:
    """Make rounds until every job of a queue is over. Ctrl-C ends the rounds, not the jobs.

    A dispatcher (stoker dispatch --loop) does the same for all queues; several at once do no harm.

    Args:
        queue: Its name.
    """
    _known(session, queue)
    return QueueStream(session, queue)


@operation("queue", "queue set", "operate", method="change")
def change(
    session: Session, queue: str, *, max: int | None = None, per_node: bool = False,  # noqa: A002
    stop_on_failure: bool = False, go_on: bool = False,
) -> QueueChange:  # fmt: skip
    """Set how a queue runs; one that is not there is made.

    Args:
        queue: Its name.
        max: Most jobs under way at a time, over all nodes.
        per_node: On each node as many at a time as it has GPUs, one where it has none (how a new queue runs).
        stop_on_failure: Pause it when a job fails for good.
        go_on: Go on with the next job then (how a new queue runs).
    """
    if max is not None and max < 1:
        raise UsageError(f"--max: {max} is not a number of 1 or more", next_step=f"stoker queue pause {queue}")
    if max is not None:
        quantities.count(max, "--max", least=1)
    if (max is not None and per_node) or (stop_on_failure and go_on):
        raise UsageError("the options say the opposite of each other")
    stop = True if stop_on_failure else False if go_on else None
    row = session.store.queues.change(queue, max_running=max, per_node=per_node, stop_on_failure=stop)
    return QueueChange(_view(session, row), True, f"queue {queue}: {rule(_view(session, row))}")


@operation("queue", "queue pause", "operate")
def pause(session: Session, queue: str = DEFAULT, *, reason: str | None = None) -> QueueChange:
    """Start nothing more of a queue. What runs goes on.

    Args:
        queue: Its name.
        reason: Why, for those who see it waiting.
    """
    _known(session, queue)
    changed = session.store.queues.pause(queue, reason or "by hand")
    told = f"queue {queue} is paused" if changed else f"queue {queue} was paused already"
    return QueueChange(_view(session, _known(session, queue)), changed, told)


@operation("queue", "queue resume", "operate")
def resume(session: Session, queue: str = DEFAULT) -> QueueChange:
    """Let a paused queue go on, and make a round for it.

    Args:
        queue: Its name.
    """
    _known(session, queue)
    changed = session.store.queues.resume(queue)
    entries = [row.id for row in session.store.queues.entries(queue)]
    problems = make_round(session, "dispatch", jobs=entries) if changed and entries else ()
    told = f"queue {queue} goes on" if changed else f"queue {queue} was not paused"
    return QueueChange(_view(session, _known(session, queue)), changed, told, problems)


@operation("queue", "queue move", "operate")
def move(
    session: Session, job: str, *, before: str | None = None, first: bool = False, last: bool = False
) -> QueueChange:
    """Move a waiting job within its queue. It takes the priority of the job that it then stands beside.

    Args:
        job: Id of the job, or the beginning of it.
        before: Put it before this job.
        first: Put it before all others.
        last: Put it behind all others.
    """
    if (before is not None) + first + last != 1:
        raise UsageError("where to?", next_step="--before JOB, --first or --last")
    row = job_row(session, job)
    other = job_row(session, before).id if before is not None else None
    if other == row.id:
        raise UsageError(f"{row.id} cannot stand before itself")
    position = session.store.queues.move(row.id, before=other, last=last)
    return QueueChange(_view(session, _known(session, str(row.queue))), True, f"{row.id} is number {position}")


@operation("queue", "queue clear", "operate", destroys=True)
def clear(session: Session, queue: str = DEFAULT, *, jobs: Sequence[str] = ()) -> QueueChange:
    """Take waiting jobs out of a queue: they are cancelled. What runs goes on.

    Args:
        queue: Its name.
        jobs: Only this job. Repeatable.
    """
    _known(session, queue)
    named = {job_row(session, job).id for job in jobs}
    entries = {row.id: row for row in session.store.queues.entries(queue)}
    if strange := sorted(named - set(entries)):
        raise UsageError(f"{strange[0]} does not stand in the queue {queue}", next_step=f"stoker queue list {queue}")
    running = [i for i, row in entries.items() if row.state == "running" or (row.state == "starting" and row.node)]
    if busy := sorted(named & set(running)):
        raise UsageError(f"{busy[0]} does not wait: it is {entries[busy[0]].state}", next_step=f"stoker stop {busy[0]}")
    out = [i for i in entries if i not in running and (not named or i in named)]
    for job in out:
        session.store.request_stop(job)
    # Those that wait on a node for its GPUs are told there.
    placed = [job for job in out if entries[job].node is not None]
    problems = make_round(session, "dispatch", jobs=placed) if placed else ()
    told = f"{len(out)} taken out of queue {queue}, {len(entries) - len(out)} left"
    return QueueChange(_view(session, _known(session, queue)), bool(out), told, problems)


def rule(queue: Queue) -> str:
    """How a queue runs, in words."""
    many = (
        "one job a GPU on each node, one where there is none"
        if queue.max_running is None
        else f"at most {queue.max_running} at a time"
    )
    return many + (", stops when one fails" if queue.stop_on_failure else "")


def _view(session: Session, row: QueueRow, limit: int | None = None, skip: int = 0) -> Queue:
    entries = session.store.queues.entries(row.name)
    under_way, waiting = ([job for job in entries if (job.node is None) is waits] for waits in (False, True))
    shown = waiting[skip:] if limit is None else waiting[skip : skip + limit]
    return Queue(
        row.name, row.max_running, row.stop_on_failure, row.paused, row.paused_reason,
        jobs_of(session, under_way), jobs_of(session, shown),
        min(skip, len(waiting)), max(0, len(waiting) - skip - len(shown)),
    )  # fmt: skip


def _known(session: Session, name: str) -> QueueRow:
    rows = {row.name: row for row in session.store.queues.list()}
    if name not in rows:
        hint = near(name, list(rows))
        raise NotFound(f"there is no queue {name!r}.{hint}", next_step="stoker queue list shows them")
    return rows[name]
