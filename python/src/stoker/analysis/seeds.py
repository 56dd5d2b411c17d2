"""Runs that differ by their seed alone, put together: mean, deviation, interval, and what they could show."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stoker.analysis.compare import flat
from stoker.analysis.errors import NotThere
from stoker.analysis.forecasts import SeedGroup, SeedReport
from stoker.analysis.intervals import LEVEL, deviation, mean_interval, quantile, smallest_difference
from stoker.analysis.model import Metric, Run
from stoker.analysis.values import Direction
from stoker.analysis.words import better

_SEED = re.compile(r"(^|[._])([a-z_]*seed|random_state)$", re.IGNORECASE)
# What follows from a run's name, and steers nothing. A bare `name` is the run's only where no other thing has it:
# `model.name` and `dataset.version` say what was trained on what.
_NAMES = re.compile(
    r"^((run|experiment)\.)?(name|id|version|timestamp|start_time|hostname)$"
    r"|(^|[._])(output_dir|out_dir|logging_dir|log_dir|save_dir|checkpoint_dir|exp_dir|(run|exp|experiment)_(name|id))$",
    re.IGNORECASE,
)


def by_seed(runs: Sequence[Run], key: str, direction: Direction | None = None) -> SeedReport:
    """The groups of runs with the same settings but for seeds and names, by one metric, the best group first.

    Raises NotThere when no run has the metric.
    """
    having = [run for run in runs if key in run.metrics and len(run.metrics[key].finite())]
    if not having:
        raise NotThere(f"none of the {len(runs)} runs has a finite {key}", next_step="stoker runs keys RUN")
    way = direction or next((way for run in having if (way := better(key, run.directions))), None)
    groups: dict[str, list[Run]] = {}
    unknown = 0
    for run in having:
        if run.info.config:
            groups.setdefault(_settings(run.info.config), []).append(run)
        else:
            unknown += 1
    together = [group for group in groups.values() if len(group) > 1]
    warnings = _warnings(together, unknown)
    differing = _differing([group[0] for group in together])
    made = [_group(group, key, way, differing) for group in together]
    if way is not None:
        made.sort(key=lambda group: group.mean, reverse=way == "max")
    made = [_against(group, made[0], way, first=index == 0) for index, group in enumerate(made)]
    alone = sum(len(group) == 1 for group in groups.values()) + unknown
    return SeedReport(key, way, tuple(made), alone, len(runs) - len(having), _ignored(together), tuple(warnings))


def _settings(config: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in flat(config).items() if not _SEED.search(key) and not _NAMES.search(key)}
    return json.dumps(kept, sort_keys=True, default=str)


def _seed(run: Run) -> str:
    found = {key: value for key, value in flat(run.info.config).items() if _SEED.search(key)}
    return ", ".join(str(value) for value in found.values())


def _ignored(groups: Sequence[Sequence[Run]]) -> tuple[str, ...]:
    """The settings that differ within a group and were taken for names."""
    names = set()
    for group in groups:
        tables = [flat(run.info.config) for run in group]
        for key in {key for table in tables for key in table}:
            if _NAMES.search(key) and len({json.dumps(table.get(key), default=str) for table in tables}) > 1:
                names.add(key)
    return tuple(sorted(names))


def _differing(runs: Sequence[Run]) -> list[str]:
    tables = [flat(run.info.config) for run in runs]
    keys = sorted({key for table in tables for key in table if not _SEED.search(key) and not _NAMES.search(key)})
    return [key for key in keys if len({json.dumps(table.get(key), default=str) for table in tables}) > 1]


def _warnings(groups: Sequence[Sequence[Run]], unknown: int) -> list[str]:
    said = []
    if unknown:
        said.append(f"{unknown} runs have no settings that are known: they are in no group")
    for group in groups:
        seeds = [_seed(run) for run in group]
        if len(set(seeds)) < len(seeds):
            said.append(
                f"{group[0].info.title} and others have one seed or none: {len(set(seeds))} of {len(seeds)} differ"
            )
        going = [
            run.info.title for run in group if run.info.state.name in ("running", "unfinished", "failed", "cancelled")
        ]
        if going:
            said.append(f"not at their end: {', '.join(going)}")
    return said


def _group(runs: Sequence[Run], key: str, way: Direction | None, differing: Sequence[str]) -> SeedGroup:
    metrics = [run.metrics[key].finite() for run in runs]
    step = min(metric.last_step for metric in metrics)
    values = [_value(metric, step) for metric in metrics]
    best = [_best(metric, step, way) for metric in metrics] if way else []
    interval = mean_interval(values)
    std = deviation(values)
    settings = flat(runs[0].info.config)
    return SeedGroup(
        tuple(run.info.id for run in runs), tuple(_seed(run) for run in runs),
        {name: json.dumps(settings.get(name), default=str) for name in differing}, step, tuple(values),
        math.fsum(values) / len(values), std, interval.low if interval else None, interval.high if interval else None,
        math.fsum(best) / len(best) if best else None, deviation(best) if best else None,
        smallest_difference(std, len(values), len(values)), "",
    )  # fmt: skip


def _value(metric: Metric, step: float) -> float:
    """The newest value up to a step."""
    return float(metric.values[int(np.searchsorted(metric.steps, step, side="right")) - 1])


def _best(metric: Metric, step: float, way: Direction) -> float:
    values = metric.values[: int(np.searchsorted(metric.steps, step, side="right"))]
    return float(values.min() if way == "min" else values.max())


def _against(group: SeedGroup, best: SeedGroup, way: Direction | None, *, first: bool) -> SeedGroup:
    if way is None or first or group.std is None or best.std is None:
        return group
    delta, half = group.mean - best.mean, welch(group, best)
    told = abs(delta) > half
    text = f"{delta:+.4g} ± {half:.3g}: {'worse' if told else 'not told apart'}"
    return replace(group, against_best=text)


def welch(a: SeedGroup, b: SeedGroup) -> float:
    """Half of the 95% interval of the difference of two means whose deviations may differ (Welch, Satterthwaite)."""
    assert a.std is not None
    assert b.std is not None
    one, two = a.std**2 / len(a.values), b.std**2 / len(b.values)
    if one + two == 0:
        return 0.0
    free = (one + two) ** 2 / (one**2 / (len(a.values) - 1) + two**2 / (len(b.values) - 1))
    return quantile(0.5 + LEVEL / 2, max(1, int(free))) * math.sqrt(one + two)
