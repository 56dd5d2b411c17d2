# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves that nobody drew: a small network, trained for real by gradient descent, well and badly."""

from __future__ import annotations

import numpy as np
import pytest
from curves import NOW, Curve

from stoker.analysis import verdict

INPUTS, HIDDEN, BATCH = 20, 48, 64


class Network:
    """Two layers that tell two classes apart; `teacher` is another network, whose answers are the truth."""

    def __init__(self, random: np.random.Generator) -> None:
        self.one = random.normal(size=(INPUTS, HIDDEN)) / INPUTS**0.5
        self.two = random.normal(size=HIDDEN) / HIDDEN**0.5

    def answers(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ self.one) @ self.two

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(np.logaddexp(0, -y * self.answers(x)).mean())

    def step(self, x: np.ndarray, y: np.ndarray, rate: float) -> float:
        """One step of gradient descent; the norm of the gradient."""
        hidden = np.tanh(x @ self.one)
        slope = -y / (1 + np.exp(y * (hidden @ self.two))) / len(y)
        two = hidden.T @ slope
        one = x.T @ (np.outer(slope, self.two) * (1 - hidden**2))
        self.one -= rate * one
        self.two -= rate * two
        return float(np.sqrt((one**2).sum() + (two**2).sum()))


def trained(
    seed: int, *, rate: float = 0.5, examples: int | None = None, steps: int = 3000, wrong: float = 0.0
) -> Curve:
    """A training on fresh data, or again and again on so many examples, a share of them with wrong answers."""
    random = np.random.default_rng(seed)
    teacher, network = Network(random), Network(random)
    teacher.two *= 8

    def data(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = random.normal(size=(count, INPUTS))
        y = np.sign(teacher.answers(x) + 0.5 * random.normal(size=count))
        return x, np.where(random.random(count) < wrong, -y, y)

    fixed, held_out = data(examples or 1), data(2000)
    rows: dict[str, list[tuple[float, float]]] = {"train/loss": [], "grad_norm": [], "lr": [], "val/loss": []}
    with np.errstate(all="ignore"):
        for step in range(steps):
            chosen = random.integers(examples, size=BATCH) if examples else None
            x, y = data(BATCH) if chosen is None else (fixed[0][chosen], fixed[1][chosen])
            rows["train/loss"].append((step, network.loss(x, y)))
            rows["grad_norm"].append((step, network.step(x, y, rate)))
            rows["lr"].append((step, rate))
            if step % 100 == 0:
                rows["val/loss"].append((step, network.loss(*held_out)))
    curve = Curve("a small network")
    for name, points in rows.items():
        steps_of, values = np.array(points).T
        curve.metrics[name] = steps_of, values
    return curve


def alarms(curve: Curve) -> set[str]:
    told = verdict.check(curve.run(), NOW)
    return {finding.detector for finding in told.findings if finding.severity != "info"}


@pytest.mark.accepts("R08")
@pytest.mark.parametrize("seed", range(6))
def test_a_training_that_goes_well_raises_no_alarm(seed: int) -> None:
    assert alarms(trained(seed)) == set()


@pytest.mark.accepts("R08")
@pytest.mark.parametrize("seed", range(6))
def test_few_examples_with_wrong_answers_overfit(seed: int) -> None:
    assert alarms(trained(seed, examples=100, wrong=0.2)) == {"overfit"}


@pytest.mark.accepts("R08", "R30")
@pytest.mark.parametrize("seed", range(6))
def test_a_rate_far_too_high_is_told(seed: int) -> None:
    assert alarms(trained(seed, rate=300.0)) & {"divergence", "no_warmup", "rate_too_high", "not_finite"}


@pytest.mark.accepts("R30")
def test_a_rate_far_too_low_is_told() -> None:
    found = [verdict.check(trained(seed, rate=2e-4, steps=4000).run(), NOW).findings for seed in range(6)]
    names = [{finding.detector for finding in findings} for findings in found]
    assert set().union(*names) <= {"rate_too_low", "plateau"}
    # In one of them noise makes the loss look bent.
    assert sum("rate_too_low" in told for told in names) >= 5
