# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One metric in bounded room: exact figures of all of its points, and these points, or bins of them and the newest.

It grows by what is new, and gives the same whether the points came at once or one by one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from ..log_metrics import to_json
from .columns import Columns, packed, unpacked

# So many points are kept whole; beyond, bins are, and the newest points.
WHOLE, TAIL, BINS = 4096, 256, 256
# Points that are no finite number: so many are told one by one.
ODD = 64
# Of a bin. Steps and values of its lowest and highest point, its mean, and its last point.
BIN = ("points", "min_step", "min", "max_step", "max", "mean", "last_step", "last")
# What a point, a row of bins and the figures of a metric cost in an answer, in bytes, roughly.
_POINT, _BIN, _FIGURES = 13, 60, 300
_LEAST_BINS, _LEAST_TAIL = 8, 16
_FIGURE_NAMES = ("count", "nan", "inf", "mean", "m2", "first", "last", "final", "min", "max", "ended_odd", "backwards",
                 "stride", "time")  # fmt: skip


class Digest:
    """The points of one metric so far. `keep` is how many are kept whole (None: all of them).

    `count` counts all points, `nan` and `inf` those that are no finite number; `min`, `max`, `first` and `last` are
    finite points [step, value], `final` the last one, whatever it is. `mean` and `m2` (the sum of squared distances
    from it) are of the finite ones. `odd` has the first points that are no finite number, `ended_odd` is how many of
    them the metric ends with, and since which step. `backwards` counts steps that are smaller than the one before.
    """

    def __init__(self, keep: int | None = WHOLE) -> None:
        self.keep = keep
        self.count = self.nan = self.inf = self.backwards = 0
        self.mean = self.m2 = 0.0
        self.first: list[float] | None = None
        self.last: list[float] | None = None
        self.final: list[float] | None = None
        self.min: list[float] | None = None
        self.max: list[float] | None = None
        self.time: float | None = None
        self.odd: list[list[float]] = []
        self.ended_odd: list[float] = [0, 0.0]
        self.steps, self.values, self.times = array("d"), array("d"), array("d")
        self.stride = 0  # 0: every point is here
        self.bins: list[list[float]] = []

    @property
    def whole(self) -> bool:
        """Whether every point is here."""
        return self.stride == 0

    def add(self, steps: Iterable[float], values: Iterable[float], times: Iterable[float] | None) -> None:
        """Add points, in the order in which they were written."""
        for step, value, time in zip(steps, values, times if times is not None else _none()):
            self._figures(step, value, time)
            self.steps.append(step)
            self.values.append(value)
            self.times.append(time)
            if self.stride:
                self._bin(step, value)
                if len(self.values) >= 2 * TAIL:
                    self._cut()
            elif self.keep is not None and len(self.values) > self.keep:
                self.stride = max(1, self.keep // (BINS // 2))
                for old_step, old_value in zip(self.steps, self.values):
                    self._bin(old_step, old_value)
                self._cut()

    def _figures(self, step, value, time):
        if self.final is not None and step < self.final[0]:
            self.backwards += 1
        self.final = [step, value]
        self.count += 1
        if math.isfinite(time):
            self.time = time
        if not math.isfinite(value):
            self.nan += math.isnan(value)
            self.inf += math.isinf(value)
            if len(self.odd) < ODD:
                self.odd.append([step, value])
            self.ended_odd = [self.ended_odd[0] + 1, self.ended_odd[1] if self.ended_odd[0] else step]
            return
        self.ended_odd = [0, 0.0]
        point = self.last = [step, value]
        self.first = self.first or point
        if self.min is None or value < self.min[1]:
            self.min = point
        if self.max is None or value > self.max[1]:
            self.max = point
        apart = value - self.mean
        self.mean += apart / (self.count - self.nan - self.inf)
        self.m2 += apart * (value - self.mean)

    def _bin(self, step, value):
        """Put a finite point into the newest bin. Bins are merged in pairs when there are too many."""
        if not math.isfinite(value):
            return
        if not self.bins or self.bins[-1][0] >= self.stride:
            if len(self.bins) >= BINS:
                self.bins = halved(self.bins)
                self.stride *= 2
            self.bins.append([0, step, value, step, value, value, step, value])
        one = self.bins[-1]
        one[0] += 1
        if value < one[2]:
            one[1:3] = step, value
        if value > one[4]:
            one[3:5] = step, value
        one[5] += (value - one[5]) / one[0]
        one[6:] = step, value

    def _cut(self):
        self.steps, self.values, self.times = self.steps[-TAIL:], self.values[-TAIL:], self.times[-TAIL:]

    # -- to the answer, and to the file beside the job ----------------------------------------------------------

    def report(self, columns: Columns, room: int | None) -> dict[str, Any]:
        """The figures, and the places of its columns; at most about `room` bytes of them (None: all there is)."""
        told = self._told()
        whole = self.whole and (room is None or len(self.values) * _POINT + _FIGURES <= max(room, 2 * _FIGURES))
        kept = None if whole or room is None else max(_LEAST_TAIL, min(TAIL, room // 3 // _POINT))
        told["whole"] = whole
        told["odd"] = [[step, to_json(value)] for step, value in self.odd]
        bins: list[list[float]] = []
        if not whole:
            bins = self._all_bins()
            most = BINS if room is None else max(_LEAST_BINS, room // 2 // _BIN)
            while len(bins) > most:
                bins = halved(bins)
        told["bins"] = [columns.add(column) for column in zip(*bins)]
        timed = any(math.isfinite(time) for time in self.times)
        cut = slice(None) if kept is None else slice(-kept, None)
        told["steps"], told["values"] = columns.add(self.steps[cut]), columns.add(self.values[cut])
        told["times"] = columns.add(self.times[cut]) if timed else None
        return told

    def _all_bins(self):
        if not self.whole:
            return self.bins
        other = Digest()
        other.stride = max(1, len(self.values) // (BINS // 2))
        for step, value in zip(self.steps, self.values):
            other._bin(step, value)
        return other.bins

    def _told(self):
        told = {name: getattr(self, name) for name in _FIGURE_NAMES}
        told["final"] = None if self.final is None else [self.final[0], to_json(self.final[1])]
        # Sums of the largest numbers are infinite.
        told["mean"], told["m2"] = to_json(self.mean), to_json(self.m2)
        return told

    def state(self) -> dict[str, Any]:
        """What `Digest.of` needs to go on, as JSON has it."""
        kept = {"odd": [[step, to_json(value)] for step, value in self.odd], "bins": self.bins}
        points = {"steps": packed(self.steps), "values": packed(self.values), "times": packed(self.times)}
        return dict(self._told(), keep=self.keep, **kept, **points)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Digest:
        """The digest that gave this state. Raises ValueError, KeyError or TypeError for what is none."""
        made = cls(state["keep"])
        for name in _FIGURE_NAMES:
            setattr(made, name, state[name])
        if made.final is not None:
            made.final = [made.final[0], float(made.final[1])]
        made.mean, made.m2 = float(made.mean), float(made.m2)
        made.odd = [[step, float(value)] for step, value in state["odd"]]
        made.bins = state["bins"]
        made.steps, made.values, made.times = (unpacked(state[name]) for name in ("steps", "values", "times"))
        return made


def halved(bins: list[list[float]]) -> list[list[float]]:
    """Neighbouring bins as one."""
    made = []
    for at in range(0, len(bins), 2):
        one, *more = bins[at : at + 2]
        for other in more:
            points = one[0] + other[0]
            low = one[1:3] if one[2] <= other[2] else other[1:3]
            high = one[3:5] if one[4] >= other[4] else other[3:5]
            mean = one[5] + (other[5] - one[5]) * other[0] / points
            one = [points, *low, *high, mean, *other[6:]]
        made.append(one)
    return made


def _none() -> Iterator[float]:
    while True:
        yield math.nan
