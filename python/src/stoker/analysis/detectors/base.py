"""What a detector is, and what it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoker.analysis.findings import CannotTell, Finding, Severity
from stoker.analysis.model import Metric, Run
from stoker.analysis.values import Machine

_SHOWN_STEPS = 20


@dataclass(frozen=True)
class Limits:
    """The limits of a detector. Each field is one; `points` is the least number of finite points it judges by."""

    points: int


@dataclass(frozen=True, eq=False)
class Case:
    """A run, looked at at `now` (Unix seconds by the clock that wrote its times)."""

    run: Run
    now: float
    machine: Machine = field(default_factory=Machine)
    _finite: dict[str, Metric] = field(default_factory=dict, init=False, repr=False)

    def finite(self, name: str) -> Metric:
        """A metric without what is no finite number."""
        if name not in self._finite:
            self._finite[name] = self.run.metrics[name].finite()
        return self._finite[name]


class Detector(Protocol):
    """One kind of fault. `look` is pure: the same case and limits give the same answer."""

    name: str
    finds: str
    limits: type[Any]

    def subjects(self, case: Case) -> Sequence[str]:
        """The metrics that it looks at; an empty name is the run as a whole."""
        ...

    def look(self, case: Case, name: str, limits: Any) -> list[Finding] | CannotTell:
        """What it finds in one of them, which has `limits.points` finite points or more."""
        ...


def limit(default: float, words: str, source: str, *, least: float = 0.0, most: float | None = None) -> Any:
    """A limit that `stoker-metrics.yml` may change: what it is, where its default comes from, and its range."""
    metadata = {"words": words, "source": source, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


def sure(*ratios: float) -> float:
    """The confidence of a finding whose figures are so many times over their limits: the weakest counts."""
    weakest = max(0.0, min(ratios))
    return 1.0 if weakest == float("inf") else round(weakest / (1 + weakest), 3)


def finding(
    detector: Detector, metric: str, severity: Severity, confidence: float, steps: Iterable[float], says: str, *,
    count: int | None = None, evidence: Mapping[str, float | str], limits: Mapping[str, float],
) -> Finding:  # fmt: skip
    """A finding at `steps`, the worst first."""
    places = [float(step) for step in steps]
    first, last = (min(places), max(places)) if places else (None, None)
    return Finding(
        detector.name, metric, severity, confidence, first, last, tuple(places[:_SHOWN_STEPS]),
        len(places) if count is None else count, says, dict(evidence), dict(limits),
    )  # fmt: skip


def cannot(detector: Detector, metric: str, why: str, points: int, needed: int = 0) -> CannotTell:
    """No answer, and why."""
    return CannotTell(detector.name, metric, why, points, needed)
