"""A training loss that rises again and stays up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding

_BLOCKS = 40


@dataclass(frozen=True)
class DivergenceLimits(Limits):
    """How much has to be lost."""

    points: int = limit(100, "finite points", "20 blocks of 5", least=20)
    lost: float = limit(0.5, "share of what it had gained that is lost again", "tuned")
    rise: float = limit(0.25, "or rise, as a share of its best level", "tuned")
    sigmas: float = limit(6.0, "standard errors of the rise", "tuned", least=1.0)


class Divergence:
    """The level of the newest blocks against the best level before: medians, so that spikes do not count."""

    name = "divergence"
    finds = "a training loss that has risen again and stays up"
    limits = DivergenceLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Losses of training that have to fall."""
        return subjects.training_losses(case.run)

    def look(self, case: Case, name: str, limits: DivergenceLimits) -> list[Finding] | CannotTell:
        """Whether one metric diverged."""
        metric = case.finite(name)
        way = subjects.sign(case.run, name) or 1
        parts = robust.in_blocks(way * metric.values, _BLOCKS, least=5)
        levels = parts.median
        best = int(levels[:-1].argmin())
        end = float(min(levels[-2:]))
        low = float(levels[best])
        rise = end - low
        error = float((parts.error[best] ** 2 + max(parts.error[-2:]) ** 2) ** 0.5)
        if best >= len(levels) - 2 or rise <= limits.sigmas * error:
            return []
        gained = max(0.0, float(levels[0]) - low)
        ratios = (
            rise / (limits.lost * gained) if gained else float("inf"),
            rise / (limits.rise * abs(low)) if low else float("inf"),
        )
        # A loss that had gained nothing has nothing to lose: then the rise itself has to be large.
        ratio = max(ratios) if gained > limits.sigmas * error else ratios[1]
        if ratio <= 1:
            return []
        since = float(metric.steps[min(len(metric) - 1, int(parts.first[best]) + parts.size // 2)])
        says = f"{name} has risen from {way * low:.4g} (about step {since:,g}) to {way * end:.4g}, and stays up"
        evidence = {
            "best_level": way * low, "best_step": since, "level_now": way * end, "rise": rise, "gained": gained,
            "sigmas": rise / error if error else float("inf"),
        }  # fmt: skip
        steps = (since, metric.last_step)
        return [
            finding(self, name, "error", sure(ratio, evidence["sigmas"] / limits.sigmas), steps, says, count=1,
                    evidence=evidence,
                    limits={"lost": limits.lost, "rise": limits.rise, "sigmas": limits.sigmas})
        ]  # fmt: skip
