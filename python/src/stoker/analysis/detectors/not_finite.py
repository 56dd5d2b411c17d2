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
        # What is at the end, and too short to say that it stays, may yet go on: gaps are judged by what is before.
        inner = total - at_end
        gaps = not stays and nan == total and inner > 0 and inner / (told.count - at_end) >= limits.placeholder
        severity: Severity = "error" if stays else "info" if gaps else "warning"
        first = float(places[0]) if told.odd is None else told.odd
        what = "NaN" if nan == total else "Inf" if nan == 0 else "NaN or Inf"
        if stays and at_end == told.count:
            says = f"{name} is {what} from its first value to its end ({_values(at_end)})"
        elif stays:
            since = told.odd_since
            says = f"{name} is {what} from step {since:,g} to its end ({at_end:,} values in a row)"
            places = places[places >= since]
        elif gaps:
            ends = f", also in its newest {at_end:,}" if at_end else " and goes on"
            says = f"{name} is NaN in {share:.0%} of its points{ends}: gaps rather than a fault"
        else:
            says = _passing(name, what, total, first, at_end, told.odd_since, limits.tail)
        evidence = {"nan": nan, "inf": told.inf, "share": share, "in_a_row_at_end": at_end}
        confidence = 1.0 if stays else 0.5
        return [
            finding(self, name, severity, confidence, places, says, count=total, evidence=evidence,
                    limits={"tail": limits.tail, "placeholder": limits.placeholder})
        ]  # fmt: skip


def _passing(name: str, what: str, total: int, first: float, at_end: int, since: float, tail: int) -> str:
    """Of a metric that has not been without a number for long: what is over, and what is not known to be."""
    inner = total - at_end
    often = "once" if inner == 1 else f"{inner:,} times"
    before = f"{name} was {what} {often}, {'' if inner == 1 else 'first '}at step {first:,g}"
    if not at_end:
        return f"{before}, and went on"
    newest = "its newest value" if at_end == 1 else f"its newest {_values(at_end)}"
    doubt = f"whether it goes on is not known ({tail:,} in a row say that it does not)"
    if not inner:
        return f"{name} is {what} since step {since:,g}, in {newest}: {doubt}"
    return f"{before}, and is again since step {since:,g}, in {newest}: {doubt}"


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count:,} values"


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
