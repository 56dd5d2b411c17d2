"""Gradients that vanish or explode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding


@dataclass(frozen=True)
class VanishingLimits(Limits):
    """What is too small."""

    points: int = limit(50, "finite points", "ten in the newest fifth", least=20)
    floor: float = limit(1e-6, "a norm below this is gone", "gradients of fp16 below 6e-8 are 0 (IEEE 754 half)")
    fall: float = limit(1e-3, "share of its early level", "tuned: healthy runs fall to 1% of it")


@dataclass(frozen=True)
class ExplodingLimits(Limits):
    """What is too large."""

    points: int = limit(50, "finite points", "ten in the newest fifth", least=20)
    growth: float = limit(20.0, "times its quiet level, for good", "tuned: healthy runs stay within 10", least=1.0)
    single: float = limit(1000.0, "times its quiet level, once", "Pascanu et al. (2013) clip at some 10 times", least=1)


class Vanishing:
    """The median of the newest fifth against an absolute floor and against the early level."""

    name = "vanishing_gradients"
    finds = "norms of gradients that have gone to nothing"
    limits = VanishingLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Norms of gradients."""
        return subjects.gradients(case.run)

    def look(self, case: Case, name: str, limits: VanishingLimits) -> list[Finding] | CannotTell:
        """Whether one norm vanished."""
        metric = case.finite(name)
        values = np.abs(metric.values)
        count = len(values) // 5
        early, now = float(np.median(values[:count])), float(np.median(values[-count:]))
        least = max(limits.floor, limits.fall * early)
        if now >= least:
            return []
        low = values < least
        began = 0 if low.all() else len(low) - int((~low)[::-1].argmax())
        since = float(metric.steps[min(began, len(low) - count)])
        says = f"{name} has gone from {early:.3g} to {now:.3g} (since about step {since:,g})"
        evidence = {"early": early, "now": now, "share": now / early if early else 0.0}
        confidence = sure(least / now if now else float("inf"))
        return [
            finding(self, name, "warning", confidence, (since, metric.last_step), says, count=1, evidence=evidence,
                    limits={"floor": limits.floor, "fall": limits.fall})
        ]  # fmt: skip


class Exploding:
    """Medians of blocks against the quiet level (the lower quartile of all), and points against what is around them."""

    name = "exploding_gradients"
    finds = "norms of gradients that have grown out of all measure"
    limits = ExplodingLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Norms of gradients."""
        return subjects.gradients(case.run)

    def look(self, case: Case, name: str, limits: ExplodingLimits) -> list[Finding] | CannotTell:
        """Whether one norm exploded."""
        metric = case.finite(name)
        values = np.abs(metric.values)
        parts = robust.in_blocks(values, 20, least=5)
        quiet = float(np.quantile(parts.median, 0.25))
        if quiet == 0:
            return []
        now = float(min(parts.median[-2:]))
        around = np.maximum(robust.neighbours(parts.median), quiet)[parts.at]
        over = np.flatnonzero(values > limits.single * around)
        shown = {"growth": limits.growth, "single": limits.single}
        evidence = {"quiet": quiet, "now": now, "largest": float(values.max()), "growth": now / quiet}
        if now > limits.growth * quiet:
            high = parts.median > limits.growth * quiet
            began = 0 if high.all() else len(high) - int((~high)[::-1].argmax())
            since = float(metric.steps[parts.first[began]])
            says = f"{name} has grown from {quiet:.3g} to {now:.3g} (since about step {since:,g}), and stays"
            confidence = sure(now / quiet / limits.growth)
            steps = (since, metric.last_step)
            return [finding(self, name, "error", confidence, steps, says, count=1, evidence=evidence, limits=shown)]
        if not len(over):
            return []
        over = over[np.argsort(-values[over] / around[over])]
        usual = float(around[over[0]])
        says = f"{name} jumped to {values[over[0]]:.3g} at step {metric.steps[over[0]]:,g}, where {usual:.3g} is usual"
        evidence |= {"usual": usual, "value": float(values[over[0]])}
        confidence = sure(float(values[over[0]]) / usual / limits.single)
        return [
            finding(self, name, "warning", confidence, metric.steps[over], says, evidence=evidence, limits=shown)
        ]  # fmt: skip
