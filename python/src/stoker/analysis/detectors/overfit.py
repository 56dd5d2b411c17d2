"""Validation that gets worse while training gets better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Floats, Metric


@dataclass(frozen=True)
class OverfitLimits(Limits):
    """How much worse validation has to be."""

    points: int = limit(8, "finite points of validation", "three at the best, four after it", least=6)
    rise: float = limit(
        0.02, "how much worse than its best, as a share of the best", "tuned: repeated validations differ by 1%"
    )
    sigmas: float = limit(4.0, "standard errors of the rise after the best", "tuned", least=1.0)


class Overfit:
    """The smoothed best of a validation metric, the trend after it, and the same stretch of its training metric."""

    name = "overfit"
    finds = "validation that gets worse while training gets better"
    limits = OverfitLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Metrics of validation of which it is known which way is better."""
        return subjects.validations(case.run)

    def look(self, case: Case, name: str, limits: OverfitLimits) -> list[Finding] | CannotTell:
        """Whether one metric of validation turned."""
        metric = case.finite(name)
        way = subjects.sign(case.run, name)
        values = way * metric.values
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, 1, mode="edge"), 3), axis=1)
        best = int(smooth.argmin())
        after = values[best + 1 :]
        if len(after) < 4:
            return []
        low = float(smooth[best])
        end = float(np.mean(after[-max(3, len(after) // 4) :]))
        slope, error, _ = robust.line(np.arange(len(after), dtype=np.float64), after)
        # The line may fit by luck: its error is no less than what differs from point to point.
        wobble = _wobble(values)
        least_error = wobble * (12 / len(after) ** 3) ** 0.5
        z = slope / max(error, least_error, 1e-300)
        rise, worse = end - low, (end - low) / max(abs(low), 1e-300)
        lifted = rise / max(wobble * (1 / max(3, len(after) // 4) + 1 / 3) ** 0.5, 1e-300)
        if worse <= limits.rise or min(z, lifted) <= limits.sigmas:
            return []
        since = float(metric.steps[best])
        other = subjects.partner(case.run, name)
        if other is None:
            return cannot(
                self, name, f"it is {worse:.1%} worse than at step {since:,g}, and no training metric is there"
                " to hold against it", len(values),
            )  # fmt: skip
        change = _change(case.finite(other), since, way)
        if change is None:
            return cannot(
                self, name, f"it is {worse:.1%} worse than at step {since:,g}, and {other} has too few points after"
                " that", len(values),
            )  # fmt: skip
        fall, unsure = change
        if fall < -unsure:
            return []  # training gets worse, too: that is another fault
        says = (
            f"{name} is {worse:.1%} worse than at its best ({way * low:.4g} at step {since:,g}),"
            f" while {other} {'goes on getting better' if fall > unsure else 'stays'}"
        )
        evidence = {
            "best": way * low, "best_step": since, "now": way * end, "worse": worse, "sigmas": min(z, lifted),
            "training": other, "training_gain": fall, "training_gain_error": unsure,
        }  # fmt: skip
        confidence = sure(worse / limits.rise, min(z, lifted) / limits.sigmas)
        return [
            finding(self, name, "warning", confidence, (since, metric.last_step), says, count=1, evidence=evidence,
                    limits={"rise": limits.rise, "sigmas": limits.sigmas})
        ]  # fmt: skip


def _wobble(values: Floats) -> float:
    """The noise of validation from point to point: from second differences, which no trend moves."""
    return robust.spread(np.diff(values, n=2)) / 6**0.5


def _change(metric: Metric, since: float, way: int) -> tuple[float, float] | None:
    """How much better a metric of training got after a step, and twice the error; None for fewer than 6 points."""
    values = way * metric.values[metric.steps >= since]
    if len(values) < 6:
        return None
    levels = robust.means(values, 10)
    slope, error, _ = robust.line(np.arange(len(levels), dtype=np.float64), levels)
    return -slope * len(levels), 2 * error * len(levels)
