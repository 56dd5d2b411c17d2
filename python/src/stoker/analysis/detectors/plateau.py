"""A loss that has stopped falling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding

_PARTS = 20


@dataclass(frozen=True)
class PlateauLimits(Limits):
    """What counts as still falling."""

    points: int = limit(200, "finite points", "three in each of 20 parts of the window", least=80)
    window: float = limit(0.3, "newest share of the points that is looked at", "tuned", least=0.05, most=0.9)
    gain: float = limit(
        0.01, "gain in the window, as a share of all it gained, below which it is flat",
        "tuned: an exponential has flattened so far at 5 time constants",
    )  # fmt: skip
    schedule: float = limit(
        0.1, "share of its peak to which a learning rate has to fall for a flat end to be meant", "cosine, linear decay"
    )


class Plateau:
    """The slope of the newest window with its error, against the gain of the whole run."""

    name = "plateau"
    finds = "a loss that has stopped falling, though its learning rate has not been taken down"
    limits = PlateauLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Losses that have to fall."""
        return subjects.training_losses(case.run)

    def look(self, case: Case, name: str, limits: PlateauLimits) -> list[Finding] | CannotTell:
        """Whether one metric is flat."""
        metric = case.finite(name)
        way = subjects.sign(case.run, name) or 1
        values = way * metric.values
        count = max(3 * _PARTS, round(len(values) * limits.window))
        window = values[-count:]
        levels = robust.means(window, _PARTS)
        slope, error, _ = robust.line(np.arange(len(levels), dtype=np.float64), levels)
        fall, unsure = -slope * len(levels), 2.1 * error * len(levels)
        whole = robust.in_blocks(values, 40, least=5)
        gained = float(max(whole.median[:2])) - float(np.median(window))
        begin = float(metric.steps[-count])
        never = gained <= 6 * float(np.median(whole.error)) and gained <= 0.02 * abs(float(np.median(window)))
        if fall - unsure > 0 and not never:
            return []
        if _taken_down(case, begin, limits.schedule):
            return []
        least = limits.gain * gained
        evidence = {"fall": fall, "fall_error": unsure, "gained": gained, "level": way * float(np.median(window))}
        shown = {"gain": limits.gain, "window": limits.window}
        if never and abs(fall) <= unsure:
            first = float(metric.steps[0])
            says = f"{name} has not fallen at all: {evidence['level']:.4g} from step {first:,g} on"
            steps = (first, metric.last_step)
            return [finding(self, name, "warning", 0.9, steps, says, count=1, evidence=evidence, limits=shown)]
        if fall + unsure < least:
            says = f"{name} is flat at {evidence['level']:.4g} since step {begin:,g} or before"
            steps = (begin, metric.last_step)
            certain = sure(least / max(fall + unsure, 1e-300))
            return [finding(self, name, "info", certain, steps, says, count=1, evidence=evidence, limits=shown)]
        if fall + unsure < 0:
            return []  # it rises: others tell of that
        hidden = f"the noise hides a fall of {fall + unsure:.3g} in the newest {limits.window:.0%} of the points"
        return cannot(self, name, hidden, len(values))


def _taken_down(case: Case, begin: float, share: float) -> bool:
    """Whether the learning rate fell to a small share of its peak within the window: a flat end is meant then."""
    for rate in subjects.rates(case.run):
        metric = case.finite(rate)
        if len(metric) and metric.last_step >= begin and metric.last <= share * float(metric.values.max()):
            return True
    return False
