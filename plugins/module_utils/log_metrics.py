# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One metric of a log: first, last, extremes, and a series that never grows beyond its bound."""

from __future__ import annotations

import math
from typing import Any

SERIES_LIMIT = 2000
# Room for the last value, the smallest and the largest beside the regular points.
_REGULAR_LIMIT = SERIES_LIMIT - 4


def to_json(value: float) -> float | str:
    """Return a value as JSON can carry it: NaN and the infinities as text."""
    return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class Metric:
    """The values of one metric. `state` is JSON, and `Metric(keep, state)` goes on from it.

    A point is [number of the value, line, value]. Regular points are every `stride`-th value; the stride doubles when
    there are too many, so that the result depends on the values alone and never on when they came.
    """

    def __init__(self, keep: str, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self.keep = keep
        self.count: int = state.get("count", 0)
        self._stride: int = state.get("stride", 1)
        self._points: list[list[Any]] = state.get("points", [])
        self._ends: dict[str, list[Any]] = state.get("ends", {})

    def add(self, line: int, value: float) -> None:
        """Count one value, found in this line."""
        number, shown = self.count, to_json(value)
        self.count += 1
        point = [number, line, shown]
        self._ends["last"] = point
        self._ends.setdefault("first", point)
        if not math.isnan(value):
            for end, better in (("min", value.__lt__), ("max", value.__gt__)):
                if end not in self._ends or better(float(self._ends[end][2])):
                    self._ends[end] = point
        if self.keep == "series" and number % self._stride == 0:
            self._points.append(point)
            if len(self._points) > _REGULAR_LIMIT:
                self._stride *= 2
                self._points = self._points[::2]

    def state(self) -> dict[str, Any]:
        """Return what `Metric(keep, state)` needs to go on."""
        return {"count": self.count, "stride": self._stride, "points": self._points, "ends": self._ends}

    def report(self) -> dict[str, Any]:
        """Return {first, last, min, max, count, series}; series is [[line, value]], null when not asked for."""
        ends = {name: self._ends[name][2] if name in self._ends else None for name in ("first", "last", "min", "max")}
        series = None
        if self.keep == "series":
            points = {point[0]: point for point in [*self._points, *self._ends.values()]}
            series = [points[number][1:] for number in sorted(points)]
        return dict(ends, count=self.count, series=series)
