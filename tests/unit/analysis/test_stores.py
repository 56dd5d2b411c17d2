# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in the stores of trackio and MLflow, as those programs write them, and what is left of damaged ones."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from asked import Asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers import mlflow_run, sqlite_store
from stoker.analysis import Run, read, runs_in

LOSS = [1 / (step + 1) for step in range(20)]


@pytest.fixture(scope="session")
def trackio(write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trackio")
    write_store("store_runs", "trackio", folder)
    return folder


@pytest.fixture(scope="session")
def mlruns(write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow-files")
    write_store("store_runs", "mlflow", (folder / "mlruns").as_uri())
    return folder


@pytest.fixture(scope="session")
def mlflow_db(write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow-sqlite")
    write_store("store_runs", "mlflow", f"sqlite:///{folder}/mlflow.db")
    return folder


def by_name(folder: Path) -> dict[str | None, Run]:
    return {found.info.name: read(found) for found in runs_in(folder)}


def holds_the_points(run: Run) -> None:
    assert run.metrics["train/loss"].steps.tolist() == list(range(20))
    assert run.metrics["train/loss"].values.tolist() == LOSS
    assert run.metrics["val/acc"].steps.tolist() == [0, 5, 10, 15]
    assert run.metrics["val/acc"].values.tolist() == [0, 0.25, 0.5, 0.75]
    odd = run.metrics["odd"].values.tolist()
    assert math.isnan(odd[3])
    assert odd[4] == math.inf
    assert odd[5:] == list(range(5, 20))
    times = run.metrics["train/loss"].times
    assert times is not None
    assert abs(float(times.max()) - run.info.updated_at) < 60
    assert set(run.metrics) == {"train/loss", "val/acc", "odd"}


def old_store(path: Path) -> Path:
    """A run as older trackio keeps it, in a file that has no log of its own."""
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as base:
        base.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)"
        )
        base.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT, created_at TEXT)")
        for step in range(3):
            row = ("2026-01-01T00:00:00", "r", step, '{"loss": "Infinity"}' if step == 2 else '{"loss": 1}')
            base.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
        base.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('x', 'r', 3, 'no json')")
    base.close()
    return path


@pytest.mark.accepts("R42")
def test_trackio(trackio: Path, stoker: Asked) -> None:
    runs = by_name(trackio)
    assert set(runs) == {"wide", "deep"}
    for run in runs.values():
        holds_the_points(run)
        assert (run.info.kind, run.info.project, run.info.group) == ("trackio", "pine", "g1")
        assert run.info.config == {"lr": 0.001, "layers": 12, "optimizer": "adam"}
        assert run.info.state.name == "unknown"
        assert run.skipped == {"value that is no number (text)": 20}
        assert run.info.started_at is not None
    assert "train/loss 0.05" in stoker("summary", "wide", "--folder", trackio).out
    assert stoker("query", "config.lr < 1 and `train/loss` < 0.1", trackio).out.splitlines()[-1] == "2 of 2 runs"


@pytest.mark.accepts("R34")
@pytest.mark.parametrize("store", ["mlruns", "mlflow_db"])
def test_mlflow(store: str, request: pytest.FixtureRequest) -> None:
    runs = by_name(request.getfixturevalue(store))
    assert set(runs) == {"wide", "broken", "going"}  # one was deleted
    run = runs["wide"]
    holds_the_points(run)
    assert (run.info.kind, run.info.project, run.info.notes, run.info.commit) == (
        "mlflow",
        "pine",
        "what a day",
        "4f1c2aa",
    )
    assert run.info.config == {"lr": 0.001, "layers": 12, "optimizer": "adam"}
    assert run.info.tags == ("size=big",)
    assert (run.info.state.name, run.info.state.evidence) == ("finished", "MLflow says FINISHED")
    assert runs["broken"].info.state.name == "failed"
    assert runs["going"].info.state.name == "unknown"
    assert "which a process that was killed leaves behind" in runs["going"].info.state.evidence


@pytest.mark.accepts("R34")
def test_a_run_is_the_same_in_each_of_mlflows_stores(mlruns: Path, mlflow_db: Path) -> None:
    one, two = by_name(mlruns)["wide"], by_name(mlflow_db)["wide"]
    assert one.metrics.keys() == two.metrics.keys()
    for name, metric in one.metrics.items():
        assert metric.steps.tolist() == two.metrics[name].steps.tolist()
        assert repr(metric.values.tolist()) == repr(two.metrics[name].values.tolist())
    assert one.info.config == two.info.config
    assert (one.info.state, one.info.tags, one.info.notes) == (two.info.state, two.info.tags, two.info.notes)


@pytest.mark.accepts("R42", "R34")
@pytest.mark.parametrize("store", ["trackio", "mlflow_db"])
def test_reading_a_store_changes_nothing_of_it(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(store), tmp_path / "copy"))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert len(by_name(folder)) >= 2
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.accepts("R42")
def test_what_a_writer_has_not_moved_into_the_file_yet_is_read(trackio: Path, tmp_path: Path) -> None:
    """SQLite's log beside the file: its writer is still there."""
    path = Path(shutil.copy(trackio / "pine.db", tmp_path / "pine.db"))
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA wal_autocheckpoint = 0")
        row = ("new", "2026-01-01T00:00:00Z", "n", 7, '{"x": 1}')
        base.execute("INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)", row)
        base.commit()
        assert by_name(tmp_path)["n"].metrics["x"].steps.tolist() == [7]
    base.close()


@pytest.mark.accepts("R42")
def test_what_is_not_committed_is_no_answer(tmp_path: Path) -> None:
    """A journal beside the file: its writer may take back what the file has already."""
    path = old_store(tmp_path / "old.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("PRAGMA cache_size = 1")
        base.execute("PRAGMA cache_spill = 1")
        base.execute("BEGIN")
        base.execute("UPDATE metrics SET metrics = '{\"loss\": 7}'")
        for step in range(3, 500):
            row = ("2026-01-01T00:00:00", "r", step, json.dumps({"loss": 7, "text": "x" * 500}))
            base.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
        assert path.stat().st_size > 100_000  # it is in the file
        problems: list[str] = []
        seen = [read(found).metrics["loss"].values.tolist() for found in runs_in(tmp_path, problems)]
        assert seen == []
        assert problems == [f"{path} cannot be read: not a readable store: database is locked"]
        base.execute("ROLLBACK")
    assert by_name(tmp_path)["r"].metrics["loss"].values.tolist() == [1, 1, math.inf]


@pytest.mark.accepts("R42", "R34")
@pytest.mark.parametrize("store", ["trackio", "mlflow_db"])
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_stores_never_end_in_a_traceback(
    store: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    (source,) = request.getfixturevalue(store).glob("*.db")
    content = bytearray(source.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        for _ in range(data.draw(st.integers(1, 30))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "x.db").write_bytes(content)
    problems: list[str] = []
    for found in runs_in(folder, problems):
        run = read(found)
        assert isinstance(run.skipped, dict)


def test_a_cut_store_says_so(trackio: Path, tmp_path: Path) -> None:
    whole = (trackio / "pine.db").read_bytes()
    path = tmp_path / "pine.db"
    path.write_bytes(whole)
    (first, *_) = sqlite_store.runs_of("trackio", str(path))
    os.truncate(path, len(whole) // 2)
    reading = sqlite_store.read_store("trackio", str(path), first)
    assert reading.skipped.get("rest of a damaged store") == 1
    assert any("the store is damaged" in note for note in reading.notes)


def test_damaged_lines_of_mlflow_are_counted(mlruns: Path, tmp_path: Path) -> None:
    (run,) = [found for found in runs_in(mlruns) if found.info.name == "wide"]
    folder = Path(shutil.copytree(Path(run.info.segments[0]).parent, tmp_path / "run"))
    with (folder / "metrics/train/loss").open("ab") as file:
        file.write(b"garbage\n1 2 3 4\n\xff\xff 1\n1795354456730 0.5 20\n1795354456730 0.4 2")
    reading = mlflow_run.read_mlflow_run(str(folder / "meta.yaml"))
    assert reading.skipped == {"line that is no point": 3, "incomplete last line": 1}
    assert list(reading.series["train/loss"].steps) == list(range(21))


@pytest.mark.accepts("R42")
def test_an_older_trackio_knows_runs_by_name(tmp_path: Path) -> None:
    old_store(tmp_path / "old.db")
    run = by_name(tmp_path)["r"]
    assert run.metrics["loss"].values.tolist() == [1, 1, math.inf]
    assert run.skipped == {"row that is no JSON object": 1}


def test_other_databases_are_no_runs(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE metrics (a)")
    base.close()
    (tmp_path / "text.db").write_text("hello")
    assert runs_in(tmp_path) == []


def test_a_damaged_store_hides_nothing_else(trackio: Path, tmp_path: Path, stoker: Asked) -> None:
    content = bytearray((trackio / "pine.db").read_bytes())
    content[4096] = 0  # the kind of a page
    (tmp_path / "bad.db").write_bytes(content)
    shutil.copy(trackio / "pine.db", tmp_path / "good.db")
    said = stoker("list", tmp_path)
    assert said.code == 1
    assert "bad.db cannot be read: not a readable store" in said.err
    assert said.out.count("trackio") == 2
    alone = stoker("list", tmp_path / "bad.db")
    assert (alone.code, alone.out) == (1, "")
    assert "bad.db cannot be read" in alone.err


def test_what_cannot_be_read_is_told(tmp_path: Path, stoker: Asked) -> None:
    old_store(tmp_path / "runs" / "good.db")
    names = ("x.csv", "x.jsonl", "SAN-1_part_0.parquet", "x.db", "meta.yaml")
    for name in names:  # reading it fails, whoever asks
        (tmp_path / "runs" / name).symlink_to("/proc/self/mem")
    (tmp_path / "runs" / "gone.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "runs" / "data.parquet").symlink_to("/proc/self/mem")
    (tmp_path / "runs" / "cut.db").write_bytes(b"SQLite format 3\0" + b"\0" * 20)
    said = stoker("list", tmp_path / "runs")
    assert (said.code, said.out.count("trackio")) == (1, 1)
    for name in names:
        assert f"{name} cannot be read: Input/output error" in said.err
    assert "cut.db cannot be read: not a readable store" in said.err
    assert "gone.csv" not in said.err
    assert "data.parquet" not in said.err
    alone = stoker("list", tmp_path / "runs" / "cut.db")
    assert (alone.code, alone.out) == (1, "")
    assert "cut.db cannot be read: not a readable store" in alone.err
