# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a project says of its metrics in `stoker-metrics.yml`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asked import Asked, jsonl

SCHEMA = """\
metrics:
  train/loss: {label: Loss, better: higher, format: .3f}
  val/acc: {label: Accuracy, format: .1%}
  "lr*": {better: lower, format: .1e, group: Optimizer}
  "*": {format: .2%}
groups: {train: Training}
validation: {val: Validation}
per_step: {"train/ce_step_{i}": Cross entropy}
"""


@pytest.mark.accepts("R04")
def test_a_schema_changes_labels_and_which_way_is_better(two: Path, stoker: Asked) -> None:
    before = {m["name"]: m for m in stoker("compare", two / "a", two / "b", "--json").value["metrics"]}
    assert (before["train/loss"]["better"], before["train/loss"]["label"]) == ("b", "train/loss")
    (two / "stoker-metrics.yml").write_text(SCHEMA)
    after = {m["name"]: m for m in stoker("compare", two / "a", two / "b", "--json").value["metrics"]}
    assert (after["train/loss"]["better"], after["train/loss"]["label"]) == ("a", "Loss")
    assert (after["val/loss"]["label"], after["val/loss"]["group"]) == ("Validation loss", "Validation")
    assert (before["lr"]["better"], after["lr"]["better"]) == (None, "same")
    best = stoker("best", "train/loss", two, "--json").value
    assert (best["direction"], best["runs"][0]["info"]["id"]) == ("max", "a/metrics.jsonl")
    keys = {key["name"]: key for key in stoker("keys", two / "a", "--json").value["keys"]}
    groups = {"lr": "Optimizer", "train/loss": "Training", "val/acc": "Validation", "val/loss": "Validation"}
    assert {name: key["group"] for name, key in keys.items()} == groups
    assert keys["train/loss"]["direction"] == "max"
    for group in ("Validation", "val"):
        grouped = stoker("compare", two / "a", two / "b", "-g", group, "--json").value["metrics"]
        assert [m["name"] for m in grouped] == ["val/acc", "val/loss"]


@pytest.mark.accepts("R04")
def test_a_schema_says_how_values_are_shown_but_a_loss_is_no_percentage(two: Path, stoker: Asked) -> None:
    (two / "stoker-metrics.yml").write_text(SCHEMA)
    for command in ("summary", "stats"):
        shown = stoker(command, two / "a").out
        assert re.search(r"Accuracy .*25\.0%", shown)
        assert re.search(r"Loss .*2\.000", shown)
        (loss,) = [line for line in shown.splitlines() if "Validation loss" in line]
        assert "%" not in loss.split("↓")[0].split("↑")[0]
    assert "25.0%" in stoker("history", two / "a", "-n", 1).out
    assert "1.0e-03" in stoker("compare", two / "a", two / "b").out
    (two / "stoker-metrics.yml").write_text("metrics: {val/loss: {format: .1%}}")
    said = stoker("summary", two / "a")
    assert (said.code, said.out) == (2, "")
    assert "metrics.val/loss.format: a loss is no share, so never a percentage" in said.err


@pytest.mark.accepts("R04")
def test_metrics_of_a_models_steps_are_one_line(two: Path, stoker: Asked) -> None:
    (two / "stoker-metrics.yml").write_text(SCHEMA)
    entropies = {f"train/ce_step_{i}": 8.0 - i / 2 for i in range(12)}
    path = jsonl(two / "steps" / "m.jsonl", [{"step": 1, **entropies, "train/ce_step_x": 1, "train/loss": 3}])
    said = stoker("summary", path, "--json").value
    assert said["per_step"] == [
        {"pattern": "train/ce_step_{i}", "label": "Cross entropy", "values": [[i, 8 - i / 2] for i in range(12)]}
    ]
    assert {m["stats"]["name"] for m in said["metrics"]} == {"train/loss", "train/ce_step_x"}
    assert "  Cross entropy by step: 8 (0), 7.5 (1)," in said["text"]
    assert "… 2.5 (11)" in said["text"]


@pytest.mark.accepts("R04")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("metrics: {a: {better: down}}", "metrics.a.better: 'down' is not lower or higher"),
        ("metrics: {a: {format: zz}}", "metrics.a.format: 'zz' is no format of a number"),
        ("metrics: {a: {colour: red}}", "metrics.a: there is no 'colour'. Known here: label, better, format, group"),
        ("metrics: [a]", "metrics is no mapping"),
        ("metric: {}", "it: there is no 'metric'. Known here: metrics, groups, validation, per_step"),
        ("per_step: {a: b}", "per_step.a: {i} has to stand in it, once"),
        ("metrics: {a: [", ":1: not valid YAML"),
        ("!!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_wrong_schema_is_refused(text: str, sentence: str, two: Path, stoker: Asked) -> None:
    (two / "stoker-metrics.yml").write_text(text)
    for asked in (("summary", two / "a"), ("best", "train/loss", two)):
        said = stoker(*asked)
        assert said.code == 2
        assert "stoker-metrics.yml" in said.err
        assert sentence in said.err
