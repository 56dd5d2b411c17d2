"""What the jobs of the store need of rented machines: which wait, which run where, whose results still lie there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from stoker.pools import pool_of
from stoker.rented import budget
from stoker.rented.lifecycle import Use
from stoker.store.rows import LIVE_STATES

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import JobRow
    from stoker.store.instance_rows import InstanceRow
    from stoker.store.instances import Instances

Ends = Mapping[str, Literal["stop", "destroy"]]
# How the reason of a machine begins that somebody rented, or started, by hand: it is wanted until it was ready.
BY_HAND = "by hand"
# How it begins where somebody wants it stopped: also a dispatcher that tends it meanwhile stops it then.
TO_STOP = "to be stopped"
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


def needs(session: Session, rows: Sequence[InstanceRow]) -> Needs:
    """What is needed now, of the machines `rows` (those that live). Raises StokerError when the store fails."""
    store = session.store
    jobs = sorted(store.jobs(states=LIVE_STATES, newest_first=False), key=lambda job: job.turn)
    newest = {attempt.job_id: attempt for attempt in store.newest_attempts(job.id for job in jobs if job.attempt)}
    running: dict[str, JobRow] = {}
    waiting: dict[str, list[JobRow]] = {}
    paused = {queue.name for queue in store.queues.list() if queue.paused}
    here = store.snapshots.here()
    for job in jobs:
        attempt = newest.get(job.id)
        if attempt is not None and attempt.live:
            running[attempt.node] = job
        elif (pool := pool_of(job.target)) is not None and job.queue not in paused:
            files = job.spec.get("snapshot")
            # Where its files are not here, nobody here could start it: no machine is paid for that.
            if not files or files["digest"] in here:
                waiting.setdefault(pool, []).append(job)
    unpulled = frozenset(job.node for job in store.due.jobs() if job.node is not None)
    given: dict[str, str | None] = {}
    unheld: dict[str, list[JobRow]] = {}
    for name in {*waiting, *(row.pool for row in rows)}:
        settings = session.config.pools.get(name)
        _give([row for row in rows if row.pool == name], waiting.get(name, []), given, unheld.setdefault(name, []),
              running, settings.min if settings is not None else 0)  # fmt: skip
    return Needs(waiting, unheld, running, unpulled, given)


def _give(
    rows: Sequence[InstanceRow], waiting: Sequence[JobRow], given: dict[str, str | None], unheld: list[JobRow],
    running: Mapping[str, JobRow], least: int,
) -> None:  # fmt: skip
    """Count jobs that wait on the machines that there are: on their own, else on the one that is nearest to ready."""
    free = sorted(
        (row for row in rows if row.phase in _NEARER and row.node not in running),
        key=lambda row: (-_NEARER.index(row.phase), row.created_at),
    )
    ids = {job.id for job in waiting}
    for row in free:
        if row.job in ids:
            given[row.id] = row.job
        elif (row.why or "").startswith(BY_HAND) and row.phase != "ready":
            given[row.id] = None
    held = set(given.values())
    # One that was taken away from its job is for no other one.
    left = [row for row in free if given.get(row.id) is None and row.problem is None]
    for job in waiting:
        if job.id in held:
            continue
        if left:
            given[left.pop(0).id] = job.id
        else:
            unheld.append(job)
    helping = sum(1 for row in rows if row.id in given or row.node in running)
    for row in left[: max(0, least - helping)]:
        given[row.id] = None


def limit_of(session: Session, instances: Instances, row: InstanceRow, now: float) -> str | None:
    """Which limit of the budget an instance has reached; None: it may go on."""
    settings = session.config.budget
    if settings.per_job is settings.per_day is settings.per_project is None:
        return None
    from stoker.rented import cost

    ledger = instances.ledger(row.job, row.project, day=cost.day_start(now))
    return budget.exceeded(settings, row, ledger, now)
