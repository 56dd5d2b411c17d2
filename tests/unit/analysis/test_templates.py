# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first stoker-metrics.yml: from a run, and from templates of what common trainers log."""

from __future__ import annotations

import fnmatch
import math
from pathlib import Path

import pytest
from asked import Asked, jsonl, the_run
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.analysis.schema import parsed, shown
from stoker.analysis.templates import TEMPLATES, proposed, template

# What the trainers log: transformers' Trainer (trainer_state.json and its W&B names), Lightning's tutorials with
# LearningRateMonitor, Keras' CSVLogger, Ultralytics' results.csv, nanoGPT's wandb.log, Stable-Baselines3 and CleanRL.
LOGGED = {
    "huggingface": {
        "loss": "lower", "train/loss": "lower", "eval_loss": "lower", "eval/loss": "lower", "eval_accuracy": "higher",
        "eval_f1": "higher", "learning_rate": None, "train/learning_rate": None, "grad_norm": None,
        "train_samples_per_second": "higher", "eval_runtime": "lower", "total_flos": None, "train_loss": "lower",
    },
    "lightning": {
        "train_loss": "lower", "train_loss_step": "lower", "train_loss_epoch": "lower", "val_loss": "lower",
        "val_acc": "higher", "test_acc": "higher", "test_loss": "lower", "lr-Adam": None, "train_acc": "higher",
    },
    "keras": {
        "loss": "lower", "accuracy": "higher", "val_loss": "lower", "val_accuracy": "higher", "learning_rate": None,
        "val_sparse_categorical_accuracy": "higher", "val_auc": None, "lr": None,
    },
    "ultralytics": {
        "train/box_loss": "lower", "train/cls_loss": "lower", "train/dfl_loss": "lower", "val/box_loss": "lower",
        "metrics/precision(B)": "higher", "metrics/recall(B)": "higher", "metrics/mAP50(B)": "higher",
        "metrics/mAP50-95(B)": "higher", "lr/pg0": None,
    },
    "nanogpt": {"train/loss": "lower", "val/loss": "lower", "lr": None, "mfu": "higher"},
    "rl": {
        "rollout/ep_rew_mean": "higher", "rollout/ep_len_mean": None, "time/fps": "higher", "train/value_loss": "lower",
        "train/explained_variance": "higher", "train/approx_kl": None, "train/clip_fraction": None,
        "train/learning_rate": None, "eval/mean_reward": "higher", "eval/mean_ep_length": None,
        "charts/episodic_return": "higher", "charts/episodic_length": None, "charts/SPS": "higher",
        "charts/learning_rate": None, "losses/value_loss": "lower", "losses/approx_kl": None, "losses/clipfrac": None,
        "losses/explained_variance": "higher",
    },
}  # fmt: skip


@pytest.mark.accepts("R26")
@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_knows_what_its_trainer_logs(name: str) -> None:
    schema = parsed(template(name), name)
    ways = {"min": "lower", "max": "higher", None: None}
    assert {metric: ways[schema.direction(metric)] for metric in LOGGED[name]} == LOGGED[name]
    for pattern in schema.metrics:
        assert fnmatch.filter(LOGGED[name], pattern), f"{pattern} matches nothing that is logged"
    for metric in LOGGED[name]:
        assert schema.group(metric) or name == "nanogpt"


@pytest.mark.accepts("R26")
def test_the_first_pattern_counts() -> None:
    schema = parsed(template("ultralytics"), "")
    assert schema.label("metrics/mAP50(B)") == "mAP 50"
    assert schema.label("metrics/mAP50-95(B)") == "mAP 50-95"
    assert shown(0.873, schema.format("metrics/recall(B)")) == "87.3%"
    assert parsed(template("keras"), "").label("val_accuracy") == "Validation accuracy"


@pytest.mark.accepts("R26")
def test_a_template_changes_what_is_said(tmp_path: Path, stoker: Asked) -> None:
    path = jsonl(tmp_path / "r" / "m.jsonl", [{"step": step, "lr-Adam": 3e-4, "val_acc": 0.5} for step in range(3)])
    assert stoker("init", tmp_path, "--template", "lightning").code == 0
    shown_now = stoker("stats", path).out
    assert "Validation accuracy" in shown_now
    assert "50.0%" in shown_now
    assert "3.00e-04" in shown_now


@pytest.mark.accepts("R24")
def test_a_schema_is_proposed_from_a_run(tmp_path: Path, stoker: Asked) -> None:
    rows = [
        {
            "step": step, "train/loss": 2.0 + 1 / (step + 1), "val/acc": step / 20, "lr": 3e-4,
            "tokens_per_s": 41234.5 + step,
            "custom": 0.5, **{f"ce_{n}/step": 1.5 for n in range(5)}, "yes": 1.25, "a: b #": 7,
        }
        for step in range(10)
    ]  # fmt: skip
    path = jsonl(tmp_path / "r" / "m.jsonl", rows)
    said = stoker("init", tmp_path / "r", "--from-run", path)
    assert said.code == 0
    assert "stoker-metrics.yml" in said.out
    run = the_run(path)
    schema = run.schema
    assert (schema.direction("train/loss"), schema.direction("val/acc"), schema.direction("custom")) == (
        "min",
        "max",
        None,
    )
    assert (schema.format("val/acc"), schema.format("lr"), schema.format("train/loss")) == (".1%", ".2e", ".4f")
    assert (schema.format("tokens_per_s"), schema.format("a: b #")) == (".1f", None)
    assert (schema.group("train/loss"), schema.label("val/acc")) == ("Train", "Validation acc")
    assert schema.per_step == {"ce_{i}/step": "ce_/step"}
    assert (
        "custom: {format: .4f}  # which way is better is not known" in (tmp_path / "r/stoker-metrics.yml").read_text()
    )
    assert set(schema.metrics) == {"train/loss", "val/acc", "lr", "tokens_per_s", "custom", "yes", "a: b #"}
    again = stoker("init", tmp_path / "r", "--from-run", path)
    assert (again.code, again.out) == (2, "")
    assert "is there already (next: --show" in again.err
    shown_again = stoker("init", tmp_path / "r", "--from-run", path, "--show")
    assert shown_again.out == (tmp_path / "r/stoker-metrics.yml").read_text()


ODD = [
    "", '"', "'", "\\", "a: b", "# x", "- y", "-y", "? a", "!x", "&x", "*x", "[x", "{x", "%x", "@x", "`x", "|", ">",
    "1e3", "~", "=", "<<", "a#b", "a :b", " a", "a ", "a\nb", "a\tb", "\x7f", "\x85", "\u2028", "\ufeff", "\ud800", "ü",
    "日本", "\U0001f600", "x" * 2000, "x" * 200 + " " + "y" * 1000, "train/", "a//b", "Train/ü: '",
    "y" * 1200 + "/loss", "\U0001f600" * 300 + "/acc",
]  # fmt: skip


@pytest.mark.accepts("R24")
@settings(deadline=None)
@given(
    name=st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.text(alphabet="-:#'\"{}[]&*!|>%@`~ /1aü", max_size=6))
)
def test_a_metric_of_any_name_is_in_the_proposal_under_that_name(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{"step": step, name: 0.5 + step, **{f"{name} {n}": 1.5 for n in range(3)}} for step in range(2)]
    path = jsonl(tmp_path_factory.mktemp("odd") / "m.jsonl", rows)
    run = the_run(path)
    text = proposed(run)
    path.with_name("stoker-metrics.yml").write_text(text, encoding="utf-8")
    schema = the_run(path).schema
    for metric in run.metrics:
        assert metric.startswith("_") or metric in schema.metrics or schema.place_in_steps(metric), text


NAMES = ["on", "1", "a: b", "# x", "- y", "null", "n_1/x", "n_2/x", "n_3/x", "train/loss", "val/acc", "{i}1", "lr", "'"]


@pytest.mark.accepts("R24")
@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.dictionaries(
            st.one_of(st.text(max_size=12), st.sampled_from(NAMES)), st.floats(allow_nan=True), min_size=1, max_size=8
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_run_has_a_proposal_that_can_be_read(
    rows: list[dict[str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = jsonl(tmp_path_factory.mktemp("any") / "m.jsonl", [{"step": step, **row} for step, row in enumerate(rows)])
    run = the_run(path)
    schema = parsed(proposed(run), "")
    for name, metric in run.metrics.items():
        form = schema.format(name)
        assert form is None or "loss" not in name.lower() or "%" not in form
        if form is not None and math.isfinite(metric.last):
            assert shown(metric.last, form)


@pytest.mark.accepts("R24", "R26")
def test_wrong_questions_write_nothing(two: Path, stoker: Asked) -> None:
    for asked, words in (
        ((), "say where it comes from"), (("--template", "jax"), "no template 'jax' (next: one of huggingface"),
        (("--template", "rl", "--from-run", two / "a"), "say where"), (("--from-run", two / "nothing"), "nothing"),
        ((two / "no" / "folder", "--template", "rl"), "there is no folder"),
    ):  # fmt: skip
        said = stoker("init", *asked)
        assert (said.code, said.out) == (2, ""), asked
        assert words in said.err
    assert not list(Path().iterdir())
