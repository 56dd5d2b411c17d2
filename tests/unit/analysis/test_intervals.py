# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intervals hold what they promise: their coverage is simulated."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from asked import Asked, jsonl

from stoker.analysis.intervals import level_interval, mean_interval, quantile, smallest_difference


@pytest.mark.accepts("R38")
@pytest.mark.parametrize(
    ("p", "free", "wanted"),
    [
        (0.975, 1, 12.7062047), (0.975, 2, 4.30265273), (0.975, 3, 3.18244631), (0.975, 10, 2.22813885),
        (0.975, 29, 2.0452296), (0.8, 8, 0.88888951), (0.95, 5, 2.01504837), (0.05, 5, -2.01504837), (0.5, 7, 0.0),
        (0.975, 1000, 1.96233908), (0.975, 1001, 1.96233699),
    ],
)  # fmt: skip
def test_students_t_is_that_of_the_tables(p: float, free: int, wanted: float) -> None:
    assert quantile(p, free) == pytest.approx(wanted, abs=1e-6)


def test_a_quantile_that_is_none_is_refused() -> None:
    for p, free in ((0.0, 3), (1.0, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="there is no quantile"):
            quantile(p, free)


@pytest.mark.accepts("R38", "R40")
@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_95_of_100_intervals_of_a_mean_hold_it(count: int) -> None:
    random = np.random.default_rng(count)
    held = 0
    for _ in range(4000):
        interval = mean_interval(random.normal(7, 3, count).tolist())
        assert interval is not None
        held += interval.low <= 7 <= interval.high
    assert held / 4000 == pytest.approx(0.95, abs=0.012)
    assert mean_interval([1.0]) is None


@pytest.mark.accepts("R38")
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_95_of_100_intervals_of_a_level_hold_it(memory: float) -> None:
    """A curve that falls in a line, with noise of which each point keeps a part of the one before."""
    random = np.random.default_rng(int(memory * 10))
    count, runs = 1200, 1500
    steps = np.arange(count) * 10.0
    shocks = random.normal(size=(runs, count))
    noise = np.empty((runs, count))
    state = shocks[:, 0] / (1 - memory**2) ** 0.5
    for index in range(count):
        state = memory * state + shocks[:, index] if index else state
        noise[:, index] = state
    held = 0
    for row in noise:
        interval = level_interval(steps, 5 - steps * 1e-4 + 0.3 * row)
        assert interval is not None
        held += interval.low <= 5 - steps[-1] * 1e-4 <= interval.high
    # A memory of ten points is a third of the means that stand for the noise: it shows a little.
    assert held / runs == pytest.approx(0.95, abs=0.015 if memory < 0.9 else 0.03)


@pytest.mark.accepts("R40")
def test_the_smallest_difference_is_seen_in_4_of_5_comparisons() -> None:
    random = np.random.default_rng(9)
    seen, runs, each = 0, 3000, 5
    least = smallest_difference(2.0, each, each)
    assert least is not None
    for _ in range(runs):
        a, b = random.normal(0, 2, each), random.normal(least, 2, each)
        pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2 * 2 / each)
        seen += abs(b.mean() - a.mean()) > quantile(0.975, 2 * each - 2) * pooled
    assert 0.76 <= seen / runs <= 0.88
    assert smallest_difference(2.0, 1, 1) is None


@pytest.mark.accepts("R38")
def test_stability_says_where_the_curve_stands_with_its_interval(tmp_path: Path, stoker: Asked) -> None:
    random = np.random.default_rng(1)
    rows = [{"step": step, "loss": 3 - step * 1e-4 + 0.1 * random.normal()} for step in range(5000)]
    path = jsonl(tmp_path / "m.jsonl", [*rows, {"step": 5000, "few": 1.0}])
    few, loss = stoker("stability", path, "--json").value["metrics"]
    assert loss["level_low"] < loss["level"] < loss["level_high"]
    assert loss["level"] == pytest.approx(2.5, abs=0.03)
    assert loss["level_high"] - loss["level_low"] < 0.06
    assert few["level"] is None
    assert "LEVEL NOW (95%)" in stoker("stability", path).out
    table = list(csv.reader(io.StringIO(stoker("stability", path, "--format", "csv").out)))
    assert float(dict(zip(table[0], table[2], strict=True))["level"]) == loss["level"]
