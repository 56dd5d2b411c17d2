"""Looking at jobs, waiting for them, stopping them, clearing them away."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.checkpoint_pulls import Keeper, may_leave_files
from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.rented_rounds import tending_round
from stoker.operations.results import fetch
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import (
    AdoptReport,
    Ended,
    Job,
    JobDetail,
    JobList,
    Problem,
    StopList,
    StopResult,
)
from stoker.operations.views import attempt_of, freshness_of, job_of, jobs_of
from stoker.operations.waiting import Told
from stoker.pools import pool_of

if TYPE_CHECKING:
    from stoker.operations.rented_values import Instance
    from stoker.store import JobRow

STATES = ("queued", "starting", "running", "succeeded", "failed", "cancelled", "lost", "dead")


@operation("jobs", "jobs", "read", method="list")
def list_jobs(
    session: Session,
    *,
    state: Sequence[str] = (),
    on: str | None = None,
    name: str | None = None,
    queue: str | None = None,
    since: float | str | None = None,
    limit: int = 100,
    skip: int = 0,
    live: bool = False,
    stored: bool = False,
) -> JobList:
    """List jobs, newest first.

    Args:
        state: Only jobs in this state. Repeatable.
        on: Only jobs of this node or group.
        name: Only jobs of this name.
        queue: Only jobs of this queue.
        since: Only jobs submitted within this time (24h, 7d).
        limit: At most this many; 0 for all.
        skip: Leave out this many of the newest ones: the next page.
        live: Ask the nodes first.
        stored: Answer from the store (the default).
    """
    state = (state,) if isinstance(state, str) else state
    if unknown := [name for name in state if name not in STATES]:
        raise UsageError(f"--state: there is no state {unknown[0]!r}", next_step=f"one of {', '.join(STATES)}")
    for option, value in (("--limit", limit), ("--skip", skip)):
        if value < 0:
            raise UsageError(f"{option}: {value} is not a number of 0 or more", next_step="--limit 0 shows all")
        quantities.count(value, option)
    asked_live = _live(live, stored)
    nodes = session.inventory.match(on) if on is not None else None
    problems = make_round(session, "observe", nodes=nodes) if asked_live else ()
    store = session.store
    from stoker.store.listing import page

    begin = None if since is None else time.time() - quantities.seconds(since, "--since")
    rows, total = page(store, list(state) or None, nodes, on, limit, skip, name=name, queue=queue, since=begin)
    jobs = jobs_of(session, rows)
    return JobList(jobs, freshness_of(jobs, live=asked_live), problems, max(0, total - skip - len(rows)))


@operation("jobs", "job", "read", method="get")
def get(session: Session, job: str, *, live: bool = False, stored: bool = False) -> JobDetail:
    """Show one job: state, evidence, attempts, metrics, findings.

    Args:
        job: Id of the job, or the beginning of it.
        live: Ask its node first.
        stored: Answer from the store (the default).
    """
    asked_live = _live(live, stored)
    row = job_row(session, job)
    problems = make_round(session, "observe", jobs=[row.id]) if asked_live and row.node else ()
    row = job_row(session, row.id)
    view = job_of(session, row)
    attempts = tuple(attempt_of(a) for a in session.store.attempts(row.id))
    claims = session.store.events(types=("job.starting",), job_id=row.id, limit=20, newest=True)
    placement = next((event.data["placement"] for event in reversed(claims) if "placement" in event.data), None)
    ranks = jobs_of(session, session.store.gang(row.gang)) if row.gang is not None else ()
    fresh = freshness_of([view], live=asked_live)
    return JobDetail(view, attempts, row.spec, fresh, problems, placement, ranks, _rented(session, row))


@operation("jobs", "wait", "read")
def wait(session: Session, job: str, *, timeout: float | str | None = None) -> Ended:
    """Wait until a job is over, retries included; with a rank of a gang, until all ranks are.

    The waiting is done on the node; a node that cannot be reached is asked again until it can.

    Args:
        job: Id of the job, or the beginning of it.
        timeout: Give up waiting after this long (90s, 2h). The job goes on.
    """
    row = job_row(session, job)
    ranks = [each.id for each in session.store.gang(row.gang)] if row.gang is not None else [row.id]
    kept = [row.id] if may_leave_files(row) else []
    limit = None if timeout is None else time.monotonic() + quantities.seconds(timeout, "--timeout")
    with Keeper(session, kept) as keeper:
        return _waited(session, ranks, limit, keeper)


def _waited(session: Session, ranks: Sequence[str], limit: float | None, keeper: Keeper) -> Ended:
    pause, tell = 0.5, Told(session)
    problems: tuple[Problem, ...] = ()
    while True:
        views = jobs_of(session, [job_row(session, each) for each in ranks])
        # Of a gang the one that did not end well speaks for all.
        view = next((each for each in views if each.state != "succeeded"), views[0])
        if all(each.finished for each in views):
            keeper.finish()
            problems += fetch(session, ranks)
            return Ended(job_of(session, job_row(session, view.id)), problems=problems)
        left = None if limit is None else limit - time.monotonic()
        if left is not None and left <= 0:
            return Ended(view, timed_out=True, problems=problems)
        tell(view)
        keeper.turn()
        began = time.monotonic()
        problems = tending_round(session, jobs=ranks, wait_s=min(15.0, left if left is not None else 15.0))
        # A round that came back at once had nothing to wait for on a node: the job is in the store, or the node away.
        quick = time.monotonic() - began < 2.0
        pause = min(pause * 1.5, 5.0) if quick else 0.5
        if quick:
            time.sleep(min(pause, max(0.0, limit - time.monotonic())) if limit is not None else pause)


def _rented(session: Session, row: JobRow) -> tuple[Instance, ...]:
    """The rented machines of a job."""
    if pool_of(row.target) is None:
        return ()
    from stoker.operations.rented_values import of_job

    return of_job(session, row)


@operation("jobs", "stop", "operate", destroys=True)
def stop(session: Session, *jobs: str, grace: float | str | None = None, give_up: bool = False) -> StopList:
    """Stop jobs: the signal to end, the grace, then kill, until no process of theirs is left.

    A job that is over is left as it is, and that is said. With a rank of a gang all its ranks are stopped.

    Args:
        jobs: Ids of jobs, or the beginnings of them.
        grace: How long they may take to end before they are killed (10s); by default what they were submitted with.
        give_up: Call those lost whose node cannot be reached or was removed, without proof. They are ended should it
            answer again.
    """
    if not jobs:
        raise UsageError("which job?", next_step="stoker jobs lists them; then stoker stop ID")
    grace_s = None if grace is None else quantities.seconds(grace, "--grace")
    named = [job_row(session, job) for job in jobs]
    ranks = [session.store.gang(row.gang) if row.gang is not None else [row] for row in named]
    rows = list({row.id: row for rows in ranks for row in rows}.values())
    before = {view.id: view for view in jobs_of(session, rows)}
    asked = [view.id for view in before.values() if not view.finished]
    longest = max([_grace(session, i, grace_s) for i in asked], default=0.0)
    for job in asked:
        session.store.request_stop(job, "cancelled", _grace(session, job, grace_s))
    alone = {view.id: why for view in before.values() if not view.finished and (why := _left_alone(session, view))}
    problems = _until_over(session, [job for job in asked if job not in alone], longest + 15.0)
    gone = _give_up(session, asked, alone) if give_up else set[str]()
    problems += fetch(session, asked)
    after = {view.id: view for view in jobs_of(session, [job_row(session, row.id) for row in rows])}
    return StopList(
        tuple(
            _given_up(after[i]) if i in gone else _stop_result(before[i], after[i], i in asked, alone.get(i))
            for i in before
        ),
        problems,
    )


@operation("jobs", "adopt", "operate")
def adopt(session: Session, node: str | None = None) -> AdoptReport:
    """Read jobs back from the nodes into the store: for a store that was lost, or jobs that another controller started.

    Args:
        node: Node or group to ask; all of them by default.
    """
    nodes = session.inventory.match(node) if node is not None else [n.name for n in session.inventory.nodes]
    known = {row.id for row in session.store.jobs()}
    problems = make_round(session, "adopt", nodes=nodes)
    rows = session.store.jobs()
    return AdoptReport(
        jobs_of(session, [row for row in rows if row.id not in known]),
        sum(1 for row in rows if row.id in known and row.node in nodes),
        problems,
    )


def _live(live: bool, stored: bool) -> bool:
    if live and stored:
        raise UsageError("--live and --stored say the opposite of each other")
    return live


def _grace(session: Session, job: str, named: float | None) -> float:
    if named is not None:
        return named
    return float(job_row(session, job).spec.get("grace_s") or 0.0)


def _until_over(session: Session, jobs: Sequence[str], patience_s: float) -> tuple[Problem, ...]:
    """Rounds until the jobs are over, a node does not answer, or the patience is."""
    end = time.monotonic() + patience_s
    problems: tuple[Problem, ...] = ()
    left = list(jobs)
    while left and not problems and time.monotonic() < end:
        began = time.monotonic()
        problems = make_round(session, "dispatch", jobs=left, wait_s=min(10.0, max(1.0, end - began)))
        left = [view.id for view in jobs_of(session, [job_row(session, job) for job in left]) if not view.finished]
        if left and time.monotonic() - began < 1.0:
            time.sleep(0.5)
    return problems


def _left_alone(session: Session, job: Job) -> str | None:
    """Why nobody asks the node of a job any more; None: it is asked."""
    if job.node is None:
        return None
    if job.node not in {node.name for node in session.whole_inventory.nodes}:
        return "it is not in the inventory"
    member = session.store.members.get(job.node)
    return "it was removed" if member is not None and member.state == "removed" else None


def _give_up(session: Session, jobs: Sequence[str], alone: Mapping[str, str]) -> set[str]:
    """Those of the jobs that are lost now because their node cannot be reached, or is left `alone`, and why."""
    from stoker.dispatch.apply import apply_change
    from stoker.dispatch.observations import given_up

    now, gone = time.time(), set()
    for view in jobs_of(session, [job_row(session, job) for job in jobs]):
        if view.unreachable_since is None and view.id not in alone:
            continue
        with session.store.write() as transaction:
            row = transaction.job(view.id)
            attempt = transaction.attempt(view.id, row.attempt) if row is not None else None
            # Written down meanwhile: what another controller saw is the truth.
            if row is not None and attempt is not None and attempt.live and row.stop_requested is not None:
                message = alone.get(view.id) or view.unreachable_message or "no reason told"
                apply_change(transaction, given_up(row, attempt, message, now), now)
                gone.add(view.id)
    return gone


def _given_up(job: Job) -> StopResult:
    return StopResult(job, "given_up", f"{job.id} {job.detail}; when {job.node} answers, what is left of it is ended")


def _stop_result(before: Job, after: Job, asked: bool, alone: str | None) -> StopResult:
    if not asked:
        return StopResult(after, "already_over", f"{after.id} was over already: nothing to stop")
    if after.state == "cancelled":
        left = f"; {after.left_behind} processes could not be ended" if after.left_behind else ""
        return StopResult(after, "stopped", f"{after.id} stopped{left}")
    if after.finished:
        return StopResult(after, "already_over", f"{after.id} was over before the stop reached it")
    if alone is not None:
        what = f"{after.node} is not asked any more ({alone})"
        return StopResult(
            after, "unreachable", f"{after.id}: {what}; it is stopped when it is (--give-up calls it lost)"
        )
    if after.unreachable_since is not None:
        return StopResult(
            after,
            "unreachable",
            f"{after.id}: {after.node} cannot be reached; it is stopped when it can be (--give-up calls it lost)",
        )
    return StopResult(after, "stopping", f"{after.id} was told to stop and has not ended yet")
