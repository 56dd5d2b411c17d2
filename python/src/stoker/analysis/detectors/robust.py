"""Figures that a few odd points do not move. Everything is vectorised: a million points take a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stoker.analysis.model import Floats

# Of normal noise, the median absolute deviation times this is the standard deviation.
_TO_SIGMA = 1.4826
# The standard error of a median is this times that of a mean.
MEDIAN_ERROR = 1.2533


def spread(values: Floats) -> float:
    """The standard deviation that noise of this median absolute deviation has."""
    return _TO_SIGMA * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def noise(values: Floats) -> float:
    """The noise from point to point, whatever the trend: from differences of neighbours."""
    return spread(np.diff(values)) / float(np.sqrt(2)) if len(values) > 2 else 0.0


@dataclass(frozen=True, eq=False)
class Blocks:
    """A curve in blocks of `size` points, the newest complete; the first block also stands for points before it.

    `median` and `spread` are of each block, `at` is the block of each point, `first` the index where each begins.
    """

    size: int
    median: Floats
    spread: Floats
    at: np.ndarray[tuple[int], np.dtype[np.int64]]
    first: np.ndarray[tuple[int], np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.median)

    @property
    def error(self) -> Floats:
        """The standard error of each median."""
        return np.asarray(MEDIAN_ERROR * self.spread / np.sqrt(self.size))


def blocks(values: Floats, size: int) -> Blocks:
    """`values` in blocks; there have to be at least `size` of them."""
    count = len(values) // size
    start = len(values) - count * size
    parts = values[start:].reshape(count, size)
    median = np.median(parts, axis=1)
    deviation = _TO_SIGMA * np.median(np.abs(parts - median[:, None]), axis=1)
    at = np.maximum(0, (np.arange(len(values)) - start) // size)
    first = np.arange(count) * size + start
    first[0] = 0
    return Blocks(size, median, deviation, at, first)


def neighbours(values: Floats, reach: int = 1) -> Floats:
    """For each value the largest of it and `reach` on either side."""
    wide = np.pad(values, reach, mode="edge")
    return np.asarray(np.max([wide[shift : shift + len(values)] for shift in range(2 * reach + 1)], axis=0))


def in_blocks(values: Floats, count: int, least: int = 1) -> Blocks:
    """`values` in about `count` blocks of at least `least` points."""
    return blocks(values, max(least, len(values) // count))


def line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """(slope, its standard error, value at the last x) of the least-squares line; at least 3 different x."""
    middle = x - x.mean()
    scale = float(np.abs(middle).max())
    if scale == 0 or len(x) < 3:
        return 0.0, float("inf"), float(y.mean())
    middle = middle / scale
    square = float(middle @ middle)
    slope = float(middle @ (y - y.mean())) / square
    rest = y - y.mean() - slope * middle
    error = float(np.sqrt((rest @ rest) / (len(x) - 2) / square))
    return slope / scale, error / scale, float(y.mean() + slope * middle[-1])


def means(values: Floats, count: int) -> Floats:
    """The means of `count` equal parts (the oldest points that are left over count in none)."""
    size = max(1, len(values) // count)
    whole = len(values) // size
    return np.asarray(values[len(values) - whole * size :].reshape(whole, size).mean(axis=1))
