"""What to do when a bid was not enough: bid more within the cap, wait until it wins again, or move elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from stoker.pool_settings import Pool
from stoker.store.instance_rows import InstanceRow


@dataclass(frozen=True)
class Bid:
    """What to do, why, and for `rebid` the new price in dollars per hour."""

    do: Literal["rebid", "wait", "move"]
    why: str
    price: float | None = None


def first(pool: Pool, min_bid: float | None, disk_rate: float) -> float | None:
    """The first bid of a machine, without its disk; None: what wins is above the cap, or not known.

    `pool.bid`, where that wins, else one step above the least that does.
    """
    cap = _gpu_cap(pool, disk_rate)
    if min_bid is None:
        return min(pool.bid, cap) if pool.bid is not None and cap > 0 else None
    wins = _sum(min_bid, pool.bid_step)
    wanted = max(pool.bid or 0.0, min_bid) if pool.bid is not None and pool.bid >= min_bid else wins
    return min(wanted, cap) if cap >= min_bid else None


def decide(row: InstanceRow, min_bid: float | None, pool: Pool, now: float) -> Bid:
    """What to do with an instance that was outbid; `min_bid` is what a bid has to be now, None: not known."""
    since = now - (row.problem_since or row.phase_since)
    cap = _gpu_cap(pool, row.disk_rate or 0.0)
    own = row.price or 0.0
    if min_bid is not None and max(min_bid, own) < cap and (own < min_bid or since > pool.bid_wait_s / 2):
        price = min(cap, _sum(max(min_bid, own), pool.bid_step))
        return Bid("rebid", f"it was outbid at ${own:g}; ${min_bid:g} is asked for now, the cap is ${cap:g}", price)
    if since < pool.bid_wait_s:
        asked = (
            "what is asked for is not known" if min_bid is None else f"${min_bid:g} is asked for, the cap is ${cap:g}"
        )
        return Bid("wait", f"it was outbid at ${own:g}: {asked}; waited for {pool.bid_wait_s - since:.0f} s more")
    return Bid("move", f"it was outbid at ${own:g} for {since:.0f} s, and no bid within ${cap:g} brought it back")


def _gpu_cap(pool: Pool, disk_rate: float) -> float:
    """The cap of a bid: what the price leaves when the disk is paid."""
    return float(max(Decimal(0), Decimal(repr(float(pool.price))) - Decimal(repr(float(disk_rate)))))


def _sum(one: float, other: float) -> float:
    return float(Decimal(repr(float(one))) + Decimal(repr(float(other))))
