# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of JSON and CSV, a Trainer's state and plain output, whole and damaged."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, jsonl, the_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers import (
    csv_table,
    output_log,
    trainer_state,
)
from ansible_collections.stoker.fleet.plugins.module_utils.readers import jsonl as by_line
from stoker.analysis import Unreadable, read, runs_in, tables

ODD = ['{"step": 3, "loss": 0.25}', '{"step": 4, "lo', "[1, 2]", "", '"text"']


@pytest.mark.accepts("R03")
def test_what_is_no_number_is_skipped_and_counted(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"step": 0, "loss": 1.0, "who": "me", "none": None, "list": [1], "flag": True, "deep": {"a": 5}},
        {"step": 1, "loss": float("nan")},
        {"step": 2, "loss": 10**400},
        *ODD,
    ]
    path = jsonl(tmp_path / "m.jsonl", rows)
    path.write_bytes(path.read_bytes() + b'{"step": 9, "loss": 0.1')
    run = the_run(path)
    assert run.metrics["loss"].steps.tolist() == [0, 1, 3]
    assert np.array_equal(run.metrics["loss"].values, [1.0, math.nan, 0.25], equal_nan=True)
    assert run.metrics["deep.a"].values.tolist() == [5]
    assert run.skipped == {
        "value that is no number (text)": 1,
        "value that is no number (null)": 1,
        "value that is no number (list)": 1,
        "value that is no number (true or false)": 1,
        "number beyond all bounds": 1,
        "line that is no JSON": 1,
        "line that is no JSON object": 2,
        "incomplete last line": 1,
    }


@pytest.mark.accepts("R03")
def test_100000_rows_cost_less_than_a_second_of_cpu(tmp_path: Path) -> None:
    row = '{{"step": {0}, "loss": 0.{0}, "val": 1.5, "lr": 0.001, "norm": 3.25}}\n'
    path = tmp_path / "m.jsonl"
    path.write_text("".join(row.format(step) for step in range(100_000)))
    table = tmp_path / "m.csv"
    table.write_text("step,loss,lr\n" + "".join(f"{step},0.{step},0.001\n" for step in range(100_000)))
    tables.read_jsonl(path)  # DuckDB is imported once
    for file in (path, table):
        (found,) = runs_in(file)
        began = time.process_time()
        run = read(found)
        assert time.process_time() - began < 1
        assert len(run.metrics["loss"]) == 100_000
        assert run.metrics["loss"].values[12345] == 0.12345


scalars = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2),
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(["1.5", "NaN", "-3", "Infinity"]),
)  # fmt: skip
objects = st.dictionaries(st.sampled_from(["step", "loss", "va'l", 'q"', "time", "a b", "ключ"]), scalars, max_size=5)
lines = st.one_of(objects.map(json.dumps), st.sampled_from(["", "  ", "{bad", "[1]", "7", '"x"']))


def same(path: Path) -> None:
    """Both readers of JSON lines give the same."""
    plain, quick = by_line.read_jsonl(str(path)), tables.read_jsonl(path)
    assert quick.skipped == plain.skipped
    assert quick.notes == plain.notes
    assert quick.rows == plain.rows
    assert set(quick.series) == set(plain.series)
    for name, series in plain.series.items():
        other = quick.series[name]
        for one, two in ((series.steps, other.steps), (series.values, other.values), (series.times, other.times)):
            assert (one is None) == (two is None)
            assert one is None or np.array_equal(np.array(one), np.array(two), equal_nan=True), name


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(text=st.lists(lines, max_size=8).map("\n".join), end=st.sampled_from(["\n", "", '\n{"step": 4, "l']))
@pytest.mark.accepts("R03")
def test_duckdb_reads_what_the_plain_reader_reads(
    text: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SMALL", 0)
    path = tmp_path / "m.jsonl"
    path.write_text(text + end)
    same(path)


def test_duckdb_is_used_for_large_files_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = [
        {"step": i, "loss": math.sin(i), **({"val": i / 7} if i % 50 == 0 else {})} for i in range(40_000)
    ]
    rows[100:100] = ODD
    rows[5000]["loss"] = None
    rows[5001]["loss"] = "0.5"
    rows[5002]["loss"] = float("nan")
    path = jsonl(tmp_path / "m.jsonl", rows)
    monkeypatch.setattr(tables, "SMALL", 0)
    monkeypatch.setattr(by_line, "read_jsonl", None)  # a fall back to the plain reader would not work
    assert tables.read_jsonl(path).skipped["value that is no number (text)"] == 1
    monkeypatch.undo()
    monkeypatch.setattr(tables, "SMALL", 0)
    same(path)


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"step": 1, "a": 2}\n{"step": 2, "a": 3}\n',
        b'{"step": 1, "a": 2}\r\n{"step": 2, "a": 3}\r\n\r\n',
        b'{"step": 1, "t": "\xff"}\n{"step": 2, "a": 3}\n',
        b'{"step": 1, "a": 2, "a": 5}\n{"step": 2, "b": 3}\n',
        b'{\n "step": 1,\n "a": 2}\n{"step": 2, "b": 3}\n',
        b'{"step": 1, "A": 2, "a": 5}\n',
        b'{"st\\u0065p": 1, "a\\"b\\\\c": 2}\n{"step": 3, "": 2}\n',
        b'{"step": 1, "a": +2}\n{"step": 1, "a": 0x10}\n{"step": 2, "a": .5}\n{"step": 4, "b": 1}\n',
        b'{"step": 3, "a": 5.}\n{"step": 4, "b": 1}\n',
        b'{"step": 4, "a": nan}\n{"step": 5, "a": inf}\n{"step": 6, "a": -inf}\n',
        b'{"step": 6, "a": 1,}\n{"step": 7, "a": [1, ]}\n{"step": 7, "a": 1} // c\n',
        b'{"step": 6, "a": {"b": {"c": 1}}}\n{"step": 6, "a": 3}\n',
    ],
)
def test_odd_files_are_read_the_same(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALL", 0)
    path = tmp_path / "m.jsonl"
    path.write_bytes(content)
    same(path)


@pytest.mark.parametrize("name", ["a*b.jsonl", "it's.jsonl", "[1].jsonl", "ü.jsonl", "\udcff.jsonl"])
def test_a_file_may_be_called_anything(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALL", 0)
    jsonl(tmp_path / "aXb.jsonl", [{"step": 1, "wrong": 1}])
    assert set(the_run(jsonl(tmp_path / name, [{"step": 1, "loss": 1}])).metrics) == {"loss"}


def test_rows_without_a_step_are_told(tmp_path: Path) -> None:
    run = the_run(jsonl(tmp_path / "m.jsonl", [{"step": 5, "a": 1}, {"a": 2}, {"step": 7, "a": 3}]))
    assert run.metrics["a"].steps.tolist() == [5, 5, 7]
    assert run.remarks == ("1 row has no step, and was given that of the row before",)
    run = the_run(jsonl(tmp_path / "n.jsonl", [{"a": 1}, {"a": 2}]))
    assert run.metrics["a"].steps.tolist() == [0, 1]
    assert run.remarks == ("no step in it: rows are counted from 0",)


@pytest.mark.parametrize(("stamp", "seconds"), [(1.7e9, 1.7e9), (1.7e12, 1.7e9), (12.0, None)])
def test_a_time_is_one_only_when_it_is_a_point_in_time(stamp: float, seconds: float | None, tmp_path: Path) -> None:
    run = the_run(jsonl(tmp_path / "m.jsonl", [{"step": 1, "time": stamp, "a": 1}]))
    assert run.last_time == seconds
    assert ("time" in run.metrics) == (seconds is None)


@pytest.mark.accepts("R03", "R42")
def test_csv_as_lightning_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    folder.mkdir()
    text = "epoch,step,train_loss,val_loss\n0,49,0.5,\n0,49,,0.75\n1,99,nan,\n1,99,oops,0.5\n1,149\n2,199,0.2,0.1"
    (folder / "metrics.csv").write_text(text)
    (folder / "hparams.yaml").write_text("lr: 0.5\nlayers: [1, 2]\n")
    run = the_run(tmp_path)
    assert run.info.id == "version_0"
    assert run.info.config == {"lr": 0.5, "layers": [1, 2]}
    assert run.metrics["val_loss"].values.tolist() == [0.75, 0.5, 0.1]
    assert run.metrics["val_loss"].steps.tolist() == [49, 99, 199]
    assert run.skipped == {"value that is no number (text)": 1, "row with fewer cells than the header": 1}
    assert any("its last value may be cut" in remark for remark in run.remarks)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=300), cut=st.integers(0, 200))
@pytest.mark.accepts("R03")
def test_no_bytes_are_a_traceback(content: bytes, cut: int, tmp_path: Path) -> None:
    whole = b'{"step": 1, "loss": 2.5}\nstep 4 loss 3.5 \xff\x00 acc=5%\n{"log_history": [{"loss": 1}]}\n'
    for data in (content, whole[:cut] + content):
        path = tmp_path / "any"
        path.write_bytes(data)
        for reader in (
            by_line.read_jsonl,
            csv_table.read_csv,
            trainer_state.read_trainer_state,
            output_log.read_output,
        ):
            reading = reader(str(path))
            for series in reading.series.values():
                assert len(series.steps) == len(series.values)


@pytest.mark.accepts("R15")
def test_an_output_log_shows_what_a_terminal_would_show_in_the_end(tmp_path: Path, stoker: Asked) -> None:
    log = tmp_path / "out.log"
    log.write_bytes(
        b"\x1b[1mstarting\x1b[0m seed 7\r\n"
        b"step 0/100  loss 4.0\rstep 10/100  loss 2.5  31 steps/s\r\n"
        b"\x1b[32mstep 20/100\x1b[0m  loss 1.5  val_acc: 93.5%\n"
        b"{'loss': 0.75, 'learning_rate': 5e-05, 'step': 30}\n"
        b"2026-01-02 10:11:12 epoch=3 step=40 loss=nan\n"
        b" 45%|####5     | 45/100 [00:10<00:12, 4.4it/s, loss=0.5]\r 50%|#####     | 50/100 [00:11, loss=0.45, step=50]"
    )
    run = the_run(tmp_path)
    loss = run.metrics["loss"]
    assert loss.steps.tolist() == [10, 20, 30, 40, 50]
    assert np.array_equal(loss.values, [2.5, 1.5, 0.75, math.nan, 0.45], equal_nan=True)
    assert run.metrics["val_acc"].values.tolist() == [0.935]
    assert run.metrics["learning_rate"].values.tolist() == [5e-5]
    assert set(run.metrics) == {"loss", "val_acc", "learning_rate", "epoch"}
    assert run.log[0] == "starting seed 7"
    shown = stoker("summary", log).out
    assert "step 50" in shown
    assert "\x1b" not in shown


@pytest.mark.accepts("R42")
def test_a_trainers_checkpoints_are_one_run(tmp_path: Path, stoker: Asked) -> None:
    for number in (500, 1000, 90):
        folder = tmp_path / f"out/checkpoint-{number}"
        folder.mkdir(parents=True)
        history = [{"step": step, "loss": 1 / step, "epoch": step / 100} for step in range(10, number + 1, 10)]
        state = {"log_history": [*history, "odd"], "global_step": number, "max_steps": 1000, "best_metric": 0.5}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    run = the_run(tmp_path)
    assert run.info.id == "out"
    assert run.info.state.name == "finished"
    assert run.info.state.evidence == "step 1000 of 1000 was reached"
    assert len(run.metrics["loss"]) == 100
    assert run.skipped == {"entry of the history that is no object": 1}
    cut = tmp_path / "out/checkpoint-1000/trainer_state.json"
    cut.write_text(cut.read_text()[:-20])
    assert "this is no JSON: cut" in stoker("summary", tmp_path).out


def test_a_folder_is_searched_for_runs_and_not_for_data(tmp_path: Path) -> None:
    jsonl(tmp_path / "data/train.jsonl", [{"text": "hello", "label": 1}])
    (tmp_path / "data/table.csv").write_text("city,people\nBerlin,3\n")
    jsonl(tmp_path / "exp/metrics.jsonl", [{"step": 1, "loss": 2}])
    (tmp_path / "exp/out.log").write_text("step 1 loss 2\n")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/out.log").write_text("step 1 loss 2\n")
    jsonl(tmp_path / "node_modules/metrics.jsonl", [{"step": 1, "loss": 2}])
    assert {found.info.id for found in runs_in(tmp_path)} == {"exp/metrics.jsonl", "plain/out.log"}
    assert set(the_run(tmp_path / "data/train.jsonl").metrics) == {"label"}


def test_a_file_that_goes_away_is_said_so(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", [{"step": 1, "loss": 2}])
    (found,) = runs_in(path)
    path.unlink()
    with pytest.raises(Unreadable, match=r"m\.jsonl cannot be read: No such file"):
        read(found)


def test_what_cannot_be_read_hides_nothing_else(tmp_path: Path, stoker: Asked) -> None:
    jsonl(tmp_path / "good/m.jsonl", [{"step": 1, "loss": 2}])
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "bad.wandb").symlink_to("/proc/self/mem")  # opens, and fails to be read
    (tmp_path / "gone.wandb").symlink_to("nowhere")
    said = stoker("list", tmp_path, "--json")
    assert [run["id"] for run in said.value["runs"]] == ["good/m.jsonl"]
    assert said.value["unreadable"] == [f"{tmp_path}/bad.wandb cannot be read: Input/output error"]
    assert said.code == 1
    assert "bad.wandb cannot be read" in stoker("list", tmp_path).err
    alone = stoker("summary", tmp_path / "bad.wandb")
    assert (alone.code, alone.out) == (1, "")
    assert "cannot be read: Input/output error" in alone.err
    pipe = stoker("summary", tmp_path / "pipe.jsonl")
    assert (pipe.code, "is no regular file" in pipe.err) == (1, True)


@pytest.mark.accepts("R15")
def test_a_run_goes_on_only_where_its_file_is_open_for_writing(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", [{"step": 1, "loss": 2}])
    with path.open("rb"):
        assert the_run(path).info.state.name == "unknown"
    with path.open("ab"):
        state = the_run(path).info.state
    assert state.name == "running"
    assert state.evidence == f"process {os.getpid()} has m.jsonl open for writing"
