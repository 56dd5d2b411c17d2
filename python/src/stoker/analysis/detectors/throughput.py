"""A training that became slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Floats, Metric, Run

_BLOCKS = 20
_LEAST_SIZE = 5


@dataclass(frozen=True)
class ThroughputLimits(Limits):
    """What counts as slower."""

    points: int = limit(100, "finite points, or times of points", "20 blocks of 5", least=100)
    drop: float = limit(0.2, "share of its speed that is lost", "tuned: machines that are shared vary by 10%", most=1.0)
    sigmas: float = limit(5.0, "standard errors of the drop", "tuned", least=1.0)


class ThroughputDrop:
    """Medians of blocks against the usual speed: two or more slow ones in a row, wherever they are.

    Where no metric says how fast it goes, the times of the points do: steps per second of the metric that was logged
    most often.
    """

    name = "throughput_drop"
    finds = "stretches in which a training was slower than it usually is"
    limits = ThroughputLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Speeds and times of steps, else the metric with most times."""
        found = list(subjects.speeds(case.run))
        densest = busiest(case.run)
        return found or ([densest] if densest else [])

    def look(self, case: Case, name: str, limits: ThroughputLimits) -> list[Finding] | CannotTell:
        """Slow stretches by one metric."""
        way = subjects.speeds(case.run).get(name)
        metric = case.finite(name)
        steps, speed = (metric.steps, metric.values) if way else step_rate(metric)
        if way == -1:
            keep = speed > 0
            steps, speed = steps[keep], 1 / speed[keep]
        what = name if way else f"the step rate (by the times of {name})"
        if len(speed) < limits.points:
            return cannot(self, name, f"{len(speed)} points, {limits.points} needed", len(speed), limits.points)
        parts = robust.in_blocks(speed, _BLOCKS, least=_LEAST_SIZE)
        usual = float(np.median(parts.median))
        if usual <= 0:
            return []
        # The first block holds what is done once: compiling, filling caches.
        low = (usual - parts.median) > np.maximum(limits.drop * usual, limits.sigmas * parts.error)
        low[0] = False
        runs = _runs(low)
        longest = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
        if longest[1] - longest[0] < 2:
            return []
        begin, end = longest
        slow = float(np.median(parts.median[begin:end]))
        first = float(steps[parts.first[begin]])
        last = float(steps[-1] if end == len(low) else steps[parts.first[end]])
        lost = 1 - slow / usual
        to = "its end" if end == len(low) else f"step {last:,g}"
        says = f"{what} was {lost:.0%} below its usual {usual:.4g} from about step {first:,g} to {to}"
        error = max(float(parts.error[begin:end].max()), 1e-300)
        evidence = {"usual": usual, "slow": slow, "lost": lost, "stretches": len(runs)}
        confidence = sure(lost / limits.drop, (usual - slow) / error / limits.sigmas)
        return [
            finding(self, name, "warning", confidence, (first, last), says, count=len(runs), evidence=evidence,
                    limits={"drop": limits.drop, "sigmas": limits.sigmas})
        ]  # fmt: skip


def busiest(run: Run) -> str | None:
    """The metric with most points that have a time, None without one."""
    timed = [name for name, metric in sorted(run.metrics.items()) if metric.times is not None and len(metric) > 1]
    return max(timed, key=lambda name: len(run.metrics[name]), default=None)


def step_rate(metric: Metric) -> tuple[Floats, Floats]:
    """Steps per second between neighbouring points: (step of the later one, rate). Where time stands there is none."""
    if metric.times is None or len(metric) < 2:
        return np.empty(0), np.empty(0)
    seconds, steps = np.diff(metric.times), np.diff(metric.steps)
    keep = np.isfinite(seconds) & (seconds > 0) & (steps > 0)
    return metric.steps[1:][keep], steps[keep] / seconds[keep]


def _runs(low: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """Where two or more in a row are low: (first, one after the last)."""
    edges = np.flatnonzero(np.diff(np.r_[0, low.astype(int), 0]))
    pairs = [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    return [(begin, end) for begin, end in pairs if end - begin >= 2]
