"""A run in few words, as a plain value. This module costs nothing to import."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.analysis.findings import RunCheck
from stoker.analysis.values import MetricSummary, PerStep, RunInfo


@dataclass(frozen=True)
class RunSummary:
    """A run in few words. `text` is what is shown, `tokens` what it costs by `stoker.analysis.thin.tokens`.

    `metrics` are those that fitted into `budget`, the most important first; `left_out` counts the others. `check` is
    the verdict, whose sentences and advice the text begins with as far as they fit. `read_at` is when it was read (Unix
    seconds, this machine's clock).
    """

    info: RunInfo
    metrics: tuple[MetricSummary, ...]
    per_step: tuple[PerStep, ...]
    left_out: int
    check: RunCheck
    last_step: float | None
    last_time: float | None
    skipped: dict[str, int]
    remarks: tuple[str, ...]
    budget: int
    tokens: int
    read_at: float
    text: str
