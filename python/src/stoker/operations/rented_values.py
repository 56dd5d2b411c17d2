"""What is answered of rented machines. Times are Unix seconds, money dollars; None: not known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from stoker.operations.values import Problem
from stoker.pools import pool_of
from stoker.rented import cost

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import JobRow
    from stoker.store.instance_rows import InstanceRow, IntervalRow

# So many of the newest jobs are looked through for earlier runs.
_LOOKED_AT = 500


@dataclass(frozen=True)
class Offer:
    """A machine on offer. `usd_per_hour` is with its disk; `usd_per_run` what a whole run would come to, and `why`."""

    id: int
    machine: int | None
    gpu: str
    gpus: int
    place: str
    usd_per_hour: float
    usd_per_run: float
    bid: float | None
    why: str


@dataclass(frozen=True)
class OfferList:
    """The offers for a pool, the best first. `told`: why there is none; `exit_code` 1 then."""

    pool: str
    offers: tuple[Offer, ...]
    told: str | None = None

    @property
    def exit_code(self) -> int:
        """0: there are some."""
        return 0 if self.offers else 1


@dataclass(frozen=True)
class Instance:
    """A rented machine. `usd_per_hour` is what it costs now, in the state it is in; `spent` what it came to so far.

    `spent_unknown` names what is not in that because a rate is not known. `ends_at`: when its time to live is over.
    `eta_s` is about how long its job will still run, by `eta_from`: earlier runs, or what the pool expects.
    """

    id: str
    provider_id: int | None
    pool: str
    job: str | None
    phase: str
    since: float
    problem: str | None
    node: str | None
    host: str | None
    gpu: str
    kind: str
    usd_per_hour: float | None
    spent: float
    spent_unknown: tuple[str, ...]
    created_at: float
    ends_at: float
    ended_at: float | None
    evidence: str | None
    why: str | None
    eta_s: float | None = None
    eta_from: str | None = None


@dataclass(frozen=True)
class Unknown:
    """What the provider bills and no row of the store stands for. `what`: adopt, destroy or foreign; `why`."""

    provider_id: int
    label: str
    what: Literal["adopt", "destroy", "foreign"]
    why: str
    usd_per_hour: float | None = None


@dataclass(frozen=True)
class InstanceList:
    """Rented machines. `unknown` None: the provider was not asked whether it has others."""

    instances: tuple[Instance, ...]
    unknown: tuple[Unknown, ...] | None
    usd_per_hour: float
    spent_today: float
    alerts: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class InstanceChange:
    """What became of machines. `changed` false: all of it was so already."""

    instances: tuple[Instance, ...]
    told: tuple[str, ...]
    changed: bool
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: it is so now."""
        return 1 if self.problems else 0


@dataclass(frozen=True)
class Reaped:
    """What is billed and should not be. `done`: those that were destroyed, and shown gone by the provider."""

    plan: tuple[Unknown, ...]
    done: tuple[int, ...]
    planned_only: bool
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: nothing is left to be reaped, or only the plan was asked for."""
        return 1 if self.problems else 0


@dataclass(frozen=True)
class CostRow:
    """Dollars of one job, day, pool, user or project. `unknown` names what is not in them."""

    key: str | None
    gpu: float
    disk: float
    transfer: float
    total: float
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class CostReport:
    """What rented machines cost since then, by `by`; `put_aside` is what may still be spent by those that are there.

    `charged` is what the provider says that it charged in that time for machines of this store, None: not asked.
    """

    by: str
    since: float | None
    rows: tuple[CostRow, ...]
    total: float
    put_aside: float
    charged: float | None = None


def instance_of(row: InstanceRow, intervals: Sequence[IntervalRow], now: float) -> Instance:
    """A machine as its users see it."""
    spent = cost.of(intervals, now)
    return Instance(
        row.id, row.provider_id, row.pool, row.job, row.phase, row.phase_since, row.problem, row.node, row.host,
        gpu_words(row.offer), row.kind, rate_of(row, intervals), float(spent.total), spent.unknown, row.created_at,
        row.expires_at, row.ended_at, row.evidence, row.why,
    )  # fmt: skip


def rate_of(row: InstanceRow, intervals: Sequence[IntervalRow]) -> float | None:
    """What a machine costs an hour in the state that it is in; None: not known."""
    if not row.billable:
        return 0.0
    now = next((each for each in reversed(intervals) if each.until is None), None)
    state = now.state if now is not None else "loading"
    rates = [row.gpu_rate] if state not in cost.NO_GPU else []
    rates += [row.disk_rate] if state not in cost.NO_DISK else []
    known = [rate for rate in rates if rate is not None]
    return sum(known) if len(known) == len(rates) else None


def gpu_words(offer: Mapping[str, object]) -> str:
    """`2 x RTX 4090`."""
    count, name = offer.get("num_gpus"), str(offer.get("gpu_name") or "unknown GPU")
    return f"{count} x {name}" if isinstance(count, int) and count != 1 else name


def instances_of(session: Session, rows: Sequence[InstanceRow]) -> tuple[Instance, ...]:
    """Machines as their users see them."""
    now, by = time.time(), dict[str, list["IntervalRow"]]()
    for interval in session.store.instances.intervals():
        by.setdefault(interval.instance, []).append(interval)
    found = []
    for row in rows:
        shown = instance_of(row, by.get(row.id, []), now)
        job = session.store.job(row.job) if row.job is not None and row.live else None
        found.append(shown if job is None else replace(shown, **_eta(session, job, now)))
    return tuple(found)


def of_job(session: Session, job: JobRow) -> tuple[Instance, ...]:
    """The machines that a job ran on or waits for; what each cost is what it cost for this job."""
    store, now = session.store, time.time()
    every = store.instances.intervals()
    intervals = [each for each in every if each.job == job.id]
    ids = {each.instance for each in intervals} | {row.id for row in store.instances.of_job(job.id)}
    rows = [row for row in store.instances.all(live=False) if row.id in ids]
    return tuple(
        replace(
            instance_of(row, [each for each in intervals if each.instance == row.id], now),
            usd_per_hour=rate_of(row, [each for each in every if each.instance == row.id]),
            **(_eta(session, job, now) if row.live and row.job == job.id else {}),
        )
        for row in rows
    )


def _eta(session: Session, job: JobRow, now: float) -> dict[str, Any]:
    """How long it will still run: as long as jobs of its name did; without any, as long as its pool expects."""
    if job.finished:
        return {}
    ran = [row.elapsed_s for row in session.store.jobs(states=("succeeded",), limit=_LOOKED_AT) if
           row.name == job.name and row.elapsed_s is not None]  # fmt: skip
    pool = session.config.pools.get(pool_of(job.target) or "")
    if not ran and pool is None:
        return {}
    whole = median(ran) if ran else (pool.expected_s if pool is not None else 0.0)
    source = f"{len(ran)} earlier run{'s' * (len(ran) != 1)} of {job.name}" if ran else "expected_s of its pool"
    begun = job.started_at if job.state == "running" else None
    return {"eta_s": max(0.0, whole - (now - begun if begun is not None else 0.0)), "eta_from": source}
