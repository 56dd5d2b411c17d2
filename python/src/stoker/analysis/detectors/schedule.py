"""A learning rate that does not follow the schedule that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis import planned
from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.detectors.learning_rate import the_rate
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Floats, Metric


@dataclass(frozen=True)
class ScheduleLimits(Limits):
    """How far a rate may be off."""

    points: int = limit(10, "points of the rate", "a shape needs some", least=5)
    off: float = limit(
        0.05, "share of the peak that a point may be off", "logging a step early or late is less", least=0.001
    )
    stretch: float = limit(
        0.02, "share of the points that has to be off in a row", "tuned: the last step alone is no fault", most=1.0
    )


class ScheduleMismatch:
    """The logged rate against constant, linear or cosine with warm-up, as the settings say; and its peak."""

    name = "schedule_mismatch"
    finds = "a learning rate that is not what the settings say"
    limits = ScheduleLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """The learning rate, where the settings say anything of it."""
        config = case.run.info.config
        said = planned.schedule(config) or planned.peak_rate(config)
        return the_rate(case.run) if said else []

    def look(self, case: Case, name: str, limits: ScheduleLimits) -> list[Finding] | CannotTell:
        """The peak first: where that is another one, so is every point."""
        config, rate = case.run.info.config, case.finite(name)
        wrong_peak = self._peak(case, name, rate, limits)
        if wrong_peak:
            return wrong_peak
        named = planned.schedule(config)
        if named is None:
            return []
        if named.kind is None:
            return cannot(self, name, f"{named.key}: {named.name} is no schedule that is known here", len(rate))
        total, warmup = planned.total_steps(config), planned.warmup_steps(config)
        last = rate.last_step
        if named.kind != "constant" and total is None:
            why = f"the settings name the schedule {named.name} and not how many steps it takes"
            return cannot(self, name, why, len(rate))
        if total is not None and last > 1.05 * total.value:
            why = f"step {last:,g} is beyond {total.key} {total.value:,g}: another kind of steps"
            return cannot(self, name, why, len(rate))
        peak = planned.peak_rate(config)
        height = peak.value if peak else float(rate.values.max())
        lowest = planned.lowest_rate(config)
        wanted = expected(
            named.kind, rate.steps, warmup.value if warmup else 0.0, total.value if total else last, height,
            lowest.value if lowest else 0.0,
        )  # fmt: skip
        off = np.abs(rate.values - wanted) / height
        begin, end = _longest(off > limits.off)
        least = max(5, round(limits.stretch * len(rate)))
        if end - begin < least:
            return []
        worst = begin + int(off[begin:end].argmax())
        says = (
            f"{name} does not follow {named.key}: {named.name} from step {rate.steps[begin]:,g} on:"
            f" {rate.values[worst]:.3g} at step {rate.steps[worst]:,g}, {wanted[worst]:.3g} expected"
        )
        evidence: dict[str, float | str] = {
            "at_step": float(rate.steps[worst]), "schedule": named.name,
            "rate": float(rate.values[worst]), "expected": float(wanted[worst]),
            "points_off": end - begin, "warmup_steps": warmup.value if warmup else 0.0,
            **({"total_steps": total.value} if total else {}),
        }  # fmt: skip
        confidence = sure(float(off[worst]) / limits.off, (end - begin) / least)
        return [
            finding(self, name, "warning", confidence, (float(rate.steps[begin]), float(rate.steps[end - 1])), says,
                    count=end - begin, evidence=evidence, limits={"off": limits.off, "stretch": limits.stretch})
        ]  # fmt: skip

    def _peak(self, case: Case, name: str, rate: Metric, limits: ScheduleLimits) -> list[Finding]:
        config = case.run.info.config
        said, warmup = planned.peak_rate(config), planned.warmup_steps(config)
        top = int(rate.values.argmax())
        seen = float(rate.values[top])
        in_warmup = warmup is not None and rate.last_step < warmup.value
        if said is None or seen <= 0:
            return []
        # A peak that was not logged may lie between two points; a higher one was there.
        too_high, too_low = seen > said.value * (1 + limits.off), seen < said.value * (1 - limits.off)
        begins_late = float(rate.steps[0]) > (warmup.value if warmup else 0.0) + _usual(rate)
        if not too_high and (not too_low or in_warmup or begins_late):
            return []
        says = f"the peak of {name} is {seen:.3g} (step {rate.steps[top]:,g}), and the setting {said.key} says"
        says += f" {said.value:.3g}"
        ratio = max(seen / said.value, said.value / seen)
        evidence: dict[str, float | str] = {"peak": seen, "setting": said.value, "key": said.key}
        return [
            finding(self, name, "warning", sure((ratio - 1) / limits.off), (float(rate.steps[top]),), says, count=1,
                    evidence=evidence, limits={"off": limits.off})
        ]  # fmt: skip


def expected(kind: str, steps: Floats, warmup: float, total: float, peak: float, lowest: float) -> Floats:
    """The rate at each step by a linear warm-up and then a constant, a line or half a cosine down to `lowest`."""
    share = np.clip((steps - warmup) / max(total - warmup, 1.0), 0.0, 1.0)
    falls = {"linear": 1 - share, "cosine": 0.5 * (1 + np.cos(np.pi * share))}
    after = np.full(len(steps), peak) if kind == "constant" else lowest + (peak - lowest) * falls[kind]
    return np.where(steps < warmup, peak * steps / max(warmup, 1.0), after)


def _usual(rate: Metric) -> float:
    return float(np.median(np.diff(rate.steps))) if len(rate) > 1 else 0.0


def _longest(off: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[int, int]:
    """The longest stretch that is off: (first, one after the last)."""
    edges = np.flatnonzero(np.diff(np.r_[0, off.astype(int), 0]))
    pairs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    return max(pairs, key=lambda pair: pair[1] - pair[0], default=(0, 0))
