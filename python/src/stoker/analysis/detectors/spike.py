"""Single points and short stretches of a loss that are far above what is around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Floats


@dataclass(frozen=True)
class SpikeLimits(Limits):
    """What a spike is."""

    points: int = limit(64, "finite points", "five blocks of 8 for a local scale, and room at both ends", least=24)
    sigmas: float = limit(
        8.0, "robust standard deviations above the medians around it",
        "tuned: below 6 heavy-tailed noise raises alarms; Iglewicz and Hoaglin (1993) use 3.5 for normal noise",
    )  # fmt: skip
    mirror: float = limit(
        1.75, "times the largest deviation downwards", "tuned on Student's t with 5 degrees of freedom"
    )
    rise: float = limit(0.02, "least rise, as a share of the level", "tuned: smaller ones do not matter to a training")


class Spike:
    """Robust z of what is above the medians of the blocks before, around and after a point.

    A trend in either direction is above none of the three, so it needs no model. The scale is the largest scaled MAD of
    these blocks. Where the noise has heavy tails the limit is where such tails would put one point in 50 runs, and well
    beyond what there is downwards.
    """

    name = "spike"
    finds = "short rises of a loss far above the noise around them"
    limits = SpikeLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Losses of training."""
        return [name for name in subjects.losses(case.run) if not subjects.is_validation(case.run, name)]

    def look(self, case: Case, name: str, limits: SpikeLimits) -> list[Finding] | CannotTell:
        """All spikes of one metric, as one finding."""
        metric = case.finite(name)
        way = subjects.sign(case.run, name) or 1
        values = way * metric.values
        parts = robust.blocks(values, min(32, max(8, len(values) // 16)))
        level = robust.neighbours(parts.median)[parts.at]
        scale = robust.neighbours(parts.spread)
        smallest = limits.rise * np.abs(robust.neighbours(np.abs(parts.median))) / limits.sigmas
        above = values - level
        z = above / np.maximum(np.maximum(scale, smallest), 1e-300)[parts.at]
        # Noise that is as large downwards is no spike.
        deepest = (robust.neighbours(-parts.median) * -1)[parts.at] - values
        down = float((deepest / np.maximum(np.maximum(scale, smallest), 1e-300)[parts.at]).max())
        least = max(limits.sigmas, _tail(z), limits.mirror * down)
        # What has nothing before it may be the beginning of a fall.
        over = np.flatnonzero((z > least) & (parts.at > 0))
        if not len(over):
            return []
        events = np.split(over, np.flatnonzero(np.diff(over) > parts.size // 2) + 1)
        peaks = np.array([event[z[event].argmax()] for event in events])
        peaks = peaks[np.argsort(-z[peaks])]
        worst = int(peaks[0])
        many = f"{len(events):,} spikes, the worst" if len(events) > 1 else "a spike"
        says = (
            f"{name} has {many} at step {metric.steps[worst]:,g}: {metric.values[worst]:.4g}"
            f" where {way * level[worst]:.4g} is usual ({z[worst]:.0f} sigma)"
        )
        evidence = {
            "value": float(metric.values[worst]), "level": float(way * level[worst]), "sigmas": float(z[worst]),
            "sigma": float(np.maximum(scale, smallest)[parts.at[worst]]), "points": len(over),
            "longest": max(len(event) for event in events),
        }  # fmt: skip
        shown = {"sigmas": least, "rise": limits.rise, "mirror": limits.mirror}
        return [
            finding(self, name, "warning", sure(float(z[worst]) / least), metric.steps[peaks], says,
                    count=len(events), evidence=evidence, limits=shown)
        ]  # fmt: skip


def _tail(z: Floats) -> float:
    """Where one of 50 runs of this length would have a point, if the upper tail goes on as it falls from 80% on."""
    near, far = (float(q) for q in np.quantile(z, (0.8, 0.975)))
    fall = (far - near) / np.log(0.2 / 0.025)
    return far + float(fall * np.log(0.025 * 50 * len(z)))
