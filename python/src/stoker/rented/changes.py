"""What is written down of an instance around each step: before it leaves, and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from stoker.store.instance_rows import InstanceRow

if TYPE_CHECKING:
    from stoker.rented.lifecycle import Step, Use

# What somebody wants of a machine by hand: that it is there; that it stops, by whoever tends it meanwhile.
START, STOP, DESTROY = "start", "stop", "destroy"
# And what a pool wants of one that exited: that it is there once more, for its results alone.
FETCH = "fetch"


def asking(now: float) -> Mapping[str, Any]:
    """Written before a create leaves: from here on it may be there."""
    return {"phase": "asked", "asked_at": now, "booted_at": now}


def created(provider_id: int) -> Mapping[str, Any]:
    """The provider answered a create with its number."""
    return {"phase": "loading", "provider_id": provider_id, "evidence": f"created as {provider_id}"}


def refused(row: InstanceRow, why: str, now: float, provider_id: int | None = None) -> Mapping[str, Any]:
    """The provider refused a create, in so many words. Where it made an instance all the same, that one is to go."""
    if provider_id is not None:
        return {"phase": "destroying", "provider_id": provider_id, "problem": "refused", "evidence": why}
    if row.phase == "asked" or row.phase == "intended":
        return {"phase": "failed", "problem": "refused", "evidence": why, "ended_at": now}
    return {"problem": "refused", "evidence": why}


def probed(host_key: str) -> Mapping[str, Any]:
    """Its ssh answered with this key."""
    return {"phase": "reachable", "host_key": host_key, "evidence": "ssh answered"}


def provisioned(row: InstanceRow, node: str, now: float) -> Mapping[str, Any]:
    """It takes jobs as `node`."""
    if row.wish == FETCH:
        return {"phase": "pulling", "node": node, "problem": None}
    return {"phase": "ready", "node": node, "ready_at": row.ready_at or now, "idle_since": now, "problem": None,
            **fulfilled(row)}  # fmt: skip


def by_hand(row: InstanceRow) -> bool:
    """Whether somebody wants it though no job waits for it: until it was ready, or is stopped again."""
    return row.wish == START


def end_by_hand(row: InstanceRow) -> Literal["stop", "destroy"] | None:
    """How somebody wants it ended, whatever waits for it: until that is so."""
    return "stop" if row.wish == STOP else "destroy" if row.wish == DESTROY else None


def wished() -> Mapping[str, Any]:
    """Somebody starts it by hand."""
    return {"wish": START}


def unwanted(how: str = STOP) -> Mapping[str, Any]:
    """Somebody stops it by hand, or has it destroyed (`how`)."""
    return {"wish": how}


def fulfilled(row: InstanceRow) -> Mapping[str, Any]:
    """What somebody wanted of it by hand is so."""
    return {"wish": None} if row.wish in (START, STOP, DESTROY) else {}


def looked(row: InstanceRow, use: Use, now: float) -> Mapping[str, Any]:
    """Since when it has no job: kept right at each look."""
    if use.busy or row.phase != "ready":
        return {} if row.idle_since is None else {"idle_since": None}
    return {"idle_since": now} if row.idle_since is None else {}


def pulled(row: InstanceRow) -> Mapping[str, Any]:
    """Results are being fetched from it; no job begins there."""
    return {} if row.phase == "pulling" else {"phase": "pulling"}


def stopping(row: InstanceRow, step: Step) -> Mapping[str, Any]:
    """Written before a stop leaves: nobody wants it by hand any more."""
    return {"phase": "stopping", **fulfilled(row), **({"wish": step.wish} if step.wish is not None else {})}


def starting(row: InstanceRow, step: Step, now: float) -> Mapping[str, Any]:
    """Written before a start leaves; its address will be another. What somebody wants by hand stays."""
    wish = {"wish": step.wish} if step.wish is not None or row.wish == FETCH else {}
    return {"phase": "loading", "booted_at": now, "host": None, "port": None, **wish}


def not_started(before: InstanceRow, why: str, now: float) -> Mapping[str, Any]:
    """The provider did not take a start: it is stopped as it was `before`, its disk is there, and it is asked again.

    Where it was carried out all the same, the next look shows that.
    """
    back = {"phase": before.phase, "phase_since": before.phase_since, "host": before.host, "port": before.port}
    return {**back, "booted_at": before.booted_at, "problem": "refused", "problem_since": now, "evidence": why}


def destroying(row: InstanceRow, now: float, problem: str | None = None) -> Mapping[str, Any]:
    """Written before a destroy leaves; `problem`: what was wrong with it, where the provider did not say it.

    What was never asked for is over at once; what has no number yet is destroyed as soon as it has one.
    """
    if row.phase == "intended":
        return {"phase": "failed", "evidence": "it was not asked for", "ended_at": now}
    wrong = {} if problem is None or row.problem is not None else {"problem": problem}
    if row.provider_id is None:
        return {"destroy_asked_at": now, **wrong}
    return {"phase": "destroying", "destroy_asked_at": now, **wrong}


def released(row: InstanceRow) -> Mapping[str, Any]:
    """Its job is over: it is held for nobody."""
    return {} if row.job is None else {"job": None}
