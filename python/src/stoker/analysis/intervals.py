"""Intervals by Student's t: of a mean, of the level of a curve, and what difference a number of runs can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.analysis.model import Floats

LEVEL = 0.95
# How many means of neighbouring points stand for a stretch of a curve: noise with a memory shorter than one of them
# does not narrow the interval.
_BATCHES = 20


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it, at `level` (0.95: 95 of 100 such intervals hold the true value)."""

    value: float
    low: float
    high: float
    level: float = LEVEL


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """The interval of a mean of independent values; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    half = quantile(0.5 + level / 2, count - 1) * deviation(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, level)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample of two or more."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def level_interval(steps: Floats, values: Floats, level: float = LEVEL) -> Interval | None:
    """Where a curve stands at the end of a stretch: a line through means of neighbours, and its interval there.

    None for fewer than 5 points in each mean, or when all are at one step.
    """
    size = len(values) // _BATCHES
    if size < 5:
        return None
    used = size * _BATCHES
    y = values[-used:].reshape(_BATCHES, size).mean(axis=1)
    x = steps[-used:].reshape(_BATCHES, size).mean(axis=1)
    width = float(steps[-1] - steps[-used])
    if width <= 0:
        return None
    x, end = (x - x.mean()) / width, (float(steps[-1]) - float(x.mean())) / width
    square = float(x @ x)
    slope = float(x @ (y - y.mean())) / square
    rest = y - y.mean() - slope * x
    sigma = math.sqrt(float(rest @ rest) / (_BATCHES - 2))
    value = float(y.mean()) + slope * end
    half = quantile(0.5 + level / 2, _BATCHES - 2) * sigma * math.sqrt(1 / _BATCHES + end * end / square)
    return Interval(value, value - half, value + half, level)


def smallest_difference(sigma: float, a: int, b: int, *, level: float = LEVEL, power: float = 0.8) -> float | None:
    """The least difference of two means of `a` and `b` runs that would be seen in `power` of such comparisons.

    `sigma` is the standard deviation between runs. None for fewer than three runs in all.
    """
    free = a + b - 2
    if a < 1 or b < 1 or free < 1:
        return None
    return (quantile(0.5 + level / 2, free) + quantile(power, free)) * sigma * math.sqrt(1 / a + 1 / b)


def quantile(p: float, free: int) -> float:
    """The value below which a share `p` of Student's t with `free` degrees of freedom lies, to 8 digits."""
    if not 0 < p < 1 or free < 1:
        raise ValueError(f"there is no quantile {p} of t with {free} degrees of freedom")
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -quantile(1 - p, free)
    low, high = 0.0, 2.0
    while _below(high, free) < p:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, free) < p else (low, middle)
    return (low + high) / 2


def _below(t: float, free: int) -> float:
    """The share of Student's t below t >= 0, by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    if free > 1000:
        # Normal from there on, by a transformation that is right to 8 digits.
        z = math.sqrt((free - 0.5) * math.log1p(t * t / free))
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))
    angle = math.atan(t / math.sqrt(free))
    sine, cosine = math.sin(angle), math.cos(angle)
    total, term = 0.0, cosine if free % 2 else 1.0
    for k in range(1 if free % 2 else 0, free - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    inside = 2 / math.pi * (angle + sine * total) if free % 2 else sine * total
    return 0.5 * (1 + inside)
