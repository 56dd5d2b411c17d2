# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of runs, on the command line and as objects."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, jsonl, the_run
from hypothesis import given
from hypothesis import strategies as st

from stoker import Fleet
from stoker.analysis import AnalysisError, Metric, chart, thin
from stoker.analysis.statistics import stability, stats
from stoker.errors import UsageError


def with_200_keys(path: Path) -> Path:
    rows = [
        {"step": step, "val/loss": 1 / (step + 1), **{f"layer_{n}/weights/gradient_norm": step * n for n in range(200)}}
        for step in range(50)
    ]
    return jsonl(path / "m.jsonl", rows)


@pytest.mark.accepts("R05")
def test_the_summary_of_200_keys_fits_into_500_tokens(tmp_path: Path, stoker: Asked) -> None:
    said = stoker("summary", with_200_keys(tmp_path), "--json").value
    assert said["tokens"] <= 500
    assert said["tokens"] == thin.tokens(said["text"])
    assert said["metrics"][0]["stats"]["name"] == "val/loss"
    assert len(said["metrics"]) + said["left_out"] == 201
    assert said["left_out"] > 100
    shown = stoker("summary", tmp_path / "m.jsonl")
    assert f"… {said['left_out']} more metrics: stoker runs keys" in shown.out
    assert re.search(r"\d+ of 500 tokens", shown.out)
    small = stoker("summary", tmp_path / "m.jsonl", "--tokens", 150, "--json").value
    assert small["tokens"] <= 150
    assert len(small["metrics"]) < len(said["metrics"])
    assert stoker("summary", tmp_path / "m.jsonl", "--tokens", 5).code == 2


@pytest.mark.accepts("R05")
def test_hostile_names_do_not_break_the_budget(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": step, **{f"{n} " + "\x1b[31m名" * 300: 1.0 for n in range(40)}} for step in range(20)]
    said = stoker("summary", jsonl(tmp_path / "m.jsonl", rows), "--json").value
    assert said["tokens"] <= 500
    assert "\x1b" not in stoker("summary", tmp_path / "m.jsonl").out


def test_how_tokens_are_counted() -> None:
    assert [thin.tokens(text) for text in ("", "loss", "losses", "0.41234", "a b", "▇", "a\nb")] == [
        0,
        1,
        2,
        4,
        2,
        2,
        3,
    ]


@pytest.mark.accepts("R06")
def test_an_unknown_key_is_refused_with_those_that_are_near(two: Path, stoker: Asked) -> None:
    run = two / "a"
    for command in ("summary", "history", "stats", "stability"):
        said = stoker(command, run, "-k", "val/los")
        assert said.code == 2
        assert said.out == ""
        assert "has no metric 'val/los'. Did you mean val/loss" in said.err
    assert "It has 4: lr, train/loss, val/acc, val/loss." in stoker("stats", run, "-k", "zzzzzz").err
    assert stoker("best", "val/los", two).code == 2
    picked = stoker("stats", run, "-k", "val/*", "-k", "lr", "--json").value["metrics"]
    assert [metric["name"] for metric in picked] == ["val/acc", "val/loss", "lr"]


@pytest.mark.accepts("R07")
@given(
    values=st.lists(st.floats(), max_size=60).map(lambda numbers: np.array(numbers, dtype=np.float64)),
    width=st.integers(1, 20),
)
def test_a_sparkline_has_its_width_and_shows_what_is_no_number(values: Any, width: int) -> None:
    line = thin.sparkline(values, width)
    assert len(line) == (min(width, len(values)) if len(values) >= 3 else 0)
    assert set(line) <= set(thin.BARS + thin.NOT_FINITE)
    if line:
        assert (thin.NOT_FINITE in line) == (not np.isfinite(values).all())


@pytest.mark.accepts("R07")
def test_sparklines_and_arrows_in_a_terminal_and_in_ascii(tmp_path: Path, stoker: Asked) -> None:
    rows = [
        {"step": step * 10, "loss": float("nan") if step == 50 else 100 - step, "acc": step / 100, "flat": step % 2}
        for step in range(80)
    ]
    path = jsonl(tmp_path / "m.jsonl", rows)
    lines = {line.split()[0]: line for line in stoker("summary", path).out.splitlines()}
    assert lines["loss"] == "  loss 21 ▇▆▅▄▄×▂▁ ↓ 351%/1k · 1 NaN"
    assert "▁▂▃▄▄▅▆▇ ↑" in lines["acc"]
    assert lines["flat"].endswith("→")
    shown = stoker("summary", path, "--ascii").out
    assert shown.isascii()
    assert "^=---x__ v" in shown


@pytest.mark.accepts("R10")
def test_the_slope_is_per_1000_steps_and_not_per_line(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": step * 50, "loss": 5 - step * 50 * 0.002 + 0.01 * (-1) ** step} for step in range(1000)]
    rows[990]["loss"] = float("nan")
    rows += [{"step": 50_000, "few": 1.0}]
    said = stoker("stability", jsonl(tmp_path / "m.jsonl", rows), "--json").value["metrics"]
    few, loss = said
    assert loss["slope_per_1000"] == pytest.approx(-2, abs=1e-3)
    assert loss["verdict"] == "falling"
    assert loss["noise"] == pytest.approx(0.01, rel=0.05)
    assert loss["points"] == 200
    assert (few["verdict"], few["unknown"]) == (None, "cannot tell: 1 finite point, 10 needed")
    table = list(csv.reader(io.StringIO(stoker("stability", tmp_path / "m.jsonl", "--format", "csv").out)))
    exact = dict(zip(table[0], table[2], strict=True))
    assert (exact["name"], exact["verdict"]) == ("loss", "falling")
    assert float(exact["slope_per_1000"]) == loss["slope_per_1000"]
    assert stoker("stability", tmp_path / "m.jsonl", "--window", 0).code == 2


@pytest.mark.accepts("R10")
def test_noise_alone_is_steady_and_a_million_points_cost_less_than_2_seconds() -> None:
    random = np.random.default_rng(1)
    values = 3 + random.normal(0, 0.1, 1_000_000)
    values[5] = math.nan
    metric = Metric("loss", np.arange(1e6), values)
    began = time.process_time()
    assert stability(metric).verdict == "steady"
    assert time.process_time() - began < 2
    assert stability(Metric("loss", np.arange(1e6), values + np.arange(1e6) * 1e-7)).verdict == "rising"


@given(values=st.lists(st.floats(), min_size=1, max_size=40), gap=st.sampled_from([0.0, 1.0, 1e15]))
def test_figures_of_any_numbers_are_in_their_range(values: list[float], gap: float) -> None:
    metric = Metric("x", np.arange(len(values)) * gap, np.array(values, dtype=np.float64))
    figures = stats(metric, {})
    if figures.min is not None and figures.max is not None and figures.mean is not None:
        room = 1e-9 * max(abs(figures.min.value), abs(figures.max.value))
        assert figures.min.value - room <= figures.mean <= figures.max.value + room
    moves = stability(metric)
    assert (moves.verdict is None) == (moves.unknown is not None)
    if moves.verdict is not None:
        assert moves.slope_per_1000 is not None
        assert math.isfinite(moves.slope_per_1000)


@pytest.mark.accepts("R11")
def test_two_runs_side_by_side(two: Path, stoker: Asked) -> None:
    said = stoker("compare", two / "a", two / "b", "--json").value
    metrics = {metric["name"]: metric for metric in said["metrics"]}
    loss = metrics["val/loss"]
    assert (loss["a"], loss["b"]) == ({"step": 1000, "value": 300}, {"step": 2000, "value": 650})
    assert (loss["delta"], loss["better"]) == (350, "a")
    assert loss["percent"] == pytest.approx(350 / 3)
    assert (loss["best_a"], loss["best_b"]) == ({"step": 700, "value": 0}, {"step": 700, "value": 0})
    assert metrics["val/acc"]["better"] == "b"
    assert (metrics["lr"]["percent"], metrics["lr"]["better"]) == (0, None)
    differences = {entry["key"]: entry for entry in said["config"]}
    assert set(differences) == {"model.depth", "only"}
    assert (differences["model.depth"]["a"], differences["model.depth"]["b"]) == (12, 24)
    assert (differences["only"]["a_has"], differences["only"]["b_has"]) == (False, True)
    assert any("4 of 4 metrics are compared at different steps" in warning for warning in said["warnings"])

    def names(*options: str) -> list[str]:
        value = stoker("compare", two / "a", two / "b", *options, "--json").value
        assert value["hidden"] == 4 - len(value["metrics"])
        return [metric["name"] for metric in value["metrics"]]

    assert names("-f", "loss") == ["train/loss", "val/loss"]
    assert names("-g", "val") == ["val/acc", "val/loss"]
    assert names("-g", "train", "-g", "val", "-f", "LOSS") == ["train/loss", "val/loss"]
    assert names("-t", "100") == ["val/acc", "val/loss"]
    assert stoker("compare", two / "a", two / "b", "-f", "zzz").code == 2
    shown = stoker("compare", two / "a", two / "b").out
    assert "! 4 of 4 metrics are compared at different steps" in shown
    assert re.search(r"only +\(not set\) +null", shown)


@pytest.mark.accepts("R12")
def test_runs_are_compared_at_one_step(two: Path, stoker: Asked) -> None:
    a, b = two / "a", two / "b"
    said = stoker("compare", f"{a}@537", f"{b}@537", "--json").value
    metrics = {metric["name"]: metric for metric in said["metrics"]}
    assert metrics["train/loss"]["a"]["step"] == metrics["train/loss"]["b"]["step"] == 537
    assert metrics["val/loss"]["a"] == {"step": 500, "value": 200}
    assert metrics["val/loss"]["b"] == {"step": 500, "value": 100}
    assert said["warnings"] == []
    strict = stoker("compare", f"{a}@537", f"{b}@537", "--tolerance", 5, "--json").value
    (missing,) = [m for m in strict["metrics"] if m["name"] == "val/loss"]
    assert missing["a"] is None
    assert missing["unknown"].startswith("A: nearest point is 37 steps away, 5 are allowed")
    one_sided = stoker("compare", f"{a}@500", b, "--json").value
    assert (one_sided["a_step"], one_sided["b_step"]) == (500, None)
    (loss,) = [m for m in one_sided["metrics"] if m["name"] == "train/loss"]
    assert (loss["a"]["step"], loss["b"]["step"]) == (500, 2000)
    for step in (1500, 0):
        refused = stoker("compare", f"{a}@{step}", b)
        assert refused.code == 2
        assert f"step {step} is beyond" in refused.err
        assert "which has 1 to 1000" in refused.err
    assert stoker("compare", "@5", b).code == 2


@pytest.mark.accepts("R13")
def test_history_has_exactly_n_rows_and_keeps_the_extremes(two: Path, stoker: Asked) -> None:
    rows = [{"step": step, "x": math.sin(step / 50), "y": 1.0} for step in range(5000)]
    rows[1234]["x"] = 99.0
    rows[4321]["x"] = -99.0
    rows[777]["y"] = float("nan")
    path = jsonl(two / "c" / "m.jsonl", rows)
    for n in (1, 2, 7, 20, 4999, 5000, 9000):
        said = stoker("history", path, "-n", n, "--json").value
        assert len(said["rows"]) == min(n, 5000)
        assert said["total"] == 5000
        assert said["rows"][-1]["step"] == 4999
        steps = [row["step"] for row in said["rows"]]
        assert steps == sorted(set(steps))
        if n >= 7:
            assert {0, 777, 1234, 4321, 4999} <= set(steps)
            assert {99, -99} <= {row["values"]["x"] for row in said["rows"]}
        assert said["tokens"] == thin.tokens(said["text"])
    assert re.search(r"20 of 5,000 rows · \d+ tokens as CSV", stoker("history", path).out)
    assert len(stoker("history", path, "--all", "--json").value["rows"]) == 5000
    assert stoker("history", path, "-n", 0).code == 2


@pytest.mark.accepts("R37")
def test_curves_are_drawn_with_every_point(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": step, "up": step, "loss": 100 - step if step != 50 else float("inf")} for step in range(101)]
    rows[90]["up"] = 0
    path = jsonl(tmp_path / "m.jsonl", rows)
    said = stoker("chart", path, "-k", "*", "--width", 40, "--height", 10, "--json").value["charts"]
    loss, up = said
    assert (loss["name"], loss["low"], loss["high"]) == ("loss", 0, 100)
    assert len(loss["lines"]) == 12  # the curve, what is no number, the steps
    assert all(len(line) <= 40 for line in loss["lines"])
    curve = [line.partition("|")[2] for line in loss["lines"][:10]]
    assert loss["lines"][0].startswith("100|")
    assert loss["lines"][9].startswith("  0|")
    begins = [min((at for at, c in enumerate(line) if c != "\u2800"), default=-1) for line in curve]
    assert begins == sorted(begins)  # it falls from the left to the right
    assert begins[0] == 0
    assert len(curve[9]) == 36
    assert loss["lines"][10].index("×") == 4 + 18
    assert loss["lines"][11].split() == ["0", "100"]
    # One point far off is seen among all others: a line to the bottom and back.
    assert sum(line.partition("|")[2][32:33] > "\u2800" for line in up["lines"][:10]) >= 8
    shown = stoker("chart", path, "--ascii").out
    assert shown.isascii()
    assert shown.startswith("loss  m.jsonl\n100|*")
    for options in (("--width", 5), ("--height", 1), ("-k", "nothing")):
        assert stoker("chart", path, *options).code == 2


@pytest.mark.accepts("R37")
@given(values=st.lists(st.floats(), min_size=1, max_size=50), steps=st.integers(0, 3))
def test_any_curve_can_be_drawn(values: list[float], steps: int) -> None:
    metric = Metric("x", np.arange(len(values)) * float(steps), np.array(values, dtype=np.float64))
    drawn = chart.draw(metric, 60, 5)
    assert all(len(line) <= 60 for line in drawn.lines) or drawn.low is None


@pytest.mark.accepts("R14")
def test_figures_keys_settings_and_notes(two: Path, stoker: Asked) -> None:
    (loss,) = stoker("stats", two / "a", "-k", "val/loss", "--json").value["metrics"]
    assert (loss["final"], loss["best"], loss["max"]) == (300, {"step": 700, "value": 0}, {"step": 100, "value": 600})
    assert (loss["count"], loss["nan"], loss["mean"]) == (10, 0, 270)
    keys = {key["name"]: key for key in stoker("keys", two / "a", "--json").value["keys"]}
    assert set(keys) == {"train/loss", "lr", "val/acc", "val/loss"}
    assert (keys["val/acc"]["count"], keys["val/acc"]["last_step"], keys["val/acc"]["direction"]) == (10, 1000, "max")
    settings = stoker("config", two / "a", "--json").value["settings"]
    assert settings == {"lr": 0.001, "model.depth": 12, "model.name": "x|y"}
    assert "metrics.jsonl" in stoker("notes", two / "a").out


@pytest.mark.accepts("R14")
def test_the_best_runs_by_their_best_value_ever(two: Path, stoker: Asked) -> None:
    said = stoker("best", "train/loss", two, "--json").value
    assert said["direction"] == "min"
    assert [run["info"]["id"] for run in said["runs"]] == ["b/metrics.jsonl", "a/metrics.jsonl"]
    assert said["runs"][0]["best"]["value"] == said["runs"][0]["final"] == 0.5 * 1.5
    worst = stoker("best", "train/loss", two, "--max", "-n", 1, "--json").value
    assert [run["info"]["id"] for run in worst["runs"]] == ["a/metrics.jsonl"]
    assert (worst["runs"][0]["best"], worst["runs"][0]["final"]) == ({"step": 1, "value": 1001}, 2)
    assert worst["left_out"] == 1
    refused = stoker("best", "lr", two)
    assert refused.code == 2
    assert "--min or --max" in refused.err
    assert stoker("best", "lr", two, "--min").code == 0
    assert stoker("best", "lr", two, "--min", "--max").code == 2


@pytest.mark.accepts("R14")
def test_runs_are_found_by_name_tag_group_and_note(wandb_runs: Path, stoker: Asked) -> None:
    def ids(*asked: str) -> set[str]:
        text, *options = asked
        return {run["id"] for run in stoker("find", text, wandb_runs, *options, "--json").value["runs"]}

    assert ids("A FAILED") == {"failed"}
    assert ids("what a day") == ids("") == ids("two") == ids("g1") == {"finished", "failed", "killed"}
    assert ids("", "--tag", "one") == ids("", "--group", "g1") == {"finished", "failed", "killed"}
    assert ids("", "--tag", "on") == ids("", "--group", "g") == ids("nobody") == set()


def test_the_newest_run_is_found(two: Path, stoker: Asked) -> None:
    os.utime(two / "a/metrics.jsonl", (2e9, 2e9))
    assert stoker("latest", two, "--json").value["info"]["id"] == "a/metrics.jsonl"
    (two / "empty").mkdir()
    assert stoker("latest", two / "empty").code == 2


def with_seeds(folder: Path) -> Path:
    for seed in (1, 2):
        jsonl(folder / f"seed{seed}" / "m.jsonl", [{"step": 1, "train/loss": seed}])
        (folder / f"seed{seed}" / "config.json").write_text(f'{{"lr": 1, "seed": {seed}}}')
    return folder


@pytest.mark.accepts("R21")
def test_tables_in_markdown_have_as_many_cells_in_each_row(two: Path, wandb_runs: Path, stoker: Asked) -> None:
    rows = [{"step": 1, "a|b": 1, "c\nd": 2, "e\\|f": 3}]
    hostile = jsonl(two / "odd" / "m.jsonl", rows)
    for asked in (
        ("list", wandb_runs), ("find", "", wandb_runs), ("keys", hostile), ("history", hostile), ("stats", hostile),
        ("stability", two / "a"), ("config", two / "a"), ("notes", "failed", "--folder", wandb_runs),
        ("best", "train/loss", two), ("compare", two / "a", two / "b"), ("check", two / "a"), ("check", two, "--all"),
        ("eta", two / "a", "--steps", 5000), ("seeds", "train/loss", with_seeds(two)),
        ("best", "train/loss", two), ("compare", two / "a", two / "b"), ("comment", two / "b", two / "a"),
        ("query", "`train/loss` > 0 and config(`model.name`) is known", two), ("cost", two, "--price", 2, "--gpus", 1),
        ("why", two / "a", two / "b"),
    ):  # fmt: skip
        text = stoker(*asked, "--format", "md").out
        tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
        assert tables, asked
        for table in tables:
            counts = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table}
            assert len(counts) == 1, table
            assert set(table[1]) <= set("|- ")
            assert len(table) > 2


@pytest.mark.accepts("R41")
def test_each_table_is_csv_with_all_its_rows(two: Path, wandb_runs: Path, stoker: Asked) -> None:
    """Every command that shows a table: nothing but CSV on standard output, and each line has as many cells."""
    a, b, seeds = two / "a", two / "b", with_seeds(two.with_name(f"{two.name}-seeds"))
    for asked, rows in (
        (("list", wandb_runs), 3), (("find", "", wandb_runs), 3), (("keys", a), 4), (("config", a), 3),
        (("notes", "failed", "--folder", wandb_runs), None), (("history", a, "-n", 7), 7), (("stats", a), 4),
        (("stability", a), 4), (("best", "train/loss", two), 2), (("query", "lr > 0", two), 2), (("cost", two), 2),
        (("compare", a, b), 4), (("why", a, b), 2),
        (("seeds", "train/loss", seeds), None), (("eta", a, "--steps", 5000), None),
    ):  # fmt: skip
        said = stoker(*asked, "--format", "csv")
        head, *lines = csv.reader(io.StringIO(said.out))
        assert len(lines) == (len(lines) if rows is None else rows), asked
        assert lines, asked
        assert {len(line) for line in lines} == {len(head)}, asked


@pytest.mark.accepts("R41")
def test_csv_of_what_is_to_come_and_of_seeds_is_exact(two: Path, stoker: Asked) -> None:
    said = stoker("eta", two / "a", "--steps", 50_000, "--format", "csv")
    whole = stoker("eta", two / "a", "--steps", 50_000, "--json").value["projections"]
    told = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["metric"], float(row["value"]), float(row["step"])) for row in told] == [
        (projection["metric"], projection["value"], projection["step"]) for projection in whole
    ]
    assert told
    assert "from its newest point on" in said.err
    (group,) = csv.DictReader(io.StringIO(stoker("seeds", "train/loss", with_seeds(two), "--format", "csv").out))
    (known,) = stoker("seeds", "train/loss", with_seeds(two), "--json").value["groups"]
    assert (float(group["mean"]), group["runs"].split()) == (known["mean"], known["runs"])


def test_csv_is_nothing_but_csv(two: Path, stoker: Asked) -> None:
    (two / "a/metrics.jsonl").write_text('{"step": 12345, "loss": 1234.56789}\n')
    said = stoker("history", two / "a", "--format", "csv")
    assert said.out == "step,loss\n12345,1234.56789\n"
    assert "1 of 1 rows" in said.err
    for asked in (("stats", two / "a"), ("compare", two / "a", two / "a"), ("best", "loss", two / "a")):
        head, row = csv.reader(io.StringIO(stoker(*asked, "--format", "csv").out))
        assert "1234.56789" in row
        assert len(head) == len(row)


@pytest.mark.accepts("R23", "R41")
def test_every_answer_is_an_object_and_json(two: Path, stoker: Asked) -> None:
    import stoker as package

    assert (Path(package.__file__).parent / "py.typed").exists()
    a, b = str(two / "a"), str(two / "b")
    with Fleet() as fleet:
        runs = fleet.runs
        answers: dict[tuple[Any, ...], Any] = {
            ("list", two): runs.list(str(two)), ("find", "a/", two): runs.find("a/", str(two)),
            ("summary", a): runs.summary(a), ("latest", two): runs.latest(str(two)), ("keys", a): runs.keys(a),
            ("config", a): runs.config(a), ("notes", a): runs.notes(a), ("history", a): runs.history(a),
            ("chart", a): runs.chart(a),
            ("stats", a): runs.stats(a), ("stability", a): runs.stability(a),
            ("best", "train/loss", two): runs.best("train/loss", str(two)), ("compare", a, b): runs.compare(a, b),
            ("check", a): runs.check(a), ("eta", a): runs.eta(a),
            ("seeds", "train/loss", two): runs.seeds("train/loss", str(two)),
            ("query", "lr > 0", two): runs.query("lr > 0", str(two)), ("cost", two): runs.cost(str(two)),
            ("why", a, b): runs.why(a, b),
            ("report", a, b): runs.report(a, b), ("comment", a, b): runs.comment(a, b),
            ("init", "--from-run", a, "--show"): runs.init(from_run=a, show=True),
            ("watch", a, "--once"): next(iter(runs.watch(a, once=True))),
        }  # fmt: skip
        with pytest.raises(UsageError, match="Did you mean"):
            runs.summary(a, key=["val/los"])
    from stoker.operations import operations

    # What a machine did is known of jobs alone: the test of their runs asks for it.
    commands = {o.command for o in operations() if o.area == "runs"} - {"runs machine"}
    assert {f"runs {asked[0]}" for asked in answers} == commands
    for asked, answer in answers.items():
        told = stoker(*asked, "--json").value
        assert set(told) == {field.name for field in dataclasses.fields(answer)}, asked
    assert answers["stats", a].metrics[0].count == 1000


@pytest.mark.accepts("R23")
def test_the_library_needs_no_fleet(two: Path) -> None:
    run = the_run(two / "a")
    assert run.metrics["train/loss"].last == 2
    assert run.last_step == 1000
    with pytest.raises(ValueError, match="read-only"):
        run.metrics["train/loss"].values[0] = 1
    with pytest.raises(AnalysisError):
        thin.rows([run.metrics["lr"]], 0)


def test_a_folder_of_several_runs_is_no_run(two: Path, stoker: Asked) -> None:
    said = stoker("summary", two)
    assert said.code == 2
    assert "holds 2 runs: " in said.err
    assert f"stoker runs latest {two}" in said.err
    assert stoker("summary", two / "nothing").code == 2


def test_the_commands_cost_no_import_of_what_they_do_not_use() -> None:
    script = """
import sys
from stoker.cli import render
from stoker.operations import operations
operations()
print(*sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=True)
    assert not {"numpy", "duckdb"} & set(ended.stdout.split())
