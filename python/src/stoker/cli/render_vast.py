"""Rented machines on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.rented_values import (
    CostReport,
    Instance,
    InstanceChange,
    InstanceList,
    OfferList,
    Reaped,
    Unknown,
)
from stoker.operations.vast_selftest import SelfTest


def offer_list(value: OfferList, out: Out) -> None:
    """`stoker vast offers`."""
    if not value.offers:
        out.line(fmt.one_line(f"pool {value.pool}: {value.told}"))
        return
    rows = [
        (
            str(offer.id), str(offer.machine or "-"), fmt.one_line(offer.gpu), fmt.one_line(offer.place or "-"),
            dollars(offer.usd_per_hour), f"${offer.usd_per_run:.4f}",
        )
        for offer in value.offers
    ]  # fmt: skip
    out.table(("OFFER", "MACHINE", "GPU", "PLACE", "PER HOUR", "A RUN"), rows)
    out.line(fmt.one_line(f"the first: {value.offers[0].why}"))
    out.line((f"next: stoker vast rent {value.pool}, or stoker run --on pool:{value.pool} -- COMMAND", "dim"))


def instance_list(value: InstanceList, out: Out) -> None:
    """`stoker vast list`."""
    now = time.time()
    if value.instances:
        rows = [_row(each, now) for each in value.instances]
        out.table(("MACHINE", "POOL", "PHASE", "JOB", "HOST", "GPU", "PER HOUR", "SPENT", "JOB ENDS"), rows)
        for each in value.instances:
            if each.problem or each.phase not in ("ready", "gone"):
                out.line((fmt.one_line(f"{name(each)}: {each.evidence or 'nothing is known yet'}"), "dim"))
        out.line(f"{dollars(value.usd_per_hour)} per hour now · ${value.spent_today:.2f} spent today (UTC)")
    else:
        out.line("no machine is rented")
    for alert in value.alerts:
        out.line((fmt.one_line(f"ALERT {alert}"), "red"))
    if value.unknown is not None:
        _unknown(value.unknown, out)


def instance_change(value: InstanceChange, out: Out) -> None:
    """What became of machines."""
    for line in value.told:
        out.line(fmt.one_line(line))
    if value.changed and not value.problems:
        out.line(("next: stoker vast list", "dim"))


def reaped(value: Reaped, out: Out) -> None:
    """`stoker vast reap`."""
    _unknown(value.plan, out)
    for number in value.done:
        out.line(f"{number} is gone: the provider shows it no more")
    if value.planned_only and any(each.what == "destroy" for each in value.plan):
        out.line(("next: stoker vast reap", "dim"))


def cost_report(value: CostReport, out: Out) -> None:
    """`stoker vast cost`."""
    if not value.rows:
        out.line("nothing was spent on rented machines")
    else:
        rows = [
            (fmt.one_line(row.key or "-"), money(row.gpu), money(row.disk), money(row.transfer), money(row.total))
            for row in value.rows
        ]
        out.table((value.by.upper(), "GPU", "DISK", "TRANSFER", "TOTAL"), rows)
        unknown = sorted({each for row in value.rows for each in row.unknown})
        if unknown:
            out.line((fmt.one_line(f"at least: not known is {', '.join(unknown[:5])}"), "yellow"))
    out.line(f"{money(value.total)} in all · {money(value.put_aside)} put aside for machines that are there")
    if value.charged is not None:
        out.line(f"the provider says that it charged {money(value.charged)} for them")


def self_test(value: SelfTest, out: Out) -> None:
    """`stoker vast selftest`."""
    for trial in value.trials:
        mark = "ok    " if trial.ok else "FAILED"
        out.line(fmt.one_line(f"{mark}  {trial.name}, {fmt.duration(trial.elapsed_s)}: {trial.told}"))
    if value.spent is not None:
        out.line(f"{money(value.spent)} spent")


def name(each: Instance) -> str:
    """How a machine is called: its node's name, which it has from the provider's number."""
    return each.node or (f"vast-{each.provider_id}" if each.provider_id is not None else each.id)


def dollars(rate: float | None) -> str:
    """Dollars an hour; `?` where that is not known."""
    return "?" if rate is None else f"${rate:.4f}"


def money(amount: float) -> str:
    """Dollars, to a hundredth of a cent."""
    return f"${amount:.4f}"


def of_job(each: Instance) -> str:
    """One machine of a job, in a line."""
    problem = f" ({each.problem})" if each.problem else ""
    spent = f"{money(each.spent)} spent" + (" at least" if each.spent_unknown else "")
    rate = f", {dollars(each.usd_per_hour)} per hour" if each.ended_at is None else ""
    eta = f", ends in about {fmt.age(each.eta_s)} ({each.eta_from})" if each.eta_s is not None else ""
    return f"{name(each)}  {each.phase}{problem}, {each.gpu}{rate}, {spent}{eta}"


def _row(each: Instance, now: float) -> tuple[str, ...]:
    phase = f"{each.phase} ({each.problem})" if each.problem else each.phase
    ends = "-" if each.eta_s is None else f"in about {fmt.age(each.eta_s)}"
    spent = money(each.spent) + ("+?" if each.spent_unknown else "")
    return (
        name(each), each.pool, f"{phase} {fmt.age(max(0.0, now - each.since))}", each.job or "-",
        fmt.one_line(each.host or "-"), fmt.one_line(each.gpu), dollars(each.usd_per_hour), spent, ends,
    )  # fmt: skip


def _unknown(found: tuple[Unknown, ...], out: Out) -> None:
    if not found:
        out.line("the provider bills nothing else")
        return
    out.line((f"billed by the provider, and unknown to this store: {len(found)}", "yellow"))
    rows = [
        (str(each.provider_id), fmt.one_line(each.label or "-"), dollars(each.usd_per_hour), each.what,
         fmt.one_line(each.why))
        for each in found
    ]  # fmt: skip
    out.table(("NUMBER", "LABEL", "PER HOUR", "REAP DOES", "WHY"), rows)
