"""A loss whose noise grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import subjects
from stoker.analysis.detectors.base import Case, Limits, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding

_BLOCKS = 20


@dataclass(frozen=True)
class InstabilityLimits(Limits):
    """How much noise has to grow."""

    points: int = limit(400, "finite points", "20 blocks of 20: a MAD of 20 points is right to about 20%", least=100)
    growth: float = limit(
        3.0, "times the noise of the quietest stretch before", "tuned: warm restarts double it", least=1.0
    )


class Instability:
    """Noise from point to point, in absolute terms and relative to the level, late against the quietest before."""

    name = "instability"
    finds = "a training loss whose noise grows and stays"
    limits = InstabilityLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Losses of training."""
        return subjects.training_losses(case.run)

    def look(self, case: Case, name: str, limits: InstabilityLimits) -> list[Finding] | CannotTell:
        """Whether one metric became unstable."""
        metric = case.finite(name)
        size = len(metric) // _BLOCKS
        start = len(metric) - size * _BLOCKS
        parts = metric.values[start:].reshape(_BLOCKS, size)
        steps = np.diff(parts, axis=1)
        middle = np.median(steps, axis=1, keepdims=True)
        noise = 1.4826 * np.median(np.abs(steps - middle), axis=1) / np.sqrt(2)
        level = np.abs(np.median(parts, axis=1))
        floor = 1e-9 * max(float(np.abs(metric.values).max()), 1e-300)
        # Two blocks each, so that one odd block is nothing.
        pairs = np.minimum(noise[1:], noise[:-1])
        calm = np.minimum.accumulate(np.maximum(np.maximum(noise[1:], noise[:-1]), floor))
        relative = pairs / np.maximum(np.minimum(level[1:], level[:-1]), floor)
        calm_relative = np.minimum.accumulate(
            np.maximum(noise[1:], noise[:-1]) / np.maximum(np.maximum(level[1:], level[:-1]), floor)
        )
        late = slice(2, None)
        # What went before each pair ends two pairs earlier: blocks of their own.
        growth = np.minimum(pairs[late] / calm[:-2], relative[late] / np.maximum(calm_relative[:-2], 1e-12))
        now = float(growth[-1])
        over = growth > limits.growth
        if now <= limits.growth or not over.any():
            return []
        began = len(over) - int((~over)[::-1].argmax()) if not over.all() else 0
        since = float(metric.steps[start + (began + 2) * size])
        says = f"the noise of {name} has grown {now:.1f} times since step {since:,g}, and stays"
        evidence = {"growth": now, "noise_now": float(pairs[-1]), "noise_before": float(calm[-3])}
        return [
            finding(self, name, "warning", sure(now / limits.growth), (since, metric.last_step), says, count=1,
                    evidence=evidence, limits={"growth": limits.growth})
        ]  # fmt: skip
