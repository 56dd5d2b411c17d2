# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run is done, what it comes to, and what was waste."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, jsonl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "detectors"))

import curves

from stoker.analysis import verdict
from stoker.analysis.eta import forecast
from stoker.analysis.model import Metric
from stoker.analysis.projection import LEVEL, project
from stoker.analysis.values import State

BEGAN = 1_700_000_000.0


def training(folder: Path, rows: int, config: dict[str, Any] | None = None, **columns: Any) -> Path:
    """Two seconds for each of ten steps; `columns` are functions of the row."""
    random = np.random.default_rng(4)
    lines = []
    for row in range(rows):
        line = {
            "step": 10 * row,
            "time": BEGAN + 2.0 * row,
            "loss": 1 + 2 * np.exp(-row / 200) + 0.01 * random.normal(),
        }
        lines.append(line | {name.replace("__", "."): float(make(row)) for name, make in columns.items()})
    jsonl(folder / "metrics.jsonl", lines)
    (folder / "config.json").write_text(json.dumps(config or {"none": True}))
    return folder


@pytest.mark.accepts("B07")
def test_the_time_to_finish_by_settings_by_epochs_and_as_asked(tmp_path: Path, stoker: Asked) -> None:
    by_steps = training(tmp_path / "a", 500, {"trainer": {"max_steps": 9990}})
    said = stoker("eta", by_steps, "--json").value
    assert (said["total_steps"], said["known_by"]) == (9990, "trainer.max_steps 9,990")
    assert said["seconds_per_step"] == pytest.approx(0.2)
    assert said["remaining_s"] == pytest.approx(5000 * 0.2)
    assert said["low_s"] <= said["remaining_s"] <= said["high_s"]
    assert said["ends_at"] == pytest.approx(BEGAN + 2 * 499 + 1000)
    by_epochs = training(tmp_path / "b", 500, {"num_train_epochs": 4}, epoch=lambda row: row / 250)
    assert stoker("eta", by_epochs, "--json").value["total_steps"] == pytest.approx(10_000, rel=0.01)
    asked = stoker("eta", by_steps, "--steps", 4990, "--json").value
    assert asked["remaining_s"] == 0
    assert "all steps are done" in stoker("eta", by_steps, "--steps", 4990).out
    assert "5 m" not in stoker("eta", training(tmp_path / "c", 500)).out
    assert stoker("eta", tmp_path / "c", "--json").value["unknown"].endswith("--steps")
    assert stoker("eta", by_steps, "--steps", -1).code == 2


@pytest.mark.accepts("B07")
def test_the_time_has_an_interval_that_holds() -> None:
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        each = 2 * random.lognormal(0, 0.4, 1000)
        each[::50] += 30
        times = BEGAN + np.cumsum(each)
        metric = Metric("loss", np.arange(500.0), np.ones(500), times[:500])
        run = dataclasses.replace(curves.healthy(curves.plain, 1).run(), metrics={"loss": metric})
        run = dataclasses.replace(run, info=dataclasses.replace(run.info, state=State("running", "it is")))
        told = forecast(run, verdict.check(run, float(times[499]), only=["silence"]), float(times[499]), 999)
        assert told.low_s is not None
        assert told.high_s is not None
        held += told.low_s <= times[999] - times[499] <= told.high_s
    assert 0.75 <= held / 60 <= 1


def test_a_stop_is_told_and_not_in_the_speed(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": n, "time": BEGAN + n + (7200 if n > 300 else 0), "loss": 1.0} for n in range(400)]
    said = stoker("eta", jsonl(tmp_path / "m.jsonl", rows), "--steps", 500, "--json").value
    assert said["seconds_per_step"] == pytest.approx(1)
    assert said["stopped_s"] == 7201
    assert "it stood still for 2 h" in stoker("eta", tmp_path / "m.jsonl", "--steps", 500).out


@pytest.mark.accepts("B07")
def test_without_times_or_an_end_no_time_is_made_up(tmp_path: Path, stoker: Asked) -> None:
    path = jsonl(tmp_path / "m.jsonl", [{"step": n, "loss": 1 / (n + 1)} for n in range(300)])
    said = stoker("eta", path, "--steps", 500, "--json").value
    assert (said["remaining_s"], said["ends_at"]) == (None, None)
    assert "no times" in said["unknown"]
    few = jsonl(tmp_path / "few.jsonl", [{"step": n, "time": BEGAN + n, "loss": 1.0} for n in range(9)])
    said = stoker("eta", few, "--steps", 500, "--json").value
    assert said["remaining_s"] is None
    assert "9 points with a time" in said["unknown"]
    assert said["projections"] == []


@pytest.mark.accepts("B07")
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_projected_values_lie_in_their_interval_as_often_as_it_says(share: float) -> None:
    """Exponentials and power laws whose true end is known, with three kinds of noise, on seeds that tuned nothing."""
    held, errors, widths = [], [], []
    for seed in range(2000, 2060):
        for kind in range(3):
            random = np.random.default_rng([seed, kind])
            clean = curves._fall(curves._length(random), random)
            noise = (random.normal(size=len(clean)), random.standard_t(5, len(clean)))[kind % 2]
            if kind == 2:
                noise = np.convolve(noise, 0.8 ** np.arange(20), mode="same") * 0.6
            values = clean * (1 + random.uniform(0.003, 0.04) * noise)
            count = int(share * len(clean))
            steps = np.arange(len(clean)) * 10.0
            told = project(Metric("loss", steps[:count], values[:count]), float(steps[-1]))
            assert told is not None
            gained = clean[0] - clean[-1]
            held.append(told.low <= clean[-1] <= told.high)
            errors.append(abs(told.value - clean[-1]) / gained)
            widths.append((told.high - told.low) / gained)
    assert LEVEL == 0.9
    assert 0.83 <= np.mean(held) <= 0.99
    # And it says something: half of the errors are below 4% of what was gained, at 30% of the run.
    assert np.median(errors) < 0.04
    assert np.median(widths) < 0.4


@pytest.mark.accepts("B07")
def test_a_projection_warns_of_a_rate_that_moves(tmp_path: Path, stoker: Asked) -> None:
    folder = training(tmp_path / "a", 500, {"max_steps": 9990}, lr=lambda row: 1e-3 * (1 - row / 999))
    assert "a schedule can bend the curve" in stoker("eta", folder).out
    folder = training(tmp_path / "b", 500, {"max_steps": 9990}, lr=lambda row: 1e-3)
    shown = stoker("eta", folder).out
    assert "a schedule can bend" not in shown
    assert "IN 90% BETWEEN" in shown


@pytest.mark.accepts("B07")
def test_idle_hours_are_counted_where_the_use_of_gpus_is_in_the_run(tmp_path: Path, stoker: Asked) -> None:
    folder = training(
        tmp_path / "a", 1801, {"max_steps": 18000}, gpu_0_util=lambda row: 0 if row < 450 else 95,
        gpu_0_memory_util=lambda row: 0,
    )  # fmt: skip
    (idle,) = stoker("eta", folder, "--json").value["idle"]
    assert idle["metric"] == "gpu_0_util"
    assert (idle["watched_h"], idle["idle_h"], idle["share"]) == pytest.approx((1.0, 0.25, 0.25))
    assert "0.25 h below 10%" in stoker("eta", folder).out
    assert stoker("eta", training(tmp_path / "b", 300), "--json").value["idle"] == []


@pytest.mark.accepts("B07")
def test_to_stop_is_advised_only_with_a_finding(tmp_path: Path, stoker: Asked) -> None:
    good = training(tmp_path / "a", 500, {"max_steps": 9990})
    assert stoker("eta", good, "--json").value["advice"] == []
    assert "no finding says that it should be stopped" in stoker("eta", good).out
    broken = training(
        tmp_path / "b", 500, {"max_steps": 9990}, loss=lambda row: 2 - row / 500 if row < 400 else float("nan")
    )
    (advice,) = stoker("eta", broken, "--json").value["advice"]
    assert (advice["detector"], advice["metric"], advice["since"]) == ("not_finite", "loss", 4000)
    assert advice["seconds"] == pytest.approx(2 * 99)
    assert "3 m 18 s went past it (not_finite)" in stoker("eta", broken).out


@pytest.mark.accepts("B07")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    numbers=st.lists(st.floats(), min_size=1, max_size=40), repeat=st.integers(1, 20),
    gap=st.sampled_from([0, 1, 1e15]), times=st.lists(st.floats(), min_size=1, max_size=40) | st.none(),
    total=st.floats(1, 1e300) | st.none(),
)  # fmt: skip
@example(
    numbers=[0.0] * 25 + [10.0, 0.0, 0.0], repeat=7, gap=0, total=None,
    times=[0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 9.4e-168, 0.0, 1e9, 0.0, 1.0, 0.0],
)  # fmt: skip
def test_any_numbers_have_a_forecast(numbers: Any, repeat: int, gap: float, times: Any, total: float | None) -> None:
    values = np.tile(np.array(numbers, dtype=np.float64), repeat)
    when = None if times is None else np.resize(np.array(times, dtype=np.float64), len(values))
    run = curves.healthy(curves.plain, 1).run()
    names = ("loss", "val/loss", "gpu.0.util", "epoch")
    steps = np.arange(len(values)) * float(gap)
    run = dataclasses.replace(run, metrics={name: Metric(name, steps, values, when, ("m",)) for name in names})
    run = dataclasses.replace(run, info=dataclasses.replace(run.info, state=State("running", "it is")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = forecast(run, verdict.check(run, curves.NOW), curves.NOW, total)
    for projected in told.projections:
        assert projected.low <= projected.value <= projected.high
    assert (told.remaining_s is None) == (told.unknown is not None)
    if told.low_s is not None and told.high_s is not None and told.remaining_s is not None:
        assert told.low_s <= told.high_s
    for idle in told.idle:
        assert 0 <= idle.idle_h <= idle.watched_h
