"""Pools, as jobs ask for them: which there are, what their jobs get, and why one has no machine for a job now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations.find import near
from stoker.pools import PREFIX, pool_of

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.pool_settings import Pool
    from stoker.store.instance_rows import InstanceRow

_COMING = ("intended", "asked", "loading", "reachable")
_GOING = ("pulling", "stopping", "destroying")


def pool_named(session: Session, target: str | None) -> Pool | None:
    """The pool that a target means; None: it means no pool.

    Raises UsageError for one that the settings lack, DeniedError where the caller may not spend.
    """
    name = pool_of(target)
    if name is None:
        return None
    known = session.config.pools
    if name not in known:
        there = f"the pools are {', '.join(f'{PREFIX}{each}' for each in sorted(known))}" if known else "none is set"
        step = "pools of stoker.yml says what a pool is" if not known else None
        raise UsageError(f"--on {target}: there is no pool {name!r}: {there}.{near(name, known)}", next_step=step)
    if not session.may_spend:
        from stoker.operations.policy import DeniedError

        raise DeniedError(
            f"jobs of {target} run on machines that are paid for, and your role may not spend",
            next_step="ask for the role 'spend'",
        )
    return known[name]


def refuse_too_many(target: str | None, pool: Pool, ranks: int) -> None:
    """Raise UsageError where a pool may never hold so many machines at once."""
    if ranks > pool.max:
        raise UsageError(f"--nodes {ranks}: {target} holds at most {pool.max}", next_step=f"--nodes {pool.max}")


def of_pool(session: Session, pool: Pool | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a job's spec gets of its pool: the variables of its machines, which logins by ssh do not have.

    And, where the pool says so and the job brings a project, that what this needs is installed first. A folder on the
    machine is none: only the machine knows what is in there. Raises UsageError where the project says nowhere what it
    needs.
    """
    if pool is None:
        return {}
    found: dict[str, Any] = {"env": {**pool.env, **(given.get("env") or {})}} if pool.env else {}
    if pool.environment and given.get("snapshot") and not given.get("container"):
        from stoker.operations import environments

        environments.refuse_nothing(session, given)
        found["environment"] = True
    return found


def told(session: Session, said: Mapping[str, str] | None = None) -> dict[str, str]:
    """For each pool of the settings, why it has no machine for a job now; `said` is what whoever rents says of some.

    From the store alone: the provider is not asked.
    """
    pools = session.config.pools
    if not pools:
        return {}
    rows = session.store.instances.all()
    found = {}
    for name, pool in pools.items():
        mine = [row for row in rows if row.pool == name]
        words = (said or {}).get(name) or _standing(mine, pool) or (_nobody(session) if said is None else "renting")
        found[name] = f"pool {name}: {words}"
    return found


def _standing(rows: Iterable[InstanceRow], pool: Pool) -> str | None:
    """How the machines of a pool stand, where that is why there is none for a job; None: there is none at all."""
    rows, now = list(rows), time.time()
    coming = [row for row in rows if row.phase in _COMING]
    if coming:
        first = min(coming, key=lambda row: row.created_at)
        minutes = (now - first.created_at) / 60
        problem = f", {first.problem}" if first.problem else ""
        since = f"{minutes:.0f} min" if minutes >= 1 else f"{max(0.0, now - first.created_at):.0f} s"
        return f"renting ({len(rows)} of {pool.max}, {_word(first)}{problem} for {since})"
    stopped = [row for row in rows if row.phase == "stopped"]
    if stopped:
        first = stopped[0]
        minutes = (now - (first.problem_since or first.phase_since)) / 60
        return f"{first.node or first.label} is {first.problem or 'stopped'} for {minutes:.0f} min"
    if len(rows) >= pool.max and rows:
        ending = sum(1 for row in rows if row.phase in _GOING)
        return f"all {len(rows)} of {pool.max} are in use" + (f", {ending} of them about to end" if ending else "")
    return None


def _word(row: InstanceRow) -> str:
    return {"intended": "about to be asked for", "asked": "asked for", "reachable": "being set up"}.get(
        row.phase, row.phase
    )


def _nobody(session: Session) -> str:
    """Whether anybody makes rounds in which machines are rented."""
    leader = next((row for row in session.store.dispatchers.list() if row.leader), None)
    if leader is not None and session.store.dispatchers.there(leader.id):
        return f"waits for the next round of {leader.id} on {leader.host}"
    return "nobody makes rounds: stoker dispatch --loop"
