"""NaN and infinities in metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis import words
from stoker.analysis.detectors.base import Case, Limits, finding, limit
from stoker.analysis.findings import CannotTell, Finding, Severity


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
        odd = ~np.isfinite(metric.values)
        if not odd.any():
            return []
        nan, share = int(np.isnan(metric.values).sum()), float(odd.mean())
        at_end = len(odd) if odd.all() else int(odd[::-1].argmin())
        stays = at_end >= min(limits.tail, len(odd))
        places = metric.steps[odd]
        gaps = not stays and share >= limits.placeholder and nan == odd.sum()
        severity: Severity = "error" if stays else "info" if gaps else "warning"
        first = float(places[0])
        what = "NaN" if nan == odd.sum() else "Inf" if nan == 0 else "NaN or Inf"
        if stays:
            since = float(metric.steps[len(odd) - at_end])
            says = f"{name} is {what} from step {since:,g} to its end ({at_end:,} values in a row)"
            places = metric.steps[len(odd) - at_end :]
        elif gaps:
            says = f"{name} is NaN in {share:.0%} of its points and goes on: gaps rather than a fault"
        else:
            often = "once" if odd.sum() == 1 else f"{int(odd.sum()):,} times"
            says = f"{name} was {what} {often}, {'' if odd.sum() == 1 else 'first '}at step {first:,g}, and went on"
        evidence = {"nan": nan, "inf": int(odd.sum()) - nan, "share": share, "in_a_row_at_end": at_end}
        confidence = 1.0 if stays else 0.5
        return [
            finding(self, name, severity, confidence, places, says, count=int(odd.sum()), evidence=evidence,
                    limits={"tail": limits.tail, "placeholder": limits.placeholder})
        ]  # fmt: skip
