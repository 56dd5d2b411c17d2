"""A run, whatever wrote it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.analysis.schema import Schema
from stoker.analysis.values import Machine, RunInfo

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Figures:
    """Exact figures of all points of a metric of which only some are here.

    `count` points were logged, `nan` and `inf` of them are no finite numbers: the first at step `odd`, and the last
    `ended_odd` ones since step `odd_since`. `first`, `last`, `low` and `high` are finite points (step, value). The
    newest `tail` points are here without a gap. `means` is the course: means of equal numbers of points.
    """

    count: int
    nan: int
    inf: int
    first: tuple[float, float] | None
    last: tuple[float, float] | None
    low: tuple[float, float] | None
    high: tuple[float, float] | None
    final: float
    mean: float | None
    std: float | None
    odd: float | None
    ended_odd: int
    odd_since: float
    tail: int
    means: Floats


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric at full resolution, by step. `times` are Unix seconds, None where nobody wrote them down.

    Values may be NaN or infinite: they were logged. Arrays are read-only and of one length. `files` hold its points,
    `file_of` says which of them each (None: the only one). `figures`: not all points are here, but the lowest, the
    highest and the last of each part, and the newest ones; None: all are.
    """

    name: str
    steps: Floats
    values: Floats
    times: Floats | None = None
    files: tuple[str, ...] = ()
    file_of: NDArray[np.int16] | None = None
    figures: Figures | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def logged(self) -> int:
        """How many points were logged, also where not all of them are here."""
        return len(self.values) if self.figures is None else self.figures.count

    @property
    def last(self) -> float:
        """The value at the newest step."""
        return float(self.values[-1])

    @property
    def last_step(self) -> float:
        """The newest step."""
        return float(self.steps[-1])

    def finite(self) -> Metric:
        """The same without what is no finite number."""
        keep = np.isfinite(self.values)
        if keep.all():
            return self
        times = None if self.times is None else self.times[keep]
        file_of = None if self.file_of is None else self.file_of[keep]
        return Metric(self.name, self.steps[keep], self.values[keep], times, self.files, file_of, self.figures)

    def source(self, first: float | None, last: float | None) -> tuple[str, ...]:
        """The files that hold the points from step `first` to `last` (None: all of them)."""
        if self.file_of is None or first is None or last is None:
            return self.files
        begin, end = np.searchsorted(self.steps, first), np.searchsorted(self.steps, last, side="right")
        return tuple(self.files[index] for index in np.unique(self.file_of[begin:end]))


@dataclass(frozen=True, eq=False)
class Run:
    """A run with everything that its files hold.

    `summary` are the last values as the writer noted them; `directions` which way is better where the schema or the
    writer said; `skipped` counts what is in the files and not in `metrics`, by reason; `remarks` are sentences about
    the reading. `machine` is what is known of the run's job from outside its files.
    """

    info: RunInfo
    metrics: Mapping[str, Metric]
    summary: Mapping[str, Any]
    directions: Mapping[str, str]
    skipped: Mapping[str, int]
    remarks: tuple[str, ...]
    log: tuple[str, ...]
    schema: Schema = field(default_factory=Schema)
    machine: Machine = field(default_factory=Machine)

    def now(self) -> float:
        """The time by the clock that wrote the run's times, in Unix seconds."""
        return time.time() + (self.info.seen.ahead_s if self.info.seen is not None else 0.0)

    @property
    def last_step(self) -> float | None:
        """The newest step of any metric, None without one."""
        return max((metric.last_step for metric in self.metrics.values() if len(metric)), default=None)

    @property
    def last_time(self) -> float | None:
        """When the newest point was logged, by the writer's clock; None where nobody wrote it down."""
        newest = [metric.times[-1] for metric in self.metrics.values() if metric.times is not None and len(metric)]
        finite = [float(time) for time in newest if np.isfinite(time)]
        return max(finite, default=None)
