"""What the jobs of the store need of rented machines: which wait, which run where, whose results still lie there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from stoker.operations.rented_turns import Turns
from stoker.operations.rented_unpaid import unpaid
from stoker.pools import pool_of
from stoker.rented import budget, lifecycle
from stoker.rented.lifecycle import Use
from stoker.store.rows import LIVE_STATES

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import JobRow, MemberRow, NodeRow
    from stoker.store.instance_rows import InstanceRow
    from stoker.store.instances import Instances

Ends = Mapping[str, Literal["stop", "destroy"]]
# How long a machine that is ready again is taken to answer, whatever was heard of its node before.
SILENT_S = 120.0
# The sooner a machine can take a job, the later it is here.
_NEARER = ("stopped", "intended", "asked", "loading", "reachable", "ready")


@dataclass(frozen=True)
class Needs:
    """`waiting` are the jobs of each pool that could start now, in their order; `unheld` those that no machine is for.

    `running` are, by node, the jobs that may be under way there; `unpulled` the nodes with results that are due.
    `given` are the machines that jobs which wait were counted on for, by instance: the job, None: the pool holds it.
    """

    waiting: Mapping[str, Sequence[JobRow]] = field(default_factory=dict)
    unheld: Mapping[str, Sequence[JobRow]] = field(default_factory=dict)
    running: Mapping[str, JobRow] = field(default_factory=dict)
    unpulled: frozenset[str] = frozenset()
    given: Mapping[str, str | None] = field(default_factory=dict)

    def job(self, name: str | None) -> JobRow | None:
        """The job of this id, where it is one that waits or is under way."""
        jobs = (job for each in (self.running.values(), *self.waiting.values()) for job in each)
        return next((job for job in jobs if job.id == name), None)

    def use(self, row: InstanceRow, *, trouble: str | None = None, limit: str | None = None,
            end: Literal["stop", "destroy"] | None = None) -> Use:  # fmt: skip
        """What one instance is needed for."""
        return Use(
            busy=row.node is not None and row.node in self.running, wanted=row.id in self.given,
            unpulled=row.node is not None and row.node in self.unpulled, trouble=trouble, limit=limit, end=end,
        )  # fmt: skip

    def holder(self, row: InstanceRow) -> str | None:
        """The job that an instance is held for now; None: for none."""
        running = self.running.get(row.node) if row.node is not None else None
        return running.id if running is not None else self.given.get(row.id)


def needs(session: Session, rows: Sequence[InstanceRow], now: float) -> Needs:
    """What is needed now, of the machines `rows` (those that live). Raises StokerError when the store fails."""
    store = session.store
    jobs = sorted(store.jobs(states=LIVE_STATES, newest_first=False), key=lambda job: job.turn)
    newest = {attempt.job_id: attempt for attempt in store.newest_attempts(job.id for job in jobs if job.attempt)}
    running: dict[str, JobRow] = {}
    waiting: dict[str, list[JobRow]] = {}
    under_way = [job for job in jobs if (attempt := newest.get(job.id)) is not None and attempt.live]
    running |= {newest[job.id].node: job for job in under_way}
    here = store.snapshots.here()
    begun = {job.id for job in under_way}
    turns = Turns(store.queues.list(), jobs, under_way)
    for job in jobs:
        pool = pool_of(job.target)
        if pool is None or job.id in begun:
            continue
        files, settings = job.spec.get("snapshot"), session.config.pools.get(pool)
        # A machine is kept for so long without a job: one that can start within that time waits already.
        soon = now + (settings.idle_s if settings is not None else 0.0)
        # Where its files are not here, nobody here could start it: no machine is paid for that.
        if (not files or files["digest"] in here) and turns.may_start(job, soon):
            waiting.setdefault(pool, []).append(job)
    spent = unpaid(session, [job for each in waiting.values() for job in each], now)
    silent = _silent(store.nodes(), store.members.list())
    unpulled = frozenset(job.node for job in store.due.jobs() if job.node is not None)
    given: dict[str, str | None] = {}
    unheld: dict[str, list[JobRow]] = {}
    for name in {*waiting, *(row.pool for row in rows)}:
        settings = session.config.pools.get(name)
        mine = [row for row in rows if row.pool == name]
        # What has just become ready may be written down as silent from an earlier start.
        well = [row for row in mine
                if row.phase != "ready" or row.node not in silent or now - row.phase_since < SILENT_S]  # fmt: skip
        jobs = [job for job in waiting.get(name, []) if job.id not in spent]
        # Whoever rents says of those that may spend nothing more why they get none.
        unheld[name] = [job for job in waiting.get(name, []) if job.id in spent]
        bounds = (settings.min, settings.max) if settings is not None else (0, 0)
        _give(well, jobs, given, unheld[name], running, bounds)
    return Needs(waiting, unheld, running, unpulled, given)


def _silent(nodes: Iterable[NodeRow], members: Iterable[MemberRow]) -> set[str]:
    """The nodes on which no round starts anything: they do not answer, or are drained."""
    away = {node.name for node in nodes if node.offline_since is not None}
    return away | {member.name for member in members if member.state in ("draining", "drained")}


def _give(
    rows: Sequence[InstanceRow], waiting: Sequence[JobRow], given: dict[str, str | None], unheld: list[JobRow],
    running: Mapping[str, JobRow], bounds: tuple[int, int],
) -> None:  # fmt: skip
    """Count jobs that wait on the machines that there are: on their own, else on the one that is nearest to ready."""
    free = sorted(
        (row for row in rows if row.phase in _NEARER and row.node not in running and not _goes(row)),
        key=lambda row: (-_NEARER.index(row.phase), row.created_at),
    )
    ids = {job.id for job in waiting}
    for row in free:
        if row.job in ids:
            given[row.id] = row.job
        elif lifecycle.by_hand(row) and row.phase != "ready":
            given[row.id] = None
    held = set(given.values())
    # One that was taken away from its job is for no other one.
    left = [row for row in free if given.get(row.id) is None and row.problem is None]
    if len(rows) >= bounds[1]:
        # There is no other one: it is asked again to start.
        left += [row for row in free if given.get(row.id) is None and row.problem == "refused"]
    for job in waiting:
        if job.id in held:
            continue
        if left:
            given[left.pop(0).id] = job.id
        else:
            unheld.append(job)
    helping = sum(1 for row in rows if row.id in given or row.node in running)
    for row in left[: max(0, bounds[0] - helping)]:
        given[row.id] = None


def _goes(row: InstanceRow) -> bool:
    """Whether it goes whatever waits: somebody wants it ended, or it is there once more for what lies on it."""
    return lifecycle.end_by_hand(row) is not None or (row.wish == lifecycle.FETCH and row.phase != "stopped")


def limit_of(session: Session, instances: Instances, row: InstanceRow, now: float) -> str | None:
    """Which limit of the budget an instance has reached; None: it may go on."""
    settings = session.config.budget
    if settings.per_job is settings.per_day is settings.per_project is None:
        return None
    from stoker.rented import cost

    ledger = instances.ledger(row.job, row.project, day=cost.day_start(now))
    return budget.exceeded(settings, row, ledger, now)
