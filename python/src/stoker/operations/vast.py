"""Rented machines, shown: what is on offer, what is rented, what it costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.rented_history import history
from stoker.operations.rented_losses import KEY
from stoker.operations.rented_values import (
    CostReport,
    CostRow,
    InstanceList,
    Offer,
    OfferList,
    Unknown,
    gpu_words,
    instances_of,
)
from stoker.operations.session import Session
from stoker.rented import cost, offers, reap

if TYPE_CHECKING:
    from stoker.operations.rented_look import Look
    from stoker.pool_settings import Pool
    from stoker.store.instance_rows import InstanceRow

By = Literal["job", "day", "pool", "user", "project"]


@operation("vast", "vast offers", "read", method="offers")
def list_offers(session: Session, pool: str, *, limit: int = 10) -> OfferList:
    """List what could be rented for a pool now, the best first, each with what a run would cost and why.

    Args:
        pool: Name of the pool.
        limit: At most this many.
    """
    from stoker.operations.rented_provider import provider

    rule = pool_named(session, pool)
    held = {row.machine_id for row in session.store.instances.all() if row.machine_id is not None}
    listed = provider().offers(offers.query(rule, held), rule.kind, rule.disk_gb)
    found = offers.ranked(listed, rule, history(session, session.store.instances, pool), held)
    shown = tuple(
        Offer(
            int(each.offer["id"]), _whole(each.offer.get("machine_id")), gpu_words(each.offer),
            _whole(each.offer.get("num_gpus")) or 0, str(each.offer.get("geolocation") or ""), each.usd_per_hour,
            each.usd_per_run, each.bid, each.why,
        )
        for each in found[: max(1, limit)]
    )  # fmt: skip
    return OfferList(pool, shown, None if shown else offers.why_none(listed, rule, held))


@operation("vast", "vast list", "read", method="list")
def list_instances(session: Session, *, all: bool = False, reconcile: bool = False) -> InstanceList:  # noqa: A002
    """List the rented machines: phase, job, host, dollars per hour and spent.

    Args:
        all: Also those that are gone.
        reconcile: Ask the provider whether it bills others: with a label of this store, or of somebody else.
    """
    rows = session.store.instances.all(live=not all)
    shown = instances_of(session, rows)
    unknown: tuple[Unknown, ...] | None = None
    if reconcile:
        from stoker.operations.rented_look import look
        from stoker.operations.rented_provider import provider

        unknown = strangers(session, seen_by(look(provider())))
    now = time.time()
    today = cost.of(cost.since(session.store.instances.intervals(), cost.day_start(now), now), now)
    alerts = tuple(alert.text for alert in session.store.samples.alerts() if alert.key.startswith(KEY))
    rate = sum(each.usd_per_hour or 0.0 for each in shown)
    return InstanceList(shown, unknown, rate, float(today.total), alerts)


@operation("vast", "vast cost", "read", method="cost")
def cost_report(
    session: Session, *, by: By = "job", since: float | str | None = None, charges: bool = False
) -> CostReport:
    """Show what rented machines cost: by job, day, pool, user or project.

    Args:
        by: What to add up by.
        since: Only what was spent within this time (24h, 7d).
        charges: Ask the provider, too, what it charged for them.
    """
    now = time.time()
    start = None if since is None else now - quantities.seconds(since, "--since")
    intervals = session.store.instances.intervals(since=start)
    if start is not None:
        intervals = cost.since(intervals, start, now)
    keys = {"job": cost.job, "day": cost.day, "pool": cost.pool, "user": cost.user, "project": cost.project}
    found = cost.by(intervals, now, keys[by])
    rows = tuple(
        CostRow(key, float(c.gpu), float(c.disk), float(c.transfer), float(c.total), c.unknown)
        for key, c in sorted(found.items(), key=lambda item: (item[0] is None, item[0] or ""))
    )
    aside = sum(row.dollars for row in session.store.instances.reservations())
    charged = _charged(session, start or 0.0, now) if charges else None
    return CostReport(by, start, rows, float(cost.of(intervals, now).total), aside, charged)


def pool_named(session: Session, name: str) -> Pool:
    """A pool of the settings. Raises UsageError for a name that they lack."""
    pools = session.config.pools
    if name not in pools:
        there = f" (there are {', '.join(sorted(pools))})" if pools else ""
        step = None if pools else "stoker.yml has no pools: docs/rented.md says how one looks"
        raise UsageError(f"there is no pool {name!r}{there}.{near(name, pools)}", next_step=step)
    return pools[name]


def seen_by(look: Look) -> Look:
    """A look that brought a list. Raises ProviderError for one that did not."""
    if look.problem is not None:
        raise look.problem
    return look


def strangers(session: Session, look: Look) -> tuple[Unknown, ...]:
    """What a complete list has and no row of the store stands for."""
    rows: list[InstanceRow] = session.store.instances.all(live=False)
    prices = {one["id"]: one.get("dph_total") for one in look.listed}
    plan = reap.plan(look.listed, rows, session.store.instances.store_id())
    return tuple(
        Unknown(each.provider_id, each.label, each.what, each.why, _dollars(prices[each.provider_id]))
        for each in plan
        if each.what != "known"
    )


def _charged(session: Session, start: float, end: float) -> float:
    from stoker.operations.rented_provider import provider

    own = {f"instance-{row.provider_id}" for row in session.store.instances.all(live=False)}
    rows = provider().charges(start, end)
    return float(sum(float(row.get("amount") or 0.0) for row in rows if row.get("source") in own))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dollars(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
