"""What rented machines cost, from the intervals in which they were in one state, in exact dollars.

The provider charges the GPU while a machine runs or is frozen, the disk in every state but offline, and every byte.
Sums are exact fractions and are rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

from stoker.store.instance_rows import IntervalRow

# A state that is not here, such as unknown, is taken to be charged in full.
NO_GPU = ("loading", "stopped", "offline")
NO_DISK = ("offline",)
# The state of each thing that the provider may say of an instance (`module_utils.vast.reading`). Of one that ended by
# itself it does not say what it charges: that is counted in full.
_STATES = {
    "creating": "loading", "loading": "loading", "running": "running", "rebooting": "running", "frozen": "frozen",
    "stopped": "stopped", "outbid": "stopped", "offline": "offline",
}  # fmt: skip
_DAY_S = 86400
_PLACES = Decimal(1).scaleb(-10)
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Cost:
    """Dollars. `unknown` names what is not in them because its rate or amount is not known: they are then a least."""

    gpu: Decimal = Decimal(0)
    disk: Decimal = Decimal(0)
    transfer: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    unknown: tuple[str, ...] = ()

    @property
    def cents(self) -> Decimal:
        """The total, rounded to cents, half a cent up."""
        return self.total.quantize(_CENT, ROUND_HALF_UP)


def state_of(phase: str) -> str:
    """The state of an interval in which the provider says `phase`."""
    return _STATES.get(phase, "unknown")


def may_be_more(state: str) -> bool:
    """Whether a state costs less than one that is not known."""
    return state in NO_GPU or state in NO_DISK


def of(intervals: Iterable[IntervalRow], until: float) -> Cost:
    """What these come to. One that goes on is counted up to `until` (Unix seconds), and none beyond it."""
    gpu = disk = transfer = Fraction(0)
    unknown: dict[str, None] = {}
    for row in intervals:
        hours = _hours(row, until)
        if hours is None:
            continue
        if row.state not in NO_GPU:
            gpu += _times(hours, row.gpu_rate, f"GPU of {row.instance}", unknown)
        if row.state not in NO_DISK:
            disk += _times(hours, row.disk_rate, f"disk of {row.instance}", unknown)
        for amount, rate in ((row.up_gb, row.up_rate), (row.down_gb, row.down_rate)):
            # Where traffic costs nothing it does not matter how much there was.
            if rate != 0 and amount != 0:
                known = _exact(amount) if amount is not None else Fraction(0)
                transfer += _times(known, rate if amount is not None else None, f"transfer of {row.instance}", unknown)
    total = gpu + disk + transfer
    return Cost(_dollars(gpu), _dollars(disk), _dollars(transfer), _dollars(total), tuple(unknown))


def by(
    intervals: Iterable[IntervalRow], until: float, key: Callable[[IntervalRow], str | None]
) -> dict[str | None, Cost]:
    """What they come to for each `key`: `job`, `day`, `pool`, `project` and `user` are ready-made."""
    groups: dict[str | None, list[IntervalRow]] = {}
    for row in intervals:
        for part in days_of(row, until) if key is day else (row,):
            groups.setdefault(key(part), []).append(part)
    return {name: of(rows, until) for name, rows in groups.items()}


def job(row: IntervalRow) -> str | None:
    """The job that it was for; None: it waited for one."""
    return row.job


def pool(row: IntervalRow) -> str | None:
    """The pool of its machine."""
    return row.pool


def project(row: IntervalRow) -> str | None:
    """The project of the job that it was for, or for last."""
    return row.project


def user(row: IntervalRow) -> str | None:
    """Who submitted the job that it was for, or for last."""
    return row.submitted_by


def day(row: IntervalRow) -> str:
    """The day of UTC in which it began."""
    return datetime.fromtimestamp(row.since, UTC).date().isoformat()


def day_start(now: float) -> float:
    """When the day of UTC of that moment began, in Unix seconds."""
    return now - now % _DAY_S


def since(intervals: Iterable[IntervalRow], start: float, until: float) -> list[IntervalRow]:
    """The parts of intervals that lie after `start`."""
    return [part for row in intervals for part in _cut(row, [start], until) if part.since >= start]


def days_of(row: IntervalRow, until: float) -> Iterator[IntervalRow]:
    """An interval, cut at midnight of UTC; its transfer is spread over its time."""
    first = day_start(row.since) + _DAY_S
    end = until if row.until is None else min(row.until, until)
    cuts = []
    while first < end:
        cuts.append(first)
        first += _DAY_S
    yield from _cut(row, cuts, until)


def _cut(row: IntervalRow, cuts: list[float], until: float) -> Iterator[IntervalRow]:
    end = until if row.until is None else min(row.until, until)
    inner = [at for at in cuts if row.since < at < end]
    if not inner:
        yield row
        return
    whole = _exact(end) - _exact(row.since)
    edges = [row.since, *inner, end]
    for start, stop in pairwise(edges):
        share = (_exact(stop) - _exact(start)) / whole
        up_gb, down_gb = _part(row.up_gb, share), _part(row.down_gb, share)
        yield replace(row, since=start, until=stop, up_gb=up_gb, down_gb=down_gb)


def _part(amount: float | None, share: Fraction) -> float | None:
    return None if amount is None else float(_exact(amount) * share)


def _hours(row: IntervalRow, until: float) -> Fraction | None:
    """How long it was before `until`; None: it begins after that."""
    end = until if row.until is None else min(row.until, until)
    return None if row.since > until else max(Fraction(0), _exact(end) - _exact(row.since)) / 3600


def _times(amount: Fraction, rate: float | None, what: str, unknown: dict[str, None]) -> Fraction:
    if rate is None:
        unknown[what] = None
        return Fraction(0)
    return amount * _exact(rate)


def _exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return Fraction(repr(float(number)))


def _dollars(value: Fraction) -> Decimal:
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(_PLACES, ROUND_HALF_UP)
