"""Curves for a picture: as few points as a screen can tell apart, with the extremes of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.model import Metric, Run
from stoker.analysis.naming import chosen
from stoker.analysis.values import Direction
from stoker.analysis.words import better, importance

# A report of all curves together has no more points than this, and a curve no fewer than that.
MOST_POINTS, _FEWEST = 250_000, 50
_MOST_ODD = 100


@dataclass(frozen=True)
class Curve:
    """One metric of run number `run`. `indexes` of its points are drawn; `odd` of them are no finite numbers."""

    run: int
    metric: Metric
    indexes: tuple[int, ...]
    odd: int


@dataclass(frozen=True)
class Panel:
    """One metric of all runs that have it."""

    name: str
    label: str
    group: str
    direction: Direction | None
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Panels:
    """What a report draws: at most `points_per_curve` points of each curve, and the names that found no room."""

    panels: tuple[Panel, ...]
    points_per_curve: int
    drawn: int
    total: int
    left_out: tuple[str, ...]


def panels(runs: Sequence[Run], keys: Sequence[str], points: int) -> Panels:
    """The metrics of these runs, the most important first; `keys` says which, `points` how many of a curve at most.

    Raises NotThere for a key that no run has.
    """
    known = dict.fromkeys(name for run in runs for name in run.metrics)
    where = runs[0].info.title if len(runs) == 1 else f"none of {len(runs)} runs"
    names = chosen(keys, known, where)
    if not keys:
        names.sort(key=lambda name: (importance(name), name))
    having = {
        name: [at for at, run in enumerate(runs) if name in run.metrics and len(run.metrics[name])] for name in names
    }
    names = [name for name in names if having[name]]
    kept: list[str] = []
    curves = 0
    for name in names:
        if (curves + len(having[name])) * _FEWEST > MOST_POINTS and kept:
            break
        kept.append(name)
        curves += len(having[name])
    each = max(_FEWEST, min(points, MOST_POINTS // max(1, curves)))
    made = tuple(_panel(name, runs, having[name], each) for name in kept)
    every = [curve for panel in made for curve in panel.curves]
    drawn, total = sum(len(curve.indexes) for curve in every), sum(len(curve.metric) for curve in every)
    return Panels(made, each, drawn, total, tuple(names[len(kept) :]))


def _panel(name: str, runs: Sequence[Run], having: Sequence[int], each: int) -> Panel:
    first = runs[having[0]]
    curves = []
    for at in having:
        metric = runs[at].metrics[name]
        odd = int((~np.isfinite(metric.values)).sum())
        curves.append(Curve(at, metric, tuple(envelope(metric, each)), odd))
    way = better(name, {key: way for run in runs for key, way in run.directions.items()})
    return Panel(name, first.schema.label(name), first.schema.group(name), way, tuple(curves))


def envelope(metric: Metric, count: int) -> list[int]:
    """The indexes of at most `count` points (8 or more) that look like all of them.

    The first, the last, the lowest and the highest of equal parts (so those of the whole, too), and an eighth at most
    are such as are no finite numbers.
    """
    total = len(metric)
    if total <= count:
        return list(range(total))
    finite = np.isfinite(metric.values)
    odd = np.flatnonzero(~finite)
    room = min(_MOST_ODD, count // 8)
    if len(odd) > room:
        odd = odd[np.linspace(0, len(odd) - 1, room).round().astype(int)]
    parts = max(1, (count - len(odd) - 2) // 2)
    bounds = np.linspace(0, total, parts + 1).round().astype(int)[:-1]
    low = np.where(finite, metric.values, np.inf)
    high = np.where(finite, metric.values, -np.inf)
    picked = {0, total - 1, *odd.tolist()}
    for start, stop in zip(bounds.tolist(), [*bounds[1:].tolist(), total], strict=True):
        if finite[start:stop].any():
            picked.add(start + int(low[start:stop].argmin()))
            picked.add(start + int(high[start:stop].argmax()))
    return sorted(picked)
