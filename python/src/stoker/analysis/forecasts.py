"""Where runs are going and what chance does to them, as plain values. This module costs nothing to import."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.analysis.values import Direction, RunInfo


@dataclass(frozen=True)
class Projection:
    """The level that a metric will have at `step`, between `low` and `high` in `level` of such cases.

    `backtest` is how many times over its own error the method was wrong on earlier parts of this curve (1 at best).
    """

    metric: str
    step: float
    value: float
    low: float
    high: float
    level: float
    backtest: float
    points: int


@dataclass(frozen=True)
class Idle:
    """A GPU whose use is in the run: `watched_h` hours in which it was sampled, of which it did nothing in `idle_h`."""

    metric: str
    watched_h: float
    idle_h: float
    share: float
    below_percent: float
    source: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """To stop, and the finding that says so: what came after step `since`, in `seconds` (None: unknown), is no use."""

    text: str
    detector: str
    metric: str
    since: float
    seconds: float | None
    evidence: str


@dataclass(frozen=True)
class RunForecast:
    """When a run is done: `remaining_s` seconds after its newest point, between `low_s` and `high_s` in 9 of 10 cases.

    `total_steps` and how it is known; `seconds_per_step` is that of the newest half; `ends_at` Unix seconds by the
    clock of the run; `stopped_s` how long it stood still (a pause 100 times the usual one, and ten minutes at least),
    which is not in the speed. `unknown` says why there is no time. `remark`: why a projection may be off. `asked_at`:
    Unix seconds, this machine's clock.
    """

    info: RunInfo
    last_step: float | None
    total_steps: float | None
    known_by: str
    seconds_per_step: float | None
    remaining_s: float | None
    low_s: float | None
    high_s: float | None
    ends_at: float | None
    stopped_s: float
    unknown: str | None
    projections: tuple[Projection, ...]
    idle: tuple[Idle, ...]
    advice: tuple[Advice, ...]
    remark: str | None
    asked_at: float


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ by their seed alone, and one metric of them, with 95% intervals of the mean (None: one run).

    `values` are the last ones, `best` the best ever; `step` is that of the values, the same for all: the newest that
    every run of the group has reached. `difference` is the least difference to another group of as many runs that
    would be seen in 4 of 5 comparisons. `settings` are those in which the groups differ.
    """

    runs: tuple[str, ...]
    seeds: tuple[str, ...]
    settings: dict[str, str]
    step: float
    values: tuple[float, ...]
    mean: float
    std: float | None
    low: float | None
    high: float | None
    best_mean: float | None
    best_std: float | None
    difference: float | None
    against_best: str


@dataclass(frozen=True)
class SeedReport:
    """The groups of a folder, the best first. `alone` runs have no other of their settings, `without` no metric."""

    key: str
    direction: Direction | None
    groups: tuple[SeedGroup, ...]
    alone: int
    without: int
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]
