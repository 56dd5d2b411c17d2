"""One metric in figures, over all of its points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stoker.analysis.model import Floats, Metric
from stoker.analysis.values import MetricStats, Point, Stability
from stoker.analysis.words import better

# What a slope needs before it says anything.
LEAST_POINTS = 10
_SURE = 3.0


def stats(metric: Metric, directions: Mapping[str, str]) -> MetricStats:
    """The figures of a metric; `directions` is what the writer said of which way is better."""
    way = better(metric.name, directions)
    finite = metric.finite()
    values, steps = finite.values, finite.steps
    nan = int(np.isnan(metric.values).sum())
    common = (metric.name, way, len(metric), nan, len(metric) - len(values) - nan, metric.last)
    if not len(values):
        return MetricStats(*common, None, None, None, None, None, None, None)

    def at(index: int) -> Point:
        return Point(float(steps[index]), float(values[index]))

    low, high = at(int(values.argmin())), at(int(values.argmax()))
    best = {"min": low, "max": high, None: None}[way]
    # Sums of the largest numbers, and squares of them, would be infinite.
    scale = max(abs(low.value), abs(high.value)) or 1.0
    scaled = values / scale
    std = float(scaled.std(ddof=1)) * scale if len(values) > 1 else None
    return MetricStats(*common, at(0), at(-1), low, high, best, float(scaled.mean()) * scale, std)


def stability(metric: Metric, window: float = 0.2) -> Stability:
    """How a metric moves in the newest `window` (a share of its points, at least 10 of them)."""
    finite = metric.finite()
    total = len(finite)
    if total < LEAST_POINTS:
        why = f"cannot tell: {total} finite point{'s' * (total != 1)}, {LEAST_POINTS} needed"
        return Stability(metric.name, total, None, None, None, None, None, None, None, why)
    count = max(LEAST_POINTS, round(total * window))
    steps, values = finite.steps[-count:], finite.values[-count:]
    scale = float(np.abs(values).max()) or 1.0
    fit = _line(steps, values / scale)
    mean = float((values / scale).mean()) * scale
    if fit is None:
        why = "cannot tell: all points are at one step"
        return Stability(metric.name, count, float(steps[0]), mean, None, None, None, None, None, why)
    slope, error, noise = (figure * scale for figure in fit)
    percent = slope * 1000 / abs(mean) * 100 if mean else None
    verdict = "steady" if abs(slope) <= _SURE * error or slope == 0 else "rising" if slope > 0 else "falling"
    return Stability(
        metric.name, count, float(steps[0]), mean, slope * 1000, error * 1000, percent, noise, verdict
    )  # fmt: skip


def _line(steps: Floats, values: Floats) -> tuple[float, float, float] | None:
    """(slope, its standard error, standard deviation around it) by least squares; None where all steps are one."""
    x = steps - steps.mean()
    spread = float(x @ x)
    if spread == 0:
        return None
    y = values - values.mean()
    slope = float(x @ y) / spread
    rest = y - slope * x
    noise = float(np.sqrt((rest @ rest) / max(1, len(x) - 2)))
    return slope, noise / float(np.sqrt(spread)), noise
