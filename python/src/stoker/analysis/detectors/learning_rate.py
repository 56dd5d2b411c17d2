"""Learning rates that the loss shows to be wrong: no warm-up, too high, too low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, cannot, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Metric, Run

_BLOCKS = 40
_FROM_FEW = "early points decide: the first tenth of a run has to hold 20"


def the_rate(run: Run) -> Sequence[str]:
    """The learning rate with most points: groups of parameters move together."""
    return sorted(subjects.rates(run), key=lambda name: (-len(run.metrics[name]), name))[:1]


def the_loss(run: Run) -> str | None:
    """The training loss with most points, None without one."""
    return max(subjects.training_losses(run), key=lambda name: len(run.metrics[name]), default=None)


@dataclass(frozen=True)
class WarmupLimits(Limits):
    """When a missing warm-up is a fault."""

    points: int = limit(2, "points of the rate", "its first value and its peak", least=2)
    early: float = limit(0.1, "share of the steps that is the beginning", "warm-ups take 1% to 10%", least=0.01, most=1)
    loss_points: int = limit(20, "points of the loss in the beginning", _FROM_FEW, least=10)
    rise: float = limit(0.1, "rise of the loss above its first level", "tuned")
    sigmas: float = limit(6.0, "standard errors of that rise", "tuned", least=1.0)


class NoWarmup:
    """A rate that begins at its peak, with a loss that rises at first: SGD that begins so and falls is no fault."""

    name = "no_warmup"
    finds = "a learning rate without warm-up that throws the loss up at the beginning"
    limits = WarmupLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """The learning rate."""
        return the_rate(case.run)

    def look(self, case: Case, name: str, limits: WarmupLimits) -> list[Finding] | CannotTell:
        """Whether the beginning suffered."""
        rate, loss_name = case.finite(name), the_loss(case.run)
        if loss_name is None:
            return cannot(self, name, "no training loss is logged", len(rate))
        loss = case.finite(loss_name)
        peak = float(rate.values.max())
        if peak <= 0 or float(rate.values[0]) < 0.9 * peak:
            return []
        until = float(loss.steps[0]) + limits.early * (float(loss.steps[-1]) - float(loss.steps[0])) if len(loss) else 0
        count = int((loss.steps <= until).sum())
        if count < limits.loss_points:
            why = f"{count} points of {loss_name} in its first {limits.early:.0%}, {limits.loss_points} needed"
            return cannot(self, name, why, count, limits.loss_points)
        way = subjects.sign(case.run, loss_name) or 1
        # The first points by themselves: a loss without warm-up jumps within a few steps.
        begin = way * loss.values[:3]
        parts = robust.blocks(way * loss.values[3:count], 5)
        top = int(parts.median.argmax())
        rise = float(parts.median[top]) - float(np.median(begin))
        error = max(robust.noise(way * loss.values[:count]), float(np.median(parts.spread)))
        error *= robust.MEDIAN_ERROR * (1 / 5 + 1 / 3) ** 0.5
        share = rise / max(abs(float(np.median(begin))), 1e-300)
        if share <= limits.rise or rise <= limits.sigmas * error:
            return []
        step = float(loss.steps[3 + parts.first[top]])
        says = (
            f"{name} begins at its peak ({peak:.3g}) without warm-up, and {loss_name} rises by {share:.0%} until"
            f" step {step:,g}"
        )
        evidence: dict[str, float | str] = {
            "rate": peak, "loss": loss_name, "loss_first": way * float(np.median(begin)),
            "loss_top": way * float(parts.median[top]), "rise": share, "sigmas": rise / max(error, 1e-300),
        }  # fmt: skip
        confidence = sure(share / limits.rise, rise / max(error, 1e-300) / limits.sigmas)
        steps = (float(loss.steps[0]), step)
        return [
            finding(self, name, "warning", confidence, steps, says, count=1, evidence=evidence,
                    limits={"rise": limits.rise, "sigmas": limits.sigmas, "early": limits.early})
        ]  # fmt: skip


@dataclass(frozen=True)
class TooHighLimits(Limits):
    """When a rate is too high."""

    points: int = limit(2, "points of the rate", "its peak", least=2)
    loss_points: int = limit(100, "points of the loss", "20 blocks of 5", least=50)
    rise: float = limit(0.1, "rise of the loss above its best while the rate is high", "tuned")
    sigmas: float = limit(6.0, "standard errors of that rise", "tuned", least=1.0)


class RateTooHigh:
    """The loss from its best to the end of the first time that the rate is above half of its peak."""

    name = "rate_too_high"
    finds = "a loss that rises while the learning rate is near its peak"
    limits = TooHighLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """The learning rate."""
        return the_rate(case.run)

    def look(self, case: Case, name: str, limits: TooHighLimits) -> list[Finding] | CannotTell:
        """Whether the loss rose with the rate."""
        rate, loss_name = case.finite(name), the_loss(case.run)
        loss = case.finite(loss_name) if loss_name else None
        if loss is None or loss_name is None or len(loss) < limits.loss_points:
            return _too_few(self.name, name, loss_name, loss, limits.loss_points)
        way = subjects.sign(case.run, loss_name) or 1
        parts = robust.in_blocks(way * loss.values, _BLOCKS, least=5)
        middle = loss.steps[np.minimum(parts.first + parts.size // 2, len(loss) - 1)]
        rates = np.interp(middle, rate.steps, rate.values)
        peak = float(rates.max())
        high = rates >= 0.5 * peak
        begin = int(high.argmax())
        end = begin + int((~high[begin:]).argmax()) if not high[begin:].all() else len(high)
        levels = parts.median[:end]
        best = int(levels.argmin()) if len(levels) else 0
        if end - best < 3 or peak <= 0:
            return []
        top = float(min(levels[-2:]))
        rise, error = top - float(levels[best]), float((parts.error[best] ** 2 + parts.error[end - 1] ** 2) ** 0.5)
        share = rise / max(abs(float(levels[best])), 1e-300)
        if share <= limits.rise or rise <= limits.sigmas * error:
            return []
        since, until = float(middle[best]), float(middle[end - 1])
        says = (
            f"{loss_name} rises from {way * levels[best]:.4g} to {way * top:.4g} (steps {since:,g} to {until:,g})"
            f" while {name} is {rates[best]:.3g} to {peak:.3g}"
        )
        evidence: dict[str, float | str] = {
            "loss": loss_name, "loss_best": way * float(levels[best]), "loss_then": way * top, "rise": share,
            "rate_at_best": float(rates[best]), "rate_peak": peak, "sigmas": rise / max(error, 1e-300),
        }  # fmt: skip
        confidence = sure(share / limits.rise, rise / max(error, 1e-300) / limits.sigmas)
        return [
            finding(self, name, "warning", confidence, (since, until), says, count=1, evidence=evidence,
                    limits={"rise": limits.rise, "sigmas": limits.sigmas})
        ]  # fmt: skip


@dataclass(frozen=True)
class TooLowLimits(Limits):
    """When a rate is too low."""

    points: int = limit(2, "points of the rate", "whether it stays", least=2)
    loss_points: int = limit(200, "points of the loss while the rate stays", "20 in each of ten parts", least=60)
    slope: float = limit(
        0.7, "slope at the end, as a share of that at the beginning", "a loss that learns bends", most=2
    )
    fall: float = limit(0.2, "most that the loss has fallen, as a share of its first level", "tuned", most=1.0)
    sigmas: float = limit(6.0, "standard errors of both slopes", "tuned", least=1.0)


class RateTooLow:
    """The slope of the loss in the last third against that in the first, while the rate stays at its peak."""

    name = "rate_too_low"
    finds = "a loss that falls as slowly at the end as at the beginning, in a straight line"
    limits = TooLowLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """The learning rate."""
        return the_rate(case.run)

    def look(self, case: Case, name: str, limits: TooLowLimits) -> list[Finding] | CannotTell:
        """Whether the loss hardly bends."""
        rate, loss_name = case.finite(name), the_loss(case.run)
        loss = case.finite(loss_name) if loss_name else None
        if loss is None or loss_name is None or len(loss) < limits.loss_points:
            return _too_few(self.name, name, loss_name, loss, limits.loss_points)
        peak = float(rate.values.max())
        stays = np.interp(loss.steps, rate.steps, rate.values) >= 0.9 * peak
        if peak <= 0 or stays.mean() < 0.5 or stays.sum() < limits.loss_points:
            return []  # a schedule bends the loss by itself
        way = subjects.sign(case.run, loss_name) or 1
        values, steps = way * loss.values[stays], loss.steps[stays]
        third = len(values) // 3
        slopes = []
        for part in (slice(0, third), slice(-third, None)):
            levels = robust.means(values[part], 10)
            slope, error, _ = robust.line(np.arange(len(levels), dtype=np.float64), levels)
            slopes.append((slope, error))
        (first, first_error), (last, last_error) = slopes
        z = min(-first / max(first_error, 1e-300), -last / max(last_error, 1e-300))
        start, end = float(np.median(values[:third])), float(np.median(values[-third:]))
        fallen = (start - end) / max(abs(start), 1e-300)
        if z <= limits.sigmas or last / first < limits.slope or fallen > limits.fall:
            return []
        says = (
            f"at {name} {peak:.3g} {loss_name} has fallen by {fallen:.1%} only, and falls {last / first:.0%} as fast at"
            " the end as at the beginning"
        )
        evidence: dict[str, float | str] = {
            "rate": peak, "loss": loss_name, "fallen": fallen, "slope_share": last / first, "sigmas": z,
            "loss_first": way * start, "loss_last": way * end,
        }  # fmt: skip
        confidence = sure(last / first / limits.slope, limits.fall / max(fallen, 1e-300), z / limits.sigmas)
        return [
            finding(self, name, "warning", confidence, (float(steps[0]), float(steps[-1])), says, count=1,
                    evidence=evidence,
                    limits={"slope": limits.slope, "fall": limits.fall, "sigmas": limits.sigmas})
        ]  # fmt: skip


def _too_few(detector: str, rate: str, loss: str | None, metric: Metric | None, needed: int) -> CannotTell:
    if loss is None or metric is None:
        return CannotTell(detector, rate, "no training loss is logged", 0, needed)
    why = f"{len(metric)} points of {loss}, {needed} needed"
    return CannotTell(detector, rate, why, len(metric), needed)
