"""Two runs side by side: final and best values, at the end or at given steps, and how their settings differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stoker.analysis.errors import AnalysisError, NotThere
from stoker.analysis.model import Metric, Run
from stoker.analysis.schema import Schema
from stoker.analysis.statistics import stats
from stoker.analysis.values import (
    Better,
    ConfigDifference,
    Direction,
    MetricComparison,
    MetricStats,
    Point,
    RunComparison,
)
from stoker.analysis.words import group


@dataclass(frozen=True)
class Side:
    """A run, and the step at which it is looked at (None: each metric's last)."""

    run: Run
    step: float | None = None


def compare(
    a: Side, b: Side, *, filters: Sequence[str] = (), groups: Sequence[str] = (), threshold: float = 0.0,
    tolerance: float | None = None,
) -> RunComparison:  # fmt: skip
    """Compare two runs.

    `filters` are parts of names, `groups` what stands before the slash, `threshold` the least change in percent.
    At a step each metric has its nearest point within `tolerance` steps; by default within its own usual distance
    between points, so that a metric that is logged seldom has one. Raises AnalysisError for a step beyond the run.
    """
    for side in (a, b):
        _check_range(side)
    names = list(dict.fromkeys([*a.run.metrics, *b.run.metrics]))
    wanted = [name for name in names if _wanted(name, a.run.schema, filters, groups)]
    if (filters or groups) and not wanted:
        raise NotThere(f"none of the {len(names)} metrics passes the filter", next_step="stoker runs keys RUN")
    compared = [_metric(name, a, b, tolerance) for name in sorted(wanted)]
    kept = [m for m in compared if not threshold or m.percent is None or abs(m.percent) >= threshold]
    return RunComparison(
        a.run.info, b.run.info, a.step, b.step, tuple(kept), len(names) - len(kept),
        tuple(config_difference(a.run.info.config, b.run.info.config)), tuple(_warnings(a, b, kept)),
    )  # fmt: skip


def _wanted(name: str, schema: Schema, filters: Sequence[str], groups: Sequence[str]) -> bool:
    passes = not filters or any(part.lower() in name.lower() for part in filters)
    return passes and (not groups or not {group(name), schema.group(name)}.isdisjoint(groups))


def _check_range(side: Side) -> None:
    if side.step is None:
        return
    first = min((float(m.steps[0]) for m in side.run.metrics.values() if len(m)), default=math.nan)
    last = side.run.last_step
    if last is None:
        raise AnalysisError(f"{side.run.info.title} has no points, so none at step {side.step:g}")
    if not first <= side.step <= last:
        raise AnalysisError(
            f"step {side.step:g} is beyond {side.run.info.title}, which has {first:g} to {last:g}",
            next_step=f"{side.run.info.id}@{last:g}",
        )


def _metric(name: str, a: Side, b: Side, tolerance: float | None) -> MetricComparison:
    schema = a.run.schema
    points: list[Point | None] = []
    figures: list[MetricStats | None] = []
    whys: list[str] = []
    for letter, side in (("A", a), ("B", b)):
        metric = side.run.metrics.get(name)
        point, why = point_at(metric, side.step, tolerance)
        points.append(point)
        if why:
            whys.append(f"{letter}: {why}")
        figures.append(stats(metric, side.run.directions, side.run.schema) if metric is not None else None)
    way = next((f.direction for f in figures if f is not None and f.direction), None)
    one, two = points
    delta, percent, better = _change(one, two, way)
    best = [f.best if f is not None else None for f in figures]
    return MetricComparison(
        name, schema.group(name), way, one, two, delta, percent, better, best[0], best[1], "; ".join(whys) or None,
        schema.label(name), schema.format(name),
    )  # fmt: skip


def point_at(metric: Metric | None, step: float | None, tolerance: float | None) -> tuple[Point | None, str | None]:
    """The point of a metric nearest to `step` (None: its last), or None and why there is none."""
    if metric is None or not len(metric):
        return None, "has no such metric"
    if step is None:
        return Point(metric.last_step, metric.last), None
    after = int(np.searchsorted(metric.steps, step))
    near = min(
        (index for index in (after - 1, after) if 0 <= index < len(metric)),
        key=lambda index: abs(float(metric.steps[index]) - step),
    )
    distance = abs(float(metric.steps[near]) - step)
    usual = float(np.median(np.diff(metric.steps))) if len(metric) > 1 else 0.0
    allowed = usual if tolerance is None else tolerance
    if distance > allowed:
        return None, f"nearest point is {distance:g} steps away, {allowed:g} are allowed"
    return Point(float(metric.steps[near]), float(metric.values[near])), None


def _change(
    a: Point | None, b: Point | None, way: Direction | None
) -> tuple[float | None, float | None, Better | None]:
    if a is None or b is None:
        return None, None, None
    delta = b.value - a.value
    if not math.isfinite(delta):
        return None, None, None
    percent = delta / abs(a.value) * 100 if a.value else None
    if percent is not None and not math.isfinite(percent):
        percent = None
    if way is None:
        return delta, percent, None
    if delta == 0:
        return delta, percent, "same"
    return delta, percent, "b" if (delta < 0) == (way == "min") else "a"


def _warnings(a: Side, b: Side, metrics: Sequence[MetricComparison]) -> list[str]:
    said = []
    apart = [m for m in metrics if m.a is not None and m.b is not None and m.a.step != m.b.step]
    if apart:
        widest = max(apart, key=lambda m: abs(m.a.step - m.b.step) if m.a and m.b else 0)
        assert widest.a is not None
        assert widest.b is not None
        said.append(
            f"{len(apart)} of {len(metrics)} metrics are compared at different steps"
            f" ({widest.name}: {widest.a.step:g} and {widest.b.step:g}); RUN@STEP compares at one step"
        )
    for letter, side in (("A", a), ("B", b)):
        if side.step is None and side.run.info.state.name in ("running", "unfinished"):
            said.append(f"{letter} is {side.run.info.state.name}: its values are not final")
    return said


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names; lists stay whole."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


def config_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[ConfigDifference]:
    """The settings that differ, by name."""
    one, two = flat(a), flat(b)
    return [
        ConfigDifference(key, one.get(key), two.get(key), key in one, key in two)
        for key in sorted({*one, *two})
        if (key in one) != (key in two) or not _same(one[key], two[key])
    ]


def _same(a: Any, b: Any) -> bool:
    """1 and 1.0 are one setting, 1 and true are two."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)
