"""Leases: until when an attempt surely runs at most, when nobody renews it. Pure, but for `read_clock`.

With policy `move` the node itself ends an attempt whose lease ran out, by its clock since boot, which no setting of the
time changes. A controller promises a moment of that clock, and counts by its own clock since boot:

- A promise never lies further ahead than the lease is long: it is counted from what the node's clock showed in its last
  answer, which is less than it shows now. An order that arrives late promises no more for that.
- The promise is in the store before it is sent. Until it has run out, by a controller's own count since it saw it
  first, the attempt may be alive. A controller that booted since, or another one, begins to count anew.
- To a node that does not answer one more promise is made, and repeated: it gets that in the very round in which it is
  back. So an absence that is shorter than the lease ends nothing, and at most one and a half leases after a node first
  did not answer, all that it was promised has run out.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow, NodeRow

MOVE_S = 600.0
LEAST_S = 5.0
# What a node may need beyond grace and checkpoint to see that a lease ran out, and to end the last process.
MARGIN_S = 10.0
# How much faster one clock may run than the other: twice what time servers are allowed to correct, on both sides.
DRIFT = 0.002
_WORDS = re.compile(r"keep|move(?::(\d+(?:\.\d+)?)([smhd]?))?")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Clock:
    """A reading of a clock that is never set: seconds since a machine booted. `name`: which machine, which boot."""

    name: str
    at: float


def read_clock() -> Clock | None:
    """This machine's clock now; None where it has none that counts sleep and is never set: nothing runs out then."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            boot = handle.read().strip()
        # A container may have an own time.
        return Clock(f"{boot} {os.readlink('/proc/self/ns/time')}", time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return None


@dataclass(frozen=True)
class Lease:
    """What was promised to one attempt with policy `move`.

    `until` is by the node's clock of its boot `boot_id`; None: nothing but `seconds` from when it took the order.
    `since` says from when each controller counts, by the name of its clock. `blind`: the node did not answer when the
    promise was made.
    """

    seconds: float
    until: float | None = None
    boot_id: str | None = None
    since: Mapping[str, float] = field(default_factory=dict)
    blind: bool = False

    def row(self) -> dict[str, Any]:
        """As it is stored with its attempt."""
        return dict(vars(self))

    def spec(self) -> dict[str, Any]:
        """As the attempt's spec says it."""
        return {"policy": "move", "seconds": self.seconds}

    def promise(self) -> dict[str, Any]:
        """The fields of an order that say until when; none where the node's clock is not known."""
        return {} if self.until is None else {"until_boot_s": self.until, "boot_id": self.boot_id}


def read_words(said: str, what: str) -> dict[str, Any]:
    """`keep`, `move` or `move:10m` as a spec has it. Raises UsageError that names `what`."""
    found = _WORDS.fullmatch(said.strip().lower())
    if found is None:
        raise UsageError(f"{what}: {said!r} is no lease", next_step="keep, move, or move:10m")
    if said.strip().lower() == "keep":
        return {"policy": "keep", "seconds": None}
    length = MOVE_S if found[1] is None else float(found[1]) * _UNITS[found[2]]
    if not LEAST_S <= length <= 365 * 86400.0:
        raise UsageError(f"{what}: a lease of {said!r} cannot be kept", next_step=f"{LEAST_S:.0f} s at least: move:10m")
    return {"policy": "move", "seconds": length}


def wanted(job: JobRow, variables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What counts for a new attempt of `job` on a node with these variables. Raises UsageError for a wrong variable."""
    if job.spec.get("lease"):
        found: Mapping[str, Any] = job.spec["lease"]
        return found
    said = variables.get("stoker_lease")
    return None if said is None else read_words(str(said), "stoker_lease")


def lease_of(job: JobRow, attempt: AttemptRow) -> Lease | None:
    """The lease of an attempt; None: nobody has to renew it (policy keep)."""
    kept, spec = attempt.lease, job.spec.get("lease") or {}
    if kept is not None:
        return Lease(**{name: kept[name] for name in Lease.__dataclass_fields__})
    # Read back from its node: nothing is known of it but that somebody has to renew it.
    return Lease(spec["seconds"]) if spec.get("policy") == "move" else None


def begun(seconds: float, node: NodeRow | None, clock: Clock | None) -> Lease:
    """The lease of an attempt that is claimed now."""
    shown = _shown(node, clock)
    # Heard too long ago, or by another controller: the node begins to count when it takes the order.
    if shown is None or clock is None or shown.lag_s > seconds / 4:
        return Lease(seconds)
    return Lease(seconds, shown.at + seconds, shown.boot_id, {clock.name: clock.at})


def kept(lease: Lease, attempt: AttemptRow, node: NodeRow | None, clock: Clock | None) -> Lease:
    """The lease as a round finds or renews it, before it asks the node; less than half of it left: it is renewed."""
    taken = attempt.confirmed_at is not None
    if clock is None or (lease.until is None and not taken):
        return lease
    lease = lease if clock.name in lease.since else replace(lease, since={**lease.since, clock.name: clock.at})
    shown, blind = _shown(node, clock), node is None or node.unreachable_since is not None
    passed = clock.at - lease.since[clock.name]
    fresh = lease.until is not None and passed < lease.seconds / 2
    # To a node that is away: once, and not when it has ended the attempt by now.
    vain = blind and (lease.blind or lease.until is None or passed >= lease.seconds)
    if shown is None or fresh or vain:
        return lease
    until = shown.at + lease.seconds
    if lease.until is not None and lease.boot_id == shown.boot_id and until <= lease.until:
        return lease  # what was heard last is too old to promise more
    return replace(lease, until=until, boot_id=shown.boot_id, since={clock.name: clock.at}, blind=blind)


def surely_over(lease: Lease, job: JobRow, clock: Clock | None) -> bool:
    """Whether the node has ended the attempt by now, or would have if it had lived: nobody promised it more since."""
    if clock is None or clock.name not in lease.since:
        return False
    return clock.at - lease.since[clock.name] > longest_s(lease.seconds, job.spec)


def longest_s(seconds: float, spec: Mapping[str, Any]) -> float:
    """How long after a promise of `seconds` an attempt may still be there, by the clock of a controller."""
    ending = float(spec.get("grace_s", 10.0))
    if spec.get("checkpoint_signal"):
        ending += float(spec.get("checkpoint_grace_s", 30.0))
    return seconds * (1.0 + DRIFT) + ending + MARGIN_S


def reading(facts: Mapping[str, Any], clock: Clock | None) -> dict[str, Any] | None:
    """What a node's answer showed of its clock, and when it came here; None: nothing that could be counted from."""
    boot, shown = (facts.get("boot") or {}).get("boot_id"), facts.get("clock_s")
    if not isinstance(boot, str) or not isinstance(shown, int | float) or clock is None:
        return None
    return {"boot_id": boot, "node_s": float(shown), "here": clock.name, "here_s": clock.at}


@dataclass(frozen=True)
class _Shown:
    """What a node's clock shows now at least, and how much more it may show."""

    boot_id: str
    at: float
    lag_s: float


def _shown(node: NodeRow | None, clock: Clock | None) -> _Shown | None:
    told = node.clock if node is not None else None
    if told is None:
        return None
    passed = clock.at - told["here_s"] if clock is not None and clock.name == told["here"] else -1.0
    if passed < 0:
        return _Shown(told["boot_id"], told["node_s"], math.inf)
    # Its clock may run slower than this one.
    return _Shown(told["boot_id"], told["node_s"] + passed * (1.0 - DRIFT), passed * DRIFT)
