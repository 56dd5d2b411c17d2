"""One metric in figures, over all of its points."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from stoker.analysis.intervals import level_interval
from stoker.analysis.model import Figures, Floats, Metric
from stoker.analysis.schema import Schema
from stoker.analysis.values import Direction, MetricStats, Point, Stability
from stoker.analysis.words import better

# What a slope needs before it says anything.
LEAST_POINTS = 10
_SURE = 3.0


def stats(metric: Metric, directions: Mapping[str, str], schema: Schema | None = None) -> MetricStats:
    """The figures of a metric; `directions` is what was said of which way is better, `schema` names and formats it."""
    way = better(metric.name, directions)
    schema = schema or Schema()
    at = _written(metric)
    named = (schema.label(metric.name), schema.format(metric.name), at)
    if metric.figures is not None:
        return _of_figures(metric.name, metric.figures, way, named)
    finite = metric.finite()
    values, steps = finite.values, finite.steps
    nan = int(np.isnan(metric.values).sum())
    common = (metric.name, way, len(metric), nan, len(metric) - len(values) - nan, metric.last)
    if not len(values):
        return MetricStats(*common, None, None, None, None, None, None, None, *named)

    def point(index: int) -> Point:
        return Point(float(steps[index]), float(values[index]))

    low, high = point(int(values.argmin())), point(int(values.argmax()))
    best = {"min": low, "max": high, None: None}[way]
    # Sums of the largest numbers, and squares of them, would be infinite.
    scale = max(abs(low.value), abs(high.value)) or 1.0
    scaled = values / scale
    std = float(scaled.std(ddof=1)) * scale if len(values) > 1 else None
    return MetricStats(*common, point(0), point(-1), low, high, best, float(scaled.mean()) * scale, std, *named)


def _of_figures(
    name: str, told: Figures, way: Direction | None, named: tuple[str, str | None, float | None]
) -> MetricStats:
    def point(of: tuple[float, float] | None) -> Point | None:
        return None if of is None else Point(*of)

    low, high = point(told.low), point(told.high)
    best = {"min": low, "max": high, None: None}[way]
    return MetricStats(
        name, way, told.count, told.nan, told.inf, told.final, point(told.first), point(told.last), low, high, best,
        told.mean, told.std, *named,
    )  # fmt: skip


def _written(metric: Metric) -> float | None:
    """When the newest point was written, None where nobody wrote it down."""
    if metric.times is None or not len(metric) or not np.isfinite(metric.times[-1]):
        return None
    return float(metric.times[-1])


def stability(metric: Metric, window: float = 0.2) -> Stability:
    """How a metric moves in the newest `window` (a share of its points, at least 10 of them)."""
    finite = metric.finite()
    total = len(finite) if metric.figures is None else metric.figures.count - metric.figures.nan - metric.figures.inf
    if total < LEAST_POINTS:
        why = f"cannot tell: {total} finite point{'s' * (total != 1)}, {LEAST_POINTS} needed"
        return Stability(metric.name, total, None, None, None, None, None, None, None, why)
    count = max(LEAST_POINTS, round(total * window))
    if metric.figures is not None and count > min(metric.figures.tail, len(finite)):
        why = f"cannot tell: the newest {metric.figures.tail:,} of {total:,} points are here; --full brings all"
        return Stability(metric.name, total, None, None, None, None, None, None, None, why)
    steps, values = finite.steps[-count:], finite.values[-count:]
    scale = float(np.abs(values).max()) or 1.0
    fit = _line(steps, values / scale)
    mean = float((values / scale).mean()) * scale
    if fit is None:
        why = "cannot tell: all points are at one step"
        return Stability(metric.name, count, float(steps[0]), mean, None, None, None, None, None, why)
    slope, error, noise = (figure * scale for figure in fit)
    if not math.isfinite(slope * 1000) or not math.isfinite(error * 1000):
        why = "cannot tell: its numbers are too large to be reckoned with"
        return Stability(metric.name, count, float(steps[0]), mean, None, None, None, None, None, why)
    percent = slope * 1000 / abs(mean) * 100 if mean else None
    verdict = "steady" if abs(slope) <= _SURE * error or slope == 0 else "rising" if slope > 0 else "falling"
    level = level_interval(steps, values / scale)
    ends = (None,) * 3 if level is None else tuple(end * scale for end in (level.value, level.low, level.high))
    return Stability(
        metric.name, count, float(steps[0]), mean, slope * 1000, error * 1000, percent, noise, verdict, None, _SURE,
        *ends,
    )  # fmt: skip


def _line(steps: Floats, values: Floats) -> tuple[float, float, float] | None:
    """(slope, its standard error, standard deviation around it) by least squares; None where all steps are one."""
    x = steps - steps.mean()
    widest = float(np.abs(x).max())
    if widest == 0:
        return None
    # Steps as shares of the window: squares of very large ones would be infinite, of very small ones 0.
    x = x / widest
    spread = float(x @ x)
    y = values - values.mean()
    slope = float(x @ y) / spread
    rest = y - slope * x
    noise = float(np.sqrt((rest @ rest) / max(1, len(x) - 2)))
    return slope / widest, noise / float(np.sqrt(spread)) / widest, noise
