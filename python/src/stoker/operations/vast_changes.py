"""Rented machines, changed by hand: rented, stopped, started, destroyed, reaped. What is said is what was shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations import quantities, rented_hosts
from stoker.operations.registry import operation
from stoker.operations.rented_values import InstanceChange, Reaped, instances_of
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.operations.vast import pool_named, seen_by, strangers
from stoker.rented import changes

if TYPE_CHECKING:
    from stoker.operations.rented_needs import Ends
    from stoker.operations.rented_provider import Provider
    from stoker.store.instance_rows import InstanceRow

PATIENCE = "10m"
PAUSE_S = 2.0
_KEPT = ("loading", "reachable", "ready")


@operation("vast", "vast rent", "spend", destroys=True)
def rent(session: Session, pool: str, *, wait: bool = False, patience: float | str = PATIENCE) -> InstanceChange:
    """Rent one machine of a pool now, the best on offer. Without a job it ends after the pool's idle_s.

    A job `--on pool:NAME` rents by itself. Whoever makes rounds (stoker dispatch --loop) tends the machine.

    Args:
        pool: Name of the pool.
        wait: Go on until it takes jobs, or cannot.
        patience: How long to wait for that (10m).
    """
    from stoker.operations.rented_provider import provider
    from stoker.operations.rented_renting import by_hand

    rule, within = pool_named(session, pool), quantities.seconds(patience, "--patience")
    found = provider()
    intent = by_hand(session, found, pool, rule)
    rows, problems = _until(
        session, found, [intent.id], lambda row: row.phase not in ("intended", "asked") and (
            not wait or row.phase == "ready" or row.phase not in _KEPT), within,
    )  # fmt: skip
    [row] = rows
    bad = row.phase in ("intended", "asked", "failed", "destroying", "gone") or (wait and row.phase != "ready")
    if bad and not problems:
        problems = (Problem(row.node, f"{row.label} is {row.phase}: {row.evidence or 'no reason given'}"),)
    return _change(session, rows, [f"{_name(row)} of pool {pool}: {row.phase}; {intent.why}"], True,
                   problems if bad else ())  # fmt: skip


@operation("vast", "vast stop", "spend", destroys=True)
def stop(session: Session, *machines: str, patience: float | str = PATIENCE) -> InstanceChange:
    """Stop machines: their jobs end with time for a checkpoint, results are fetched, then the GPU costs nothing.

    The disk is kept, and costs; the pool's stop_keep_s says how long. One that is stopped is left as it is.

    Args:
        machines: Names of nodes (vast-101), or numbers or ids of instances.
        patience: How long to wait for that (10m).
    """
    return _ended(session, _named(session, machines), "stop", patience)


@operation("vast", "vast destroy", "spend", destroys=True)
def destroy(
    session: Session, *machines: str, all: bool = False, yes: bool = False, patience: float | str = PATIENCE  # noqa: A002
) -> InstanceChange:  # fmt: skip
    """Destroy machines, their disks included: jobs end, results are fetched; said only when the provider shows it.

    Args:
        machines: Names of nodes (vast-101), or numbers or ids of instances.
        all: Every machine of this store.
        yes: With --all: do not ask.
        patience: How long to wait for that (10m).
    """
    if all == bool(machines):
        raise UsageError("which machines?", next_step="stoker vast destroy vast-101, or --all")
    rows = session.store.instances.all() if all else _named(session, machines)
    if all and rows and not yes:
        words = f"destroy {len(rows)}"
        told = ", ".join(_name(row) for row in rows[:5])
        if session.asks is None or session.asks(f"type '{words}' to destroy {told}: ") != words:
            raise UsageError(f"nothing was destroyed: there are {len(rows)} machines ({told})", next_step="--yes")
    return _ended(session, rows, "destroy", patience)


@operation("vast", "vast start", "spend", destroys=True)
def start(session: Session, *machines: str) -> InstanceChange:
    """Start stopped machines again. Their GPUs may be somebody else's by now: then they wait, and it is said.

    Args:
        machines: Names of nodes (vast-101), or numbers or ids of instances.
    """
    from stoker.operations.rented_provider import provider
    from stoker.operations.rented_tending import Turn

    rows = _named(session, machines)
    for row in rows:
        if row.phase not in ("stopped", *_KEPT):
            raise UsageError(f"{_name(row)} is {row.phase}: it cannot be started")
    found, problems = provider(), list[Problem]()
    for row in rows:
        if row.phase == "stopped":
            held = session.store.instances.change(row, changes.wished()) or row
            problems += Turn(session, None, time.time, {}).begin(found, held)
    after = [session.store.instances.get(row.id) or row for row in rows]
    told = [f"{_name(row)}: {row.phase}" for row in after]
    return _change(session, after, told, any(row.phase == "stopped" for row in rows), tuple(problems))


@operation("vast", "vast reap", "spend", destroys=("plan",))
def reap(session: Session, *, plan: bool = False, patience: float | str = PATIENCE) -> Reaped:
    """Destroy what the provider bills with a label of this store and no row stands for. Others' machines are left.

    Args:
        plan: Only show what would be done.
        patience: How long to wait until the provider shows them gone (10m).
    """
    from stoker.operations.rented_look import look, look_at
    from stoker.operations.rented_provider import ProviderError, provider

    found, end = provider(), time.monotonic() + quantities.seconds(patience, "--patience")
    planned = strangers(session, seen_by(look(found)))
    doomed = [each.provider_id for each in planned if each.what == "destroy"]
    done: list[int] = []
    problems: list[Problem] = []
    for number in () if plan else doomed:
        try:
            found.destroy(number)
            while look_at(found, number).there:
                if time.monotonic() > end:
                    raise StokerError(f"instance {number} is still there: it may be billed")
                time.sleep(PAUSE_S)
            done.append(number)
        except (ProviderError, StokerError) as problem:
            problems.append(Problem(None, problem.message, problem.next_step))
    return Reaped(planned, tuple(done), plan, tuple(problems))


def _ended(
    session: Session, rows: Sequence[InstanceRow], how: Literal["stop", "destroy"], patience: float | str
) -> InstanceChange:
    from stoker.operations.rented_provider import provider

    within = quantities.seconds(patience, "--patience")
    goal = ("stopped", "gone", "failed") if how == "stop" else ("gone", "failed")
    for row in rows:
        if row.phase == "stopped" and how == "stop":
            session.store.instances.change(row, changes.fulfilled(row))  # it is not started again
    left = [row for row in rows if row.phase not in goal]
    if not left:
        told = [f"{_name(row)} is {row.phase} already" for row in rows] or ["there is no rented machine"]
        return _change(session, rows, told, False)
    ends: Ends = {row.id: how for row in left}
    found = provider()
    for row in left:
        if _own(found, row):
            # Also when nobody waits for it here any more. Asking whose it is may have taken a while.
            session.store.instances.change(session.store.instances.get(row.id) or row, changes.unwanted(how))
    _, problems = _until(session, found, [row.id for row in left], lambda row: row.phase in goal, within, ends)
    after = [session.store.instances.get(row.id) or row for row in rows]
    missed = [row for row in after if row.phase not in goal]
    late = tuple(Problem(row.node, f"{_name(row)} is {row.phase}, not yet {how}{'p' if how == 'stop' else ''}ed: "
                         f"{row.evidence or 'no reason given'}", "stoker vast list") for row in missed)  # fmt: skip
    return _change(session, after, [f"{_name(row)}: {row.phase}; {row.evidence}" for row in after], True,
                   (*late, *problems) if missed else ())  # fmt: skip


def _own(found: Provider, row: InstanceRow) -> bool:
    """Whether this key may end it; where nobody can say that now, whoever can carries the wish out."""
    from stoker.operations.rented_look import Look
    from stoker.operations.rented_provider import ProviderError

    try:
        return Look(time.time(), account=found.account()).mine(row)
    except ProviderError:
        return True


def _until(
    session: Session, found: Provider, ids: Sequence[str], reached: Callable[[InstanceRow], bool], within_s: float,
    ends: Ends | None = None,
) -> tuple[list[InstanceRow], tuple[Problem, ...]]:  # fmt: skip
    """Turns, and rounds for the jobs there, until these machines are as they should be, or the patience is over."""
    from stoker.operations.rented_tending import tend
    from stoker.operations.results import fetch
    from stoker.operations.rounds import make_round

    end = time.monotonic() + within_s
    while True:
        tended = tend(session, asked=found, ends=ends, rent=False)
        rows = [row for row in (session.store.instances.get(each) for each in ids) if row is not None]
        if all(reached(row) for row in rows) or time.monotonic() > end:
            return rows, tended.problems
        if session.progress is not None:
            session.progress(", ".join(f"{_name(row)} {row.phase}" for row in rows[:4]))
        there = {row.node for row in rows if row.node is not None}
        if jobs := [
            job.id for job in session.store.jobs(states=("starting", "running", "queued")) if job.node in there
        ]:
            make_round(session, "dispatch", jobs=jobs)
        fetch(session)
        time.sleep(PAUSE_S)


def _named(session: Session, machines: Sequence[str]) -> list[InstanceRow]:
    """The machines that are meant: by node, by the provider's number, by id. Raises NotFound."""
    if not machines:
        raise UsageError("which machines?", next_step="stoker vast list shows them")
    rows, found = session.store.instances.all(live=False), []
    for name in machines:
        number = name.removeprefix("vast-")
        fits = [row for row in rows if row.id == name or (number.isdigit() and row.provider_id == int(number))]
        if not fits:
            raise NotFound(f"there is no rented machine {name!r}", next_step="stoker vast list --all")
        found.append(fits[-1])
    return found


def _name(row: InstanceRow) -> str:
    return row.node or (f"vast-{row.provider_id}" if row.provider_id is not None else row.label)


def _change(
    session: Session, rows: Sequence[InstanceRow], told: Sequence[str], changed: bool,
    problems: tuple[Problem, ...] = (),
) -> InstanceChange:  # fmt: skip
    if session.progress is not None:
        session.progress("")
    rented_hosts.renew(session)
    return InstanceChange(instances_of(session, rows), tuple(told), changed, problems)
