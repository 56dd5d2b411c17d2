# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is charged: intervals with a rate, and gigabytes; exact, by the provider's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass
class Interval:
    """So long at so much: ``rate`` in dollars per hour; ``end`` is None while it runs."""

    kind: str
    rate: Decimal
    start: float
    end: float | None = None

    def seconds(self, since: float, until: float) -> Decimal:
        """How much of it lies between the two times."""
        end = until if self.end is None else min(self.end, until)
        return max(Decimal(0), Decimal(str(end)) - Decimal(str(max(self.start, since))))

    def cost(self, since: float, until: float) -> Decimal:
        """Dollars."""
        return self.rate * self.seconds(since, until) / 3600


@dataclass(frozen=True)
class Transfer:
    """So many gigabytes (``bwu`` up, ``bwd`` down) at so much each."""

    kind: str
    gigabytes: Decimal
    rate: Decimal
    at: float

    def cost(self, since: float, until: float) -> Decimal:
        return self.gigabytes * self.rate if since <= self.at <= until else Decimal(0)


@dataclass(frozen=True)
class Bill:
    """Dollars, not rounded."""

    gpu: Decimal
    disk: Decimal
    transfer: Decimal

    @property
    def total(self) -> Decimal:
        return self.gpu + self.disk + self.transfer


@dataclass
class Account:
    """What one instance was charged for."""

    intervals: list[Interval] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    def charge(self, kind: str, rate: Decimal | None, at: float) -> None:
        """From now on at this rate; None: not at all."""
        running = next((one for one in self.intervals if one.kind == kind and one.end is None), None)
        if running is not None and running.rate == rate:
            return
        if running is not None:
            running.end = at
        if rate is not None:
            self.intervals.append(Interval(kind, rate, at))

    def rates(self) -> list[Decimal]:
        """Of what runs now."""
        return [one.rate for one in self.intervals if one.end is None]

    def bill(self, since: float, until: float) -> Bill:
        def of(kind: str) -> Decimal:
            return sum((one.cost(since, until) for one in self.intervals if one.kind == kind), Decimal(0))

        moved = sum((one.cost(since, until) for one in self.transfers), Decimal(0))
        return Bill(of("gpu"), of("disk"), moved)

    def items(self, since: float, until: float) -> list[dict[str, object]]:
        """The lines of the provider's own statement."""
        lines: list[dict[str, object]] = []
        for one in self.intervals:
            hours = one.seconds(since, until) / 3600
            if hours:
                said = f"{hours:.3f} hours at ${one.rate:.3f}/hour"
                end = until if one.end is None else min(one.end, until)
                lines.append(line(one.kind, said, one.cost(since, until), max(one.start, since), end))
        for moved in self.transfers:
            if since <= moved.at <= until:
                said = f"{moved.gigabytes:.3f} GB at ${moved.rate:.4f}/GB"
                lines.append(line(moved.kind, said, moved.gigabytes * moved.rate, moved.at, moved.at))
        return lines


def line(kind: str, said: str, amount: Decimal, start: float, end: float) -> dict[str, object]:
    return {"type": kind, "description": said, "amount": float(amount), "start": start, "end": end}
