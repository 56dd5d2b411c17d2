# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that differ by their seed alone, put together."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from asked import Asked, jsonl


def run(folder: Path, name: str, config: dict[str, Any], values: list[float]) -> None:
    jsonl(folder / name / "metrics.jsonl", [{"step": 10 * n, "val/loss": value} for n, value in enumerate(values)])
    (folder / name / "config.json").write_text(json.dumps(config))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two settings with three and four seeds, one alone, one of settings that nobody knows, one without the metric."""
    folder = tmp_path / "sweep"
    for seed, end in enumerate((0.50, 0.54, 0.52)):
        run(
            folder,
            f"a{seed}",
            {"lr": 0.1, "train": {"seed": seed}, "run_name": f"a{seed}"},
            [1.0, 0.4 + seed / 100, end],
        )
    for seed, end in enumerate((0.90, 0.94, 0.95, 0.91)):
        run(
            folder,
            f"b{seed}",
            {"lr": 0.3, "train": {"seed": seed}, "run_name": f"b{seed}"},
            [1.0, 0.8, end, 7.0][: 4 - seed % 2],
        )
    run(folder, "alone", {"lr": 9, "train": {"seed": 1}}, [1.0, 0.1])
    jsonl(folder / "unknown" / "metrics.jsonl", [{"step": 1, "val/loss": 1}])
    jsonl(folder / "other" / "metrics.jsonl", [{"step": 1, "acc": 1}])
    return folder


@pytest.mark.accepts("R40")
def test_mean_deviation_and_interval_over_runs_that_differ_by_seed(sweep: Path, stoker: Asked) -> None:
    said = stoker("seeds", "val/loss", sweep, "--json").value
    one, two = said["groups"]
    values = [0.50, 0.54, 0.52]
    assert one["values"] == values
    assert one["mean"] == pytest.approx(statistics.mean(values))
    assert one["std"] == pytest.approx(statistics.stdev(values))
    half = 4.30265273 * statistics.stdev(values) / 3**0.5
    assert (one["low"], one["high"]) == pytest.approx((one["mean"] - half, one["mean"] + half), abs=1e-6)
    assert one["settings"] == {"lr": "0.1"}
    assert one["seeds"] == ["0", "1", "2"]
    assert one["best_mean"] == pytest.approx(0.41)
    # The values of all at the newest step that each has reached: 20, and not the 7.0 of those that went on.
    assert (two["step"], sorted(two["values"])) == (20, [0.9, 0.91, 0.94, 0.95])
    assert two["against_best"].endswith(": worse")
    assert one["difference"] > two["difference"] * 0.5
    assert (said["alone"], said["without"], said["ignored"]) == (2, 1, ["run_name"])
    assert any("no settings that are known" in warning for warning in said["warnings"])
    shown = stoker("seeds", "val/loss", sweep).out
    assert "lr=0.3" in shown
    assert "0.52" in shown
    highest = stoker("seeds", "val/loss", sweep, "--max", "--json").value
    assert [group["settings"]["lr"] for group in highest["groups"]] == ["0.3", "0.1"]


@pytest.mark.accepts("R40")
def test_what_chance_explains_is_not_called_worse(tmp_path: Path, stoker: Asked) -> None:
    for lr, ends in ((0.1, (0.5, 0.6, 0.7)), (0.2, (0.52, 0.61, 0.72))):
        for seed, end in enumerate(ends):
            run(tmp_path, f"{lr}-{seed}", {"lr": lr, "seed": seed}, [1.0, end])
    first, second = stoker("seeds", "val/loss", tmp_path, "--json").value["groups"]
    assert first["against_best"] == ""
    assert second["against_best"].endswith("not told apart")


def test_one_seed_twice_is_told_and_a_wrong_question_refused(tmp_path: Path, stoker: Asked) -> None:
    for name in ("a", "b"):
        run(tmp_path, name, {"lr": 1, "seed": 5}, [1.0, 0.5])
    assert any("1 of 2 differ" in w for w in stoker("seeds", "val/loss", tmp_path, "--json").value["warnings"])
    assert stoker("seeds", "val/los", tmp_path).code == 2
    assert stoker("seeds", "val/loss", tmp_path, "--min", "--max").code == 2


@pytest.mark.parametrize("key", ["model_name", "model.name", "dataset.version", "dataset_id", "optimizer.name"])
def test_what_was_trained_on_what_is_no_name_of_a_run(tmp_path: Path, stoker: Asked, key: str) -> None:
    for seed, value in enumerate(("one", "one", "two", "two")):
        config: dict[str, Any] = {"seed": seed, "name": f"r{seed}", "run": {"id": seed}, "output_dir": f"/out/{seed}"}
        first, _, second = key.partition(".")
        run(tmp_path, f"r{seed}", config | {first: {second: value} if second else value}, [1.0, 0.5 + seed / 100])
    said = stoker("seeds", "val/loss", tmp_path, "--json").value
    assert [group["settings"] for group in said["groups"]] == [{key: '"one"'}, {key: '"two"'}]
    assert said["ignored"] == ["name", "output_dir", "run.id"]
