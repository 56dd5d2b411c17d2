"""Fewer points of a curve, with its extremes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from stoker.analysis.errors import AnalysisError
from stoker.analysis.model import Floats, Metric
from stoker.analysis.values import Row

BARS = "▁▂▃▄▅▆▇"
NOT_FINITE = "×"


def rows(metrics: Sequence[Metric], count: int, budget: int | None = None) -> tuple[list[Row], int]:
    """At most `count` rows of the steps that any of `metrics` has, and how many there are in all.

    Exactly `count` where there are as many. The newest row comes first into the choice, then the oldest, then the
    lowest and highest point of each metric and each that is no finite number, then evenly spread rows.
    `budget` is how many tokens they may cost as CSV; one row is left at least.
    Raises AnalysisError for a count below 1.
    """
    picked, total = _rows(metrics, count)
    names = [metric.name for metric in metrics]
    while budget is not None and len(picked) > 1 and tokens(csv(names, picked)) > budget:
        picked, _ = _rows(metrics, max(1, len(picked) * 3 // 4))
    return picked, total


def _rows(metrics: Sequence[Metric], count: int) -> tuple[list[Row], int]:
    if count < 1:
        raise AnalysisError(f"{count} rows are none", next_step="-n 1 or more")
    if not metrics:
        return [], 0
    steps = np.unique(np.concatenate([metric.steps for metric in metrics]))
    wanted = steps if len(steps) <= count else steps[_choice(steps, metrics, count)]
    out = [Row(float(step), {}) for step in wanted]
    for metric in metrics:
        # The last of two values of one step, as with any mapping.
        at = np.searchsorted(metric.steps, wanted, side="right") - 1
        for row, index, step in zip(out, at, wanted, strict=True):
            if index >= 0 and metric.steps[index] == step:
                row.values[metric.name] = float(metric.values[index])  # type: ignore[index]
    return out, len(steps)


def _choice(steps: Floats, metrics: Sequence[Metric], count: int) -> Floats:
    wanted: dict[int, None] = {len(steps) - 1: None, 0: None}
    for metric in metrics:
        finite = metric.finite()
        ends = [finite.values.argmin(), finite.values.argmax()] if len(finite) else []
        wanted.update(dict.fromkeys(np.searchsorted(steps, [finite.steps[end] for end in ends]).tolist()))
    for metric in metrics:
        odd = metric.steps[~np.isfinite(metric.values)][: count // 4]
        wanted.update(dict.fromkeys(np.searchsorted(steps, odd).tolist()))
    picked = list(wanted)[:count]
    missing = count - len(picked)
    if missing:
        free = np.setdiff1d(np.arange(len(steps)), picked)
        picked += free[((np.arange(missing) + 0.5) * len(free) / missing).astype(int)].tolist()
    return np.array(sorted(picked))


def sparkline(values: Floats, width: int = 12) -> str:
    """The course of a curve in at most `width` characters: means of equal parts, `×` where one holds no finite number.

    A part with a NaN or an infinity shows as `×`, so that a single one is seen. Empty for fewer than 3 points.
    """
    if len(values) < 3 or width < 1:
        return ""
    bounds = np.linspace(0, len(values), min(width, len(values)) + 1).round().astype(int)
    finite = values[np.isfinite(values)]
    # Sums of the largest numbers would be infinite.
    values = values / (float(np.abs(finite).max(initial=0.0)) or 1.0)
    parts = [values[low:high] for low, high in itertools.pairwise(bounds.tolist())]
    means = [float(part.mean()) if np.isfinite(part).all() else float("nan") for part in parts]
    known = [mean for mean in means if np.isfinite(mean)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    span = high - low
    span = span or 1.0
    top = len(BARS) - 1
    return "".join(NOT_FINITE if not np.isfinite(m) else BARS[round((m - low) / span * top)] for m in means)


def tokens(text: str) -> int:
    """How many tokens a text costs a language model, by a stated count that is on the safe side of today's tokenizers.

    Four letters, or three digits, are one; so is every other visible ASCII character, and each line end. Blanks go with
    what follows. Any other character is as many as its UTF-8 has bytes, less one.
    """
    total = letters = digits = 0
    for c in text + "\n":
        if c.isascii() and c.isalpha():
            letters += 1
            if letters % 4 == 1:
                total += 1
            digits = 0
        elif c.isascii() and c.isdigit():
            digits += 1
            if digits % 3 == 1:
                total += 1
            letters = 0
        else:
            letters = digits = 0
            if not c.isascii():
                total += max(1, len(c.encode("utf-8", "replace")) - 1)
            elif c != " ":
                total += 1
    return total - 1


def csv(names: Sequence[str], picked: Sequence[Row]) -> str:
    """The rows as CSV: step, then each metric; empty where it was not logged."""
    import csv as writer
    import io

    out = io.StringIO()
    lines = writer.writer(out, lineterminator="\n")
    lines.writerow(["step", *names])
    for row in picked:
        lines.writerow([f"{row.step:.15g}", *(_cell(row.values.get(name)) for name in names)])
    return out.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
