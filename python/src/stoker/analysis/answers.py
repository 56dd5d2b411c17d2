"""What the questions over several runs, and the papers made of them, answer with. Costs nothing to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.analysis.values import MetricComparison, Row, RunInfo, Seen, State


@dataclass(frozen=True)
class RunMatch:
    """A run for which a query is true, and what it has of that which was asked for (None: not known)."""

    info: RunInfo
    values: Mapping[str, Any]


@dataclass(frozen=True)
class RunQuery:
    """The runs for which `query` is true, in the order of `runs list`.

    Of `total` runs that were asked it could not be told for `unknown`: they lack what was asked for. `sql` with
    `parameters` is what was asked of the tables in `stoker.analysis.query.TABLES`. `unreadable` has a sentence for each
    run that could not be read. `read_at`: Unix seconds by this machine's clock.
    """

    query: str
    folder: str
    columns: tuple[str, ...]
    runs: tuple[RunMatch, ...]
    total: int
    unknown: int
    sql: str
    parameters: tuple[Any, ...]
    unreadable: tuple[str, ...]
    read_at: float

    @property
    def exit_code(self) -> int:
        """1 when something could not be read."""
        return int(bool(self.unreadable))


@dataclass(frozen=True)
class ReportWritten:
    """A report that was written to `path`. `drawn` of `total` points are in its curves; `left_out` found no room."""

    path: str
    bytes: int
    runs: tuple[RunInfo, ...]
    metrics: int
    drawn: int
    total: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class SchemaProposed:
    """A schema of metrics, `text`; `path` is the file it was written to, None where it was only asked for."""

    text: str
    path: str | None


@dataclass(frozen=True)
class RunCost:
    """What a run cost, in dollars; None with the reason in `unknown` where that cannot be told.

    `seconds` is how long it worked (`how_long` says how that is known), `gpus` how many GPUs it had (`whence`).
    """

    info: RunInfo
    gpus: int | None
    whence: str
    gpu: str | None
    seconds: float | None
    how_long: str
    gpu_hours: float | None
    per_hour: float | None
    cost: float | None
    unknown: str | None


@dataclass(frozen=True)
class RunCosts:
    """What the runs in a folder cost. `total` is of those of which it is known; `unknown` counts the others.

    `unreadable` has a sentence for each run that could not be read.
    """

    folder: str
    runs: tuple[RunCost, ...]
    gpu_hours: float
    total: float
    unknown: int
    unreadable: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when something could not be read."""
        return int(bool(self.unreadable))


@dataclass(frozen=True)
class RunComment:
    """A run as text for GitHub, in Markdown. `unknown` says what of it (commit, repository) nobody wrote down."""

    info: RunInfo
    text: str
    commit: str | None
    commit_url: str | None
    pull_url: str | None
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class RunAlert:
    """Something alarming in what is new.

    `kind` is `not finite`, `finite again`, `restart` (a file was read from its beginning again), or the name of a
    finding in the log; `severity` critical, error, warning or info.
    """

    kind: str
    severity: str
    step: float | None
    text: str


@dataclass(frozen=True)
class RunNews:
    """What is new of a run since the last look.

    `rows` are the new points, at most as many as were asked for, of `total`; `tokens` is what they cost as CSV.
    `cursor` goes on from here, in another process, too. `seen` is for the run of a job: where and when it was read.
    """

    run: str
    title: str
    at: float
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    total: int
    alerts: tuple[RunAlert, ...]
    skipped: Mapping[str, int]
    state: State
    tokens: int
    cursor: str
    seen: Seen | None = None


@dataclass(frozen=True)
class Cause:
    """Something that differs between two runs.

    `kind` is data, setting, code, package, seed, machine, other setting, other package or name. `share` is how much of
    the change other runs would let it explain (1: all of it, below 0: it went the other way there), with what they say
    in `evidence`; None where no other runs differ in it. They may differ in more than this.
    """

    kind: str
    name: str
    a: Any
    b: Any
    share: float | None
    evidence: str | None


@dataclass(frozen=True)
class RunCauses:
    """What may have made two runs differ in a metric, the likeliest first.

    `unknown` is what could not be compared as nobody wrote it down. `asked` other runs have the metric.
    """

    a: RunInfo
    b: RunInfo
    metric: MetricComparison
    causes: tuple[Cause, ...]
    unknown: tuple[str, ...]
    asked: int
