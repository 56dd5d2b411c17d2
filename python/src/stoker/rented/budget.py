"""Whether money may be spent: asked before each launch, which puts dollars aside, and again while an instance runs.

What was spent is counted from the intervals. What was put aside for an instance counts until it is settled, less what
that instance has cost by then, so that no dollar counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from stoker.pool_settings import Budget, Pool
from stoker.rented import cost
from stoker.store.instance_rows import InstanceRow, IntervalRow, Ledger, ReservationRow

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Scope:
    """One limit: its name in the settings, whom it is for, and how much of it is spent and put aside, in dollars."""

    name: str
    whom: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """What nobody has spent or put aside; never below 0."""
        return max(Decimal(0), self.limit - self.spent - self.reserved)


def allows(
    budget: Budget, intent: InstanceRow, usd_per_hour: float, pool: Pool, ledger: Ledger, now: float,
    seconds: float | None = None,
) -> ReservationRow | str:  # fmt: skip
    """The dollars to put aside for an intent, or why it must not be rented: one sentence.

    Put aside is what it costs in `seconds` (None: in all the time that it may live), but not more than the job may
    still cost: at its limit it is stopped.
    """
    if usd_per_hour > pool.price:
        return over_price(intent.pool, usd_per_hour, pool)
    limits = scopes(budget, intent.job, intent.project, ledger, now)
    lasts = min(pool.time_to_live_s, seconds) if seconds is not None else pool.time_to_live_s
    wanted = (Decimal(repr(usd_per_hour)) * Decimal(repr(float(lasts))) / 3600).quantize(_CENT, ROUND_UP)
    for scope in limits:
        if scope.left <= 0:
            return _spent(scope)
        if scope.name == "per_job":
            wanted = min(wanted, scope.left)
    for scope in limits:
        if wanted > scope.left:
            return (
                f"the budget of {_money(scope.limit)} {scope.whom} has {_money(scope.left)} left, and {_money(wanted)} "
                f"would be put aside for {_span(lasts)} at {usd_per_hour:.4g} dollars per hour: {_used(scope)}"
            )
    return ReservationRow(intent.id, float(wanted), now, intent.job, intent.project)


def spent(budget: Budget, job: str | None, project: str | None, ledger: Ledger, now: float) -> str | None:
    """Why nothing at all can be rented for a job, however little it costs; None: some dollars are left."""
    return next((_spent(each) for each in scopes(budget, job, project, ledger, now) if each.left <= 0), None)


def over_price(pool_name: str, usd_per_hour: float, pool: Pool) -> str:
    """Why a machine above the cap is not rented."""
    return f"it costs {usd_per_hour:.4g} dollars per hour with its disk, and pools.{pool_name}.price is {pool.price:g}"


def exceeded(budget: Budget, row: InstanceRow, ledger: Ledger, now: float) -> str | None:
    """Which limit an instance that runs has reached: its job is to write a checkpoint and end. None: it may go on.

    What was put aside for others is theirs: it does not end this one.
    """
    return reached(scopes(budget, row.job, row.project, ledger, now))


def reached(limits: Iterable[Scope]) -> str | None:
    """Which of these limits is reached; None: none."""
    for scope in limits:
        if scope.spent >= scope.limit:
            return f"the budget of {_money(scope.limit)} {scope.whom} is reached: {_money(scope.spent)} spent"
    return None


def scopes(budget: Budget, job: str | None, project: str | None, ledger: Ledger, now: float) -> list[Scope]:
    """The limits that hold for a job, and how much of each is used. Days are those of UTC."""
    start, rows, put_aside = cost.day_start(now), ledger.intervals, ledger.reservations
    found = []
    if budget.per_job is not None and job is not None:
        mine = [row for row in rows if row.job == job]
        reserved = _rest((r for r in put_aside if r.job == job), ledger, now)
        found.append(Scope("per_job", f"for {job}", _limit(budget.per_job), cost.of(mine, now).total, reserved))
    if budget.per_day is not None:
        today = cost.since(rows, start, now)
        reserved = _rest(put_aside, ledger, now)
        found.append(Scope("per_day", "a day", _limit(budget.per_day), cost.of(today, now).total, reserved))
    if budget.per_project is not None and project is not None:
        mine = [row for row in rows if row.project == project]
        reserved = _rest((r for r in put_aside if r.project == project), ledger, now)
        whom = f"for the project {project}"
        found.append(Scope("per_project", whom, _limit(budget.per_project), cost.of(mine, now).total, reserved))
    return found


def _rest(reservations: Iterable[ReservationRow], ledger: Ledger, now: float) -> Decimal:
    """What was put aside for instances that are still there and was not spent by them."""
    live = {row.id for row in ledger.live}
    own: dict[str, list[IntervalRow]] = {}
    for row in ledger.intervals:
        own.setdefault(row.instance, []).append(row)
    return sum(
        (
            max(Decimal(0), _limit(each.dollars) - cost.of(own.get(each.instance, ()), now).total)
            for each in reservations
            if each.instance in live
        ),
        Decimal(0),
    )


def _limit(dollars: float) -> Decimal:
    return Decimal(repr(float(dollars)))


def _spent(scope: Scope) -> str:
    return f"the budget of {_money(scope.limit)} {scope.whom} is spent: {_used(scope)}"


def _used(scope: Scope) -> str:
    return f"{_money(scope.spent)} spent, {_money(scope.reserved)} put aside"


def _money(dollars: Decimal) -> str:
    return f"${dollars.quantize(_CENT)}"


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h"
