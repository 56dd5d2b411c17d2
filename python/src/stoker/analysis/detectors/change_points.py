"""Places where the level of a loss jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.analysis.detectors import robust, subjects
from stoker.analysis.detectors.base import Case, Limits, finding, limit, sure
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Floats

_MOST_BLOCKS = 4000
_RADII = (16, 48)


@dataclass(frozen=True)
class ChangeLimits(Limits):
    """What counts as a jump."""

    points: int = limit(200, "finite points", "32 on either side, three times", least=100)
    sigmas: float = limit(10.0, "standard errors of the jump", "tuned: noise with memory makes 6 now and then", least=3)
    jump: float = limit(0.05, "least jump, as a share of the level", "tuned: smaller ones do not matter")


class ChangePoints:
    """A line with a step in it, fitted at every place in windows of two widths; the step against its error.

    A line follows the trend and its bend (a bend is alike on both sides, a step is not), so that a curve that falls
    smoothly has none. A jump where the learning rate jumps, too, is meant and is none.
    """

    name = "change_point"
    finds = "sudden jumps of the level of a loss that the learning rate does not explain"
    limits = ChangeLimits

    def subjects(self, case: Case) -> Sequence[str]:
        """Losses of training that have to fall."""
        return subjects.training_losses(case.run)

    def look(self, case: Case, name: str, limits: ChangeLimits) -> list[Finding] | CannotTell:
        """All jumps of one metric."""
        metric = case.finite(name)
        way = subjects.sign(case.run, name) or 1
        size = max(1, len(metric) // _MOST_BLOCKS)
        parts = robust.blocks(metric.values, size)
        levels = _calm(parts.median)
        found: dict[int, tuple[float, float]] = {}
        for radius in _RADII:
            if len(levels) >= 6 * radius:
                _jumps(levels, radius, limits, found)
        kept = _apart(found, _RADII[0])
        kept = [at for at in kept if not _explained(case, _around(metric.steps, parts, at))]
        if not kept:
            return []
        kept.sort(key=lambda at: -abs(found[at][1]))
        jump, z = found[kept[0]]
        steps = metric.steps[parts.first[kept]]
        direction = "up" if jump > 0 else "down"
        bad = any(way * found[at][0] > 0 for at in kept)
        more = f", the largest of {len(kept)} jumps" if len(kept) > 1 else ""
        says = f"{name} jumps {direction} by {abs(jump):.3g} at about step {steps[0]:,g}{more}"
        evidence = {"jump": jump, "sigmas": abs(z), "level": float(levels[kept[0]])}
        return [
            finding(self, name, "warning" if bad else "info", sure(abs(z) / limits.sigmas), steps, says,
                    evidence=evidence, limits={"sigmas": limits.sigmas, "jump": limits.jump})
        ]  # fmt: skip


def _jumps(levels: Floats, radius: int, limits: ChangeLimits, found: dict[int, tuple[float, float]]) -> None:
    """Put the places into `found` where a step of a window of 2 * radius is largest: (step, standard errors)."""
    kernel = _kernel(radius)
    step = np.convolve(levels, kernel[::-1], mode="valid")
    at = np.arange(len(step)) + radius
    # The noise of each side by itself: a window that straddles a jump must not call it noise.
    noise = _noise(levels, radius)
    error = np.maximum(noise[at - radius], noise[np.minimum(at, len(noise) - 1)]) * float(np.linalg.norm(kernel))
    size = np.abs(step)
    level = np.abs(levels[at])
    over = (size > limits.sigmas * np.maximum(error, 1e-300)) & (size > limits.jump * level)
    # The steepest part of a curve that begins high: what is there is its fall.
    over[:radius] = False
    for index in np.flatnonzero(over):
        near = size[max(0, index - radius) : index + radius + 1]
        if size[index] == near.max():
            found[int(at[index])] = (float(step[index]), float(size[index] / max(error[index], 1e-300)))


def _kernel(radius: int) -> Floats:
    """The weights that give the step in the middle of a window, a line through both halves taken away."""
    x = np.arange(2 * radius) - radius + 0.5
    design = np.stack([np.ones_like(x), x, (x > 0).astype(np.float64)])
    weights: Floats = np.linalg.inv(design @ design.T)[2] @ design
    return weights


def _noise(levels: Floats, radius: int) -> Floats:
    """For each place the noise of the `radius` values from there on: residuals about a line, and differences."""
    windows = np.lib.stride_tricks.sliding_window_view(levels, radius)
    x = np.arange(radius) - (radius - 1) / 2
    slope = windows @ x / float(x @ x)
    rest = windows - windows.mean(axis=1, keepdims=True) - slope[:, None] * x
    return np.asarray(np.sqrt((rest**2).sum(axis=1) / (radius - 2)))


def _calm(levels: Floats) -> Floats:
    """Without single odd values: the median of three."""
    padded = np.pad(levels, 1, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1))


def _apart(found: dict[int, tuple[float, float]], least: int) -> list[int]:
    """Of places near each other the surest."""
    kept: list[int] = []
    for at in sorted(found, key=lambda at: -found[at][1]):
        if all(abs(at - other) > least for other in kept):
            kept.append(at)
    return kept


def _around(steps: Floats, parts: robust.Blocks, at: int) -> tuple[float, float]:
    before, after = max(0, at - 8), min(len(parts) - 1, at + 8)
    return float(steps[parts.first[before]]), float(steps[parts.first[after]])


def _explained(case: Case, between: tuple[float, float]) -> bool:
    """Whether a learning rate changed by a quarter or more between two steps."""
    for name in subjects.rates(case.run):
        metric = case.finite(name)
        low, high = np.searchsorted(metric.steps, between)
        near = metric.values[max(0, low - 1) : high + 1]
        if len(near) > 1 and float(near.max()) > 1.25 * float(near.min()):
            return True
    return False
