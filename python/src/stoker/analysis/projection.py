"""What a metric will be at a later step, with an interval.

The method: the newest part of the curve in means of neighbouring points; exponentials and power laws over a floor on a
grid of shapes, each fitted by least squares; their predictions weighted by how well they fit. The interval holds what
the fits leave open, how much the shapes differ, and how wrong the same method was on earlier parts of the same curve.
"""

from __future__ import annotations

import numpy as np

from stoker.analysis.detectors.robust import means
from stoker.analysis.forecasts import Projection
from stoker.analysis.model import Floats, Metric

LEVEL = 0.9
LEAST_POINTS = 60
_PARTS = 60
# Shapes: time constants and offsets as shares of the stretch that is fitted, and powers.
_TIMES = np.geomspace(0.05, 8.0, 24)
_OFFSETS, _POWERS = np.geomspace(0.02, 2.0, 8), (0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0)
# No true curve is one of the shapes, so the weights are tempered: tuned to 90% coverage on known curves.
_TEMPER = 9.0
# A curve is looked at from here on: its first fall follows no law.
_SKIP = 0.1
_CUTS = (0.5, 0.6, 0.7, 0.8)
_Z = 1.6449
# Squares of what is larger are infinite.
_LARGEST = 1e150


def project(metric: Metric, step: float) -> Projection | None:
    """The level of a metric at a step beyond its last; None where it has too few finite points for that."""
    finite = metric.finite()
    if len(finite) < LEAST_POINTS or step <= finite.last_step:
        return None
    if max(float(np.abs(finite.values).max()), abs(step)) > _LARGEST:
        return None
    keep = finite.steps >= finite.steps[0] + _SKIP * (finite.last_step - finite.steps[0])
    steps, values = finite.steps[keep], finite.values[keep]
    if len(values) < LEAST_POINTS // 2:
        return None
    x, y = means(steps, min(_PARTS, len(steps) // 3)), means(values, min(_PARTS, len(values) // 3))
    if x[-1] <= x[0] or not np.isfinite(y).all():
        return None
    value, sigma = _predict(x, y, step)
    wrong = _wrong(x, y, step)
    # A floor below 0 is none for a curve that never was.
    half = _Z * sigma * max(1.0, wrong)
    if not np.isfinite([value, half]).all():
        return None
    low, high = value - half, value + half
    if float(finite.values.min()) >= 0:
        value, low = max(0.0, value), max(0.0, low)
    return Projection(metric.name, step, value, low, high, LEVEL, round(wrong, 2), len(finite))


def _wrong(x: Floats, y: Floats, step: float) -> float:
    """The root mean square of (truth - prediction) / error, cutting off as much as lies ahead, as far as there is."""
    ahead = (step - x[-1]) / (x[-1] - x[0])
    scores = []
    for cut in _CUTS:
        count = round(len(x) * cut)
        if count < 10:
            continue
        until = min(len(x), max(count + 2, round(count * (1 + ahead))))
        target = slice(max(count, until - 3), until)
        value, sigma = _predict(x[:count], y[:count], float(x[target].mean()))
        scores.append((float(y[target].mean()) - value) / max(sigma, 1e-300))
    return float(np.sqrt(np.mean(np.square(scores)))) if scores else 1.0


def _predict(x: Floats, y: Floats, step: float) -> tuple[float, float]:
    """(level at a step, its standard error) by all shapes, weighted."""
    width = float(x[-1] - x[0])
    t, then = (x - x[0]) / width, (step - x[0]) / width
    basis, ahead = _shapes(t, then)
    count = len(y)
    middle = basis.mean(axis=1, keepdims=True)
    away = basis - middle
    square = np.maximum((away**2).sum(axis=1), 1e-12)
    gain = away @ (y - y.mean()) / square
    floor = y.mean() - gain * middle[:, 0]
    rest = y - (floor[:, None] + gain[:, None] * basis)
    misfit = (rest**2).sum(axis=1)
    # The noise of the means as their neighbours show it: the best fit may be too good.
    sigma2 = max(float(misfit.min()) / max(1, count - 4), float(np.mean(np.diff(y, n=2) ** 2)) / 6, 1e-300)
    weight = np.exp(-(misfit - misfit.min()) / (2 * sigma2 * _TEMPER))
    weight /= weight.sum()
    guess = floor + gain * ahead
    spread = sigma2 * (1 / count + (ahead - middle[:, 0]) ** 2 / square)
    value = float(weight @ guess)
    variance = float(weight @ (spread + (guess - value) ** 2))
    return value, variance**0.5


def _shapes(t: Floats, then: float) -> tuple[Floats, Floats]:
    """Every shape at `t` and at `then`: (shape, place), (shape)."""
    grid = np.r_[t, then]
    falls = [np.exp(-grid / tau) for tau in _TIMES]
    falls += [(grid + offset) ** -power for offset in _OFFSETS for power in _POWERS]
    table = np.array(falls)
    # Heights do not matter, and squares of large ones lose digits.
    table = (table - table[:, :1]) / np.maximum(np.abs(table[:, -2:-1] - table[:, :1]), 1e-12)
    return table[:, :-1], table[:, -1]
