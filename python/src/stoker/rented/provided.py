"""What the provider showed of an instance, and what that makes of its row: facts only, no decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.rented import changes
from stoker.store.instance_rows import InstanceRow

# A create that was carried out is in every complete list that was asked for this much later, in seconds. Only then does
# its absence prove that it was not.
SETTLE_S = 120.0
# How long a machine that was started may still be shown as stopped; after that its GPUs are somebody else's.
START_S = 60.0
# What the provider says of one that cannot run a job, and does not mend by itself; `offline` may come back.
BROKEN = ("exited", "failed", "offline", "unknown", "frozen", "absent")
_RUNS = ("reachable", "ready", "pulling")


@dataclass(frozen=True)
class Seen:
    """What one look at the provider, which began at `at` (Unix seconds), showed of one instance.

    `phase` is what `module_utils.vast.reading` made of it, `absent`: a complete list lacks it, or `gone`: asked for it
    by its number, the provider said that there is none. A look that failed shows nothing, and is no `Seen` at all.
    `address` is where it can be reached, `min_bid` what a bid has to be now, `twins` are others with its label.
    """

    at: float
    phase: str
    evidence: str
    provider_id: int | None = None
    address: tuple[str, int] | None = None
    min_bid: float | None = None
    gpu_rate: float | None = None
    disk_rate: float | None = None
    twins: tuple[int, ...] = ()

    @property
    def there(self) -> bool:
        """Whether the provider has it."""
        return self.phase not in ("absent", "gone")


def observed(row: InstanceRow, seen: Seen | None, now: float) -> dict[str, Any]:
    """What changes in the row by what was seen of it; nothing, where the provider could not be asked (None)."""
    if seen is None or (row.phase == "intended" and not seen.there):
        return {}
    if not row.live and seen.at <= (row.ended_at or row.phase_since):
        return {}  # what was seen before it was over says nothing against that
    new = _there(row, seen, now) if seen.there else _not_there(row, seen, now)
    return {name: value for name, value in new.items() if getattr(row, name) != value}


def settled(row: InstanceRow, at: float) -> bool:
    """Whether a complete list asked for at that moment shows the instance, if its create was ever carried out."""
    return row.asked_at is not None and at >= row.asked_at + SETTLE_S


def _not_there(row: InstanceRow, seen: Seen, now: float) -> dict[str, Any]:
    if not row.live:
        return {}
    if row.provider_id is None:
        if row.phase != "asked" or not settled(row, seen.at):
            return {}
        waited = seen.at - (row.asked_at or seen.at)
        return _over("failed", f"{waited:.0f} s after it was asked for, the provider lists none with its label", now)
    # What was asked to go may be gone at once; what was just made may not be shown yet.
    if seen.phase == "gone" and (row.destroy_asked_at is not None or settled(row, seen.at)):
        by_itself = {} if row.destroy_asked_at is not None else _problem(row, "gone", now)
        return {**_over("gone", seen.evidence, now), **by_itself}
    if seen.phase == "absent" and row.phase != "destroying" and settled(row, seen.at):
        return {"evidence": seen.evidence, **_problem(row, "absent", now)}
    return {}


def _there(row: InstanceRow, seen: Seen, now: float) -> dict[str, Any]:
    new: dict[str, Any] = {"seen_at": seen.at, "evidence": seen.evidence, **_rates(seen)}
    if row.provider_id is None:
        new["provider_id"] = seen.provider_id
    if not row.live:
        # It was proven never to have been, or to be gone, and is there: nobody else will end it.
        new |= {"phase": "destroying", "ended_at": None, "destroy_asked_at": None}
        return {**new, **_problem(row, "back", now)}
    if row.phase == "destroying":
        return new
    if row.phase in ("intended", "asked") and row.destroy_asked_at is not None:
        return {**new, "phase": "destroying", "destroy_asked_at": None}
    if row.phase in ("intended", "asked"):
        new |= {"phase": "loading", "booted_at": row.booted_at or row.asked_at or now}
    phase = new.get("phase", row.phase)
    if seen.phase in ("stopped", "outbid"):
        if phase == "loading" and row.ready_at is not None and row.booted_at is not None:
            taken = now - row.booted_at >= START_S
            return {**new, "phase": "stopped", **_problem(row, "taken", now)} if taken else new
        if phase != "stopped":
            new |= {"phase": "stopped"}
        if row.wish == changes.STOP:
            new |= changes.fulfilled(row)  # else it would never be started again
        # Whoever asked for the stop knows; otherwise somebody else took the machine, or stopped it.
        return {**new, **({} if phase in ("stopping", "stopped") else _problem(row, seen.phase, now))}
    if phase == "stopping":
        return new
    if phase == "stopped" and seen.phase in ("running", "loading", "creating", "rebooting"):
        return {**new, "phase": "loading", "booted_at": now, "host": None, "port": None, **_problem(row, None, now)}
    if seen.phase in BROKEN:
        return {**new, **_problem(row, seen.phase, now)}
    if seen.phase == "running" or row.problem != "taken":
        new |= _problem(row, None, now)
    if seen.phase == "running" and seen.address is not None and seen.address != (row.host, row.port):
        new |= {"host": seen.address[0], "port": seen.address[1]}
        if phase in _RUNS:
            # Another address is another start of it, of which nothing is proven yet; its key stays pinned.
            new |= {"phase": "loading", "booted_at": now}
    return new


def _rates(seen: Seen) -> Mapping[str, Any]:
    found = {"gpu_rate": seen.gpu_rate, "disk_rate": seen.disk_rate}
    return {name: rate for name, rate in found.items() if rate is not None}


def _problem(row: InstanceRow, problem: str | None, now: float) -> Mapping[str, Any]:
    if row.problem == problem:
        return {}
    return {"problem": problem, "problem_since": None if problem is None else now}


def _over(phase: str, evidence: str, now: float) -> dict[str, Any]:
    return {"phase": phase, "evidence": evidence, "ended_at": now}
