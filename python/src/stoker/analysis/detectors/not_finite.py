"""NaN and infinities in metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis import words
from stoker.analysis.detectors.base import Case, Limits, finding, limit
from stoker.analysis.findings import CannotTell, Finding, Severity
from stoker.analysis.model import Metric


@dataclass(frozen=True)
class NotFiniteLimits(Limits):
    """From where on values that are no finite number are a fault."""

    points: int = limit(1, "points, finite or not", "one NaN is one NaN", least=1)
    tail: int = limit(3, "values in a row at the end that mean that it does not recover", "convention", least=1)
    placeholder: float = limit(
        0.5, "share of NaN from which on a metric that goes on is one with gaps", "W&B and pandas write NaN for 'none'",
        most=1.0,
    )  # fmt: skip


class NotFinite:
    """Counts what is no finite number, and tells one that is over from one that stays."""

    name = "not_finite"
    finds = "NaN or infinite values"
    limits = NotFiniteLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Everything but figures of the machine."""
        return [name for name in sorted(case.run.metrics) if words.importance(name) < 4]

    def look(self, case: Case, name: str, limits: NotFiniteLimits) -> list[Finding] | CannotTell:
        """All places of one metric."""
        metric = case.run.metrics[name]
        told = metric.figures or _figures(metric)
        total = told.nan + told.inf
        if not total:
            return []
        nan, share, at_end = told.nan, total / told.count, told.ended_odd
        stays = at_end >= min(limits.tail, told.count)
        places = metric.steps[~np.isfinite(metric.values)]
        gaps = not stays and share >= limits.placeholder and nan == total
        severity: Severity = "error" if stays else "info" if gaps else "warning"
        first = float(places[0]) if told.odd is None else told.odd
        what = "NaN" if nan == total else "Inf" if nan == 0 else "NaN or Inf"
        if stays:
            since = told.odd_since
            says = f"{name} is {what} from step {since:,g} to its end ({at_end:,} values in a row)"
            places = places[places >= since]
        elif gaps:
            says = f"{name} is NaN in {share:.0%} of its points and goes on: gaps rather than a fault"
        else:
            often = "once" if total == 1 else f"{total:,} times"
            says = f"{name} was {what} {often}, {'' if total == 1 else 'first '}at step {first:,g}, and went on"
        evidence = {"nan": nan, "inf": told.inf, "share": share, "in_a_row_at_end": at_end}
        confidence = 1.0 if stays else 0.5
        return [
            finding(self, name, severity, confidence, places, says, count=total, evidence=evidence,
                    limits={"tail": limits.tail, "placeholder": limits.placeholder})
        ]  # fmt: skip


@dataclass(frozen=True)
class _Counted:
    """Of a metric with all of its points, what `Figures` has of others."""

    count: int
    nan: int
    inf: int
    odd: float | None
    ended_odd: int
    odd_since: float


def _figures(metric: Metric) -> _Counted:
    odd = ~np.isfinite(metric.values)
    nan, total = int(np.isnan(metric.values).sum()), int(odd.sum())
    at_end = len(odd) if odd.all() else int(odd[::-1].argmin())
    since = float(metric.steps[len(odd) - at_end]) if at_end else 0.0
    return _Counted(len(odd), nan, total - nan, float(metric.steps[odd][0]) if total else None, at_end, since)
