"""A curve drawn with characters: two by four dots in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stoker.analysis.errors import AnalysisError
from stoker.analysis.model import Floats, Metric
from stoker.analysis.phrases import number
from stoker.analysis.thin import NOT_FINITE
from stoker.analysis.values import Chart

_BLANK = 0x2800
# The bit of each dot of a character: rows from the top, columns from the left.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_SMALLEST, _LARGEST = (20, 3), (1000, 200)


def draw(metric: Metric, width: int, height: int) -> Chart:
    """The curve of a metric over its steps, at most `width` characters wide, with `height` lines for the curve.

    Every point is in it: where many share a column, from the lowest to the highest. Below the curve `×` marks columns
    with a value that is no finite number. Raises AnalysisError for a size that nothing can be drawn in.
    """
    for size, least, most, name in zip((width, height), _SMALLEST, _LARGEST, ("--width", "--height"), strict=True):
        if not least <= size <= most:
            raise AnalysisError(f"{name}: {size} is not between {least} and {most}")
    finite = metric.finite()
    if not len(finite):
        return Chart(metric.name, None, None, (f"{metric.name} has no finite value",))
    low, high = float(finite.values.min()), float(finite.values.max())
    labels = [number(high), number(low)]
    margin = max(map(len, labels))
    columns = width - margin - 1
    if columns < 2:
        raise AnalysisError(f"--width: {width} leaves no room beside {max(labels, key=len)}")
    grid = _dots(metric, finite, low, high, columns, height)
    left = [labels[0], *[""] * (height - 2), labels[1]]
    lines = [f"{label.rjust(margin)}|{line.rstrip(chr(_BLANK))}" for label, line in zip(left, grid, strict=True)]
    odd = _odd_columns(metric, columns)
    if odd.strip():
        lines.append(" " * margin + "|" + odd.rstrip())
    first, last = number(float(metric.steps[0])), number(metric.last_step)
    lines.append(" " * (margin + 1) + first + last.rjust(columns - len(first)))
    return Chart(metric.name, low, high, tuple(lines))


def _places(steps: Floats, metric: Metric, count: int) -> list[int]:
    """In which of `count` columns each step is."""
    first, last = float(metric.steps[0]), metric.last_step
    width = last - first
    places: list[int] = (
        ((steps - first) / width * (count - 1)).round().astype(int).tolist() if width else [0] * len(steps)
    )
    return places


def _dots(metric: Metric, finite: Metric, low: float, high: float, columns: int, height: int) -> list[str]:
    wide, tall = columns * 2, height * 4
    # Halved first: the range of the largest numbers is beyond them.
    span = high / 2 - low / 2
    share = (high / 2 - finite.values / 2) / span if span else np.full(len(finite), 0.5)
    down = (share * (tall - 1)).round().astype(int).tolist()
    bits = [[0] * columns for _ in range(height)]

    def line(x: int, top: int, bottom: int) -> None:
        for y in range(top, bottom + 1):
            bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    before: tuple[int, int] | None = None
    for x, y in dict.fromkeys(zip(_places(finite.steps, metric, wide), down, strict=True)):
        if before is None or before == (x, y):
            line(x, y, y)
        else:
            _join(before, (x, y), line)
        before = (x, y)
    return ["".join(chr(_BLANK + cell) for cell in row) for row in bits]


def _join(start: tuple[int, int], end: tuple[int, int], line: Callable[[int, int, int], None]) -> None:
    """Draw from dot to dot, without a gap."""
    (x0, y0), (x1, y1) = start, end
    previous = y0
    for x in range(x0, x1 + 1):
        y = y1 if x1 == x0 else round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        line(x, min(previous, y), max(previous, y))
        previous = y


def _odd_columns(metric: Metric, columns: int) -> str:
    odd = set(_places(metric.steps[~np.isfinite(metric.values)], metric, columns))
    return "".join(NOT_FINITE if column in odd else " " for column in range(columns))
