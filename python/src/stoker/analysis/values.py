"""What analysis answers with: plain values. This module costs nothing to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["wandb", "tensorboard", "jsonl", "csv", "trainer_state", "trackio", "mlflow", "neptune", "aim", "log"]
StateName = Literal["finished", "failed", "cancelled", "running", "unfinished", "unknown"]
Direction = Literal["min", "max"]
Better = Literal["a", "b", "same"]


@dataclass(frozen=True)
class State:
    """How a run stands, and how that is known. `exit_code` is that of the last exit record, None without one.

    `unfinished` has no exit record and no process that writes it here; `unknown`: its format records no end.
    """

    name: StateName
    evidence: str
    exit_code: int | None = None


@dataclass(frozen=True)
class Seen:
    """Where and when the run of a job was read: on its node, which answered with `bytes` at `at`.

    `at` is in Unix seconds by this machine's clock, `ahead_s` is how far the node's clock was ahead of it. `full`: all
    points came; otherwise a digest of them. `folder` is the one that the job runs in, `cursor` says where a later
    question goes on. `read_bytes` were new to the node's own digest.
    """

    node: str
    job: str
    attempt: int
    at: float
    ahead_s: float
    bytes: int
    full: bool
    folder: str
    cursor: str
    read_bytes: int


@dataclass(frozen=True)
class Machine:
    """What is known of the job behind a run from outside its files; None where it is not known.

    `alive`: its processes were seen (or proven gone), as `evidence` says. `gpu_percent`: how busy its GPUs are.
    `printed_at` is when it printed last (Unix seconds by the clock that wrote the run's times).
    """

    alive: bool | None = None
    gpu_percent: float | None = None
    evidence: str = ""
    printed_at: float | None = None


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run without reading its metrics. Times are Unix seconds.

    `id` is the writer's own, or where there is none the place of the run relative to the folder that was asked.
    `segments` are its files in order: a resumed run has several. `seen` is for the run of a job, whose files are on
    its node; None: they are here. `facts` is what its writer noted of the machine and
    the code (remote, gpu, gpus, os, python, cuda, program, runtime_s), as far as it did.
    """

    kind: Kind
    id: str
    name: str | None
    project: str | None
    group: str | None
    job_type: str | None
    tags: tuple[str, ...]
    notes: str | None
    host: str | None
    commit: str | None
    state: State
    started_at: float | None
    updated_at: float
    bytes: int
    segments: tuple[str, ...]
    config: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    seen: Seen | None = None

    @property
    def title(self) -> str:
        """The name, else the id."""
        return self.name or self.id


@dataclass(frozen=True)
class Point:
    """A value and its step."""

    step: float
    value: float


@dataclass(frozen=True)
class MetricStats:
    """`count` points, of which `nan` and `inf` are no finite numbers and count in no other figure.

    `last` is the newest finite point, `final` the value logged last, whatever it is. `best` is by `direction` (None
    where the name does not say which way is better and nobody else did). `std` is that of the sample. `at` is when the
    newest point was written (Unix seconds, by the clock of this machine as far as it is known), None where nobody
    wrote it down.
    """

    name: str
    direction: Direction | None
    count: int
    nan: int
    inf: int
    final: float
    first: Point | None
    last: Point | None
    min: Point | None
    max: Point | None
    best: Point | None
    mean: float | None
    std: float | None
    label: str = ""
    format: str | None = None
    at: float | None = None


@dataclass(frozen=True)
class Stability:
    """How a metric moves in its newest `points` finite points (from step `since`).

    `slope_per_1000` is by least squares, in units per 1,000 steps, `slope_error` its standard error, `noise` the
    standard deviation around that line, `percent_per_1000` the slope in percent of the window's mean. `verdict` is
    rising, falling or steady (the slope is not `certainty` standard errors from 0); None with the reason in `unknown`.
    `level` is where a straight line through the window ends, with its 95% interval (None for fewer than 100 points).
    """

    name: str
    points: int
    since: float | None
    mean: float | None
    slope_per_1000: float | None
    slope_error: float | None
    percent_per_1000: float | None
    noise: float | None
    verdict: str | None
    unknown: str | None = None
    certainty: float = 3.0
    level: float | None = None
    level_low: float | None = None
    level_high: float | None = None


@dataclass(frozen=True)
class Row:
    """What was logged at one step, by metric; a metric that was not is not in `values`."""

    step: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class MetricSummary:
    """One metric: its figures, how it moves, and its course as a sparkline."""

    stats: MetricStats
    stability: Stability
    spark: str


@dataclass(frozen=True)
class PerStep:
    """The last values of metrics that are one for each step of a model (`{i}` in the pattern): (i, value) in order."""

    pattern: str
    label: str
    values: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class MetricComparison:
    """One metric in both runs; `a` and `b` are the points that are compared, None with the reason in `unknown`.

    `delta` is b - a, `percent` that in percent of the size of a (None where a is 0 or either is no finite number).
    `better` needs a direction. `best_a`, `best_b` are best ever.
    """

    name: str
    group: str
    direction: Direction | None
    a: Point | None
    b: Point | None
    delta: float | None
    percent: float | None
    better: Better | None
    best_a: Point | None
    best_b: Point | None
    unknown: str | None = None
    label: str = ""
    format: str | None = None


@dataclass(frozen=True)
class ConfigDifference:
    """A setting, `optimizer.lr`; `a_has` and `b_has` tell a setting that is null from one that is not there."""

    key: str
    a: Any
    b: Any
    a_has: bool
    b_has: bool


@dataclass(frozen=True)
class RunComparison:
    """Two runs. `hidden` metrics did not pass the filters; `warnings` say what makes the comparison unfair."""

    a: RunInfo
    b: RunInfo
    a_step: float | None
    b_step: float | None
    metrics: tuple[MetricComparison, ...]
    hidden: int
    config: tuple[ConfigDifference, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RunList:
    """The runs in a folder, the newest last. `read_at`: Unix seconds by this machine's clock.

    `unreadable` has a sentence for each file and folder that may hold one and cannot be read.
    """

    folder: str
    runs: tuple[RunInfo, ...]
    read_at: float
    unreadable: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when something could not be read."""
        return int(bool(self.unreadable))


@dataclass(frozen=True)
class Key:
    """A metric of a run: how many points it has, and up to which step (None without a point)."""

    name: str
    label: str
    group: str
    direction: Direction | None
    count: int
    last_step: float | None


@dataclass(frozen=True)
class RunKeys:
    """The metrics of a run, what is in its files beside them (`skipped`, by reason), and remarks on the reading."""

    info: RunInfo
    keys: tuple[Key, ...]
    skipped: Mapping[str, int]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run, by dotted names."""

    info: RunInfo
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class RunNotes:
    """What a person wrote of a run, and what it printed last."""

    info: RunInfo
    log: tuple[str, ...]


@dataclass(frozen=True)
class RunHistory:
    """Rows of the steps that any of `keys` was logged at; `total` is how many there are without thinning.

    `tokens` is what `text`, these rows as CSV, costs by `stoker.analysis.thin.tokens`.
    """

    info: RunInfo
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    total: int
    tokens: int
    text: str
    formats: Mapping[str, str | None]


@dataclass(frozen=True)
class RunStats:
    """Figures of a run's metrics over all points."""

    info: RunInfo
    metrics: tuple[MetricStats, ...]


@dataclass(frozen=True)
class RunStability:
    """How a run's metrics move in the newest `window` of their points."""

    info: RunInfo
    window: float
    metrics: tuple[Stability, ...]


@dataclass(frozen=True)
class Ranked:
    """A run and one metric of it: its best value ever and its last."""

    info: RunInfo
    best: Point
    final: float


@dataclass(frozen=True)
class Ranking:
    """Runs by their best value of one metric. `without` is how many have no finite value of it."""

    key: str
    direction: Direction
    runs: tuple[Ranked, ...]
    without: int
    left_out: int


@dataclass(frozen=True)
class Chart:
    """The curve of one metric as lines of text; `low` and `high` are its range, None without a finite value."""

    name: str
    low: float | None
    high: float | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class RunChart:
    """Curves of a run, drawn."""

    info: RunInfo
    charts: tuple[Chart, ...]
