# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that go on: only new bytes are read, nothing is told twice or lost, whatever happens to the files."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_neptune import export

from ansible_collections.stoker.fleet.plugins.module_utils.readers import tail
from stoker import Fleet
from stoker.analysis import Found, follow, thin
from stoker.analysis.answers import RunNews
from stoker.analysis.errors import AnalysisError
from stoker.analysis.follow import Follower
from stoker.analysis.merge import merged
from stoker.analysis.runs import read, runs_in
from stoker.analysis.values import Row

ROWS = [{"step": s, "loss": s / 8, **({"val/acc": s / 100} if s % 10 == 0 else {}), "text": "x"} for s in range(300)]
TEXTS = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS) + "not json\n" + '{"step": 300, "loss": 1}\n',
    "csv": "step,loss,val/acc\n" + "".join(f"{s},{s / 8},{s / 10 if s % 10 == 0 else ''}\n" for s in range(300)),
    "log": "".join(f"step {s}/300  loss {s / 8}\nnoise\n" for s in range(300)),
}
NAMES = {
    "jsonl": "m.jsonl",
    "csv": "m.csv",
    "log": "out.log",
    "tensorboard": "events.out.tfevents.1",
    "wandb": "r.wandb",
}


class Contents(dict[str, bytes]):
    """Whole files; a failing test need not print them."""

    def __repr__(self) -> str:
        return "Contents"


def one(path: Path) -> Found:
    (found,) = runs_in(path)
    return found


def followed(kind: str, path: Path, data: bytes, cuts: list[int]) -> dict[str, Any]:
    """The metrics that come of reading a file that grows by these pieces; each read knows only the state."""
    state, readings = None, []
    for start, stop in itertools.pairwise([0, *sorted(cuts), len(data)]):
        with path.open("ab") as file:
            file.write(data[start:stop])
        reader = tail.Tail(kind, str(path), json.loads(json.dumps(state)) if state else None)
        readings += reader.read()
        assert reader.restarted is None
        state = reader.state
    metrics, _ = merged(readings, one_writer=False)
    return {name: (metric.steps.tolist(), metric.values.tolist()) for name, metric in metrics.items()}


@pytest.fixture(scope="module")
def contents(wandb_runs: Path, event_files: Path) -> Contents:
    """A whole file of each kind, the binary ones by the real writers."""
    (events,) = event_files.glob("exp1/*")
    (run,) = wandb_runs.glob("**/run-finished.wandb")
    texts = {kind: text.encode() for kind, text in TEXTS.items()}
    return Contents(texts, tensorboard=events.read_bytes(), wandb=run.read_bytes())


@pytest.mark.accepts("R16", "B05")
@pytest.mark.parametrize("kind", tail.KINDS)
@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_read_in_pieces_is_the_file_read_whole(
    kind: str, contents: Contents, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = contents[kind]
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "whole" / NAMES[kind]).parent.mkdir()
    (folder / "whole" / NAMES[kind]).write_bytes(whole)
    expected = {
        name: (metric.steps.tolist(), metric.values.tolist())
        for name, metric in read(one(folder / "whole" / NAMES[kind])).metrics.items()
    }
    got = followed(kind, folder / NAMES[kind], whole, cuts)
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name][0], expected[name][0])
        np.testing.assert_array_equal(got[name][1], expected[name][1])


# A bar that is drawn anew for each step, and what Unicode and old printers call the end of a line.
ODD_LINES = {
    "log": "".join(f"\repoch 1 step {s} loss {s / 8}" for s in range(300)) + "\nstep 300 loss 0.5\n",
    "csv": "step,note,loss\n" + "".join(f"{s},a\u2028b\fc\x85d\x1ce,{s / 8}\n" for s in range(30)),
    "jsonl": "".join(f'{{"step": {s},\r "loss": {s / 8}, "note": "a\u2028b"}}\n' for s in range(30)),
}


@pytest.mark.accepts("R16", "B05")
@pytest.mark.parametrize("kind", sorted(ODD_LINES))
def test_lines_end_where_those_of_the_whole_file_do(kind: str, tmp_path: Path) -> None:
    data = ODD_LINES[kind].encode()
    path = tmp_path / "whole" / NAMES[kind]
    path.parent.mkdir()
    path.write_bytes(data)
    whole = read(one(path)).metrics
    expected = {name: (metric.steps.tolist(), metric.values.tolist()) for name, metric in whole.items()}
    assert len(expected["loss"][0]) == (2 if kind == "log" else 30)
    assert followed(kind, tmp_path / NAMES[kind], data, [100, 500]) == expected


@pytest.mark.accepts("R16", "B05")
@pytest.mark.parametrize("kind", tail.KINDS)
def test_only_new_bytes_are_read(kind: str, contents: Contents, tmp_path: Path) -> None:
    path = tmp_path / NAMES[kind]
    whole = contents[kind] if kind in ("tensorboard", "wandb") else contents[kind] * 20
    path.write_bytes(whole)
    reader = tail.Tail(kind, str(path))
    reader.read()
    assert reader.state["at"] == len(whole)
    before = bytes_read()
    assert reader.read() == []
    # The mark before the place, and with W&B's format the block that it is in.
    assert bytes_read() - before < 2000
    with path.open("ab") as file:
        file.write(b'{"step": 1000, "loss": 5}\n' if kind == "jsonl" else b"\n")
    before = bytes_read()
    reader.read()
    assert bytes_read() - before < (40_000 if kind == "wandb" else 3000)


def bytes_read() -> int:
    """What this process has read by system calls so far."""
    return int(Path("/proc/self/io").read_text().partition("rchar: ")[2].split()[0])


@pytest.mark.accepts("R16")
def test_it_goes_on_after_the_file_was_moved_away_with_what_was_left_in_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:100])
    follower = Follower(one(path))
    follower.look()
    with path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS[100:105]))
    path.rename(tmp_path / "m.jsonl.1")
    assert follower.look().rows == ()  # nobody has made the next one yet
    jsonl(path, ROWS[105:110])
    news = follower.look()
    assert [row.step for row in news.rows] == list(range(100, 110))
    assert [(alert.kind, alert.severity) for alert in news.alerts] == [("restart", "warning")]
    assert "m.jsonl is read from its beginning: it was moved away" in news.alerts[0].text


@pytest.mark.accepts("R16")
@pytest.mark.parametrize(("how", "words"), [("cut", "it was cut"), ("anew", "it was written anew")])
def test_it_goes_on_after_the_file_was_cut_or_written_anew(tmp_path: Path, how: str, words: str) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:50])
    follower = Follower(one(path))
    follower.look()
    rows = [{"step": 1000 + s, "loss": 1.0} for s in range(3 if how == "cut" else 200)]
    inode = path.stat().st_ino
    with path.open("r+") as file:
        file.truncate()
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    assert path.stat().st_ino == inode
    news = follower.look()
    assert news.total == len(rows)
    assert news.rows[0].step == 1000
    assert [words in alert.text for alert in news.alerts] == [True]
    assert follower.look().alerts == ()


@pytest.mark.accepts("R16")
def test_a_metric_that_is_no_number_is_told_once_and_when_it_is_over(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", [{"step": 0, "loss": 1.0, "acc": float("nan")}])
    follower = Follower(one(path))

    def after(*values: float) -> list[str]:
        with path.open("a") as file:
            for value in values:
                after.step += 1  # type: ignore[attr-defined]
                file.write(json.dumps({"step": after.step, "loss": value}) + "\n")  # type: ignore[attr-defined]
        return [f"{alert.severity}: {alert.text}" for alert in follower.look().alerts]

    after.step = 0  # type: ignore[attr-defined]
    assert [alert.text for alert in follower.look().alerts] == ["acc is NaN since step 0"]
    assert after(0.9) == []
    assert after(float("nan"), float("inf")) == ["critical: loss is NaN since step 2"]
    assert after(float("nan")) == []
    assert after(0.5) == ["info: loss is finite again at step 5: 0.5"]
    assert after(float("-inf"), 0.25) == [
        "critical: loss is -Inf since step 6", "info: loss is finite again at step 7: 0.25",
    ]  # fmt: skip


@pytest.mark.accepts("R16")
def test_errors_in_the_output_are_alerts_once(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:5])
    log = tmp_path / "train.log"
    log.write_text("all well\n")
    follower = Follower(one(path))
    assert follower.look().alerts == ()
    with log.open("a") as file:
        file.write("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    (alert,) = follower.look().alerts
    assert (alert.kind, alert.severity) == ("cuda-oom", "critical")
    assert alert.text.startswith("train.log:2: torch.cuda.OutOfMemoryError")
    assert follower.look().alerts == ()
    log.write_text("CUDA out of memory\n")
    assert len(follower.look().alerts) == 1


@pytest.mark.accepts("R16", "B05")
def test_a_cursor_goes_on_in_another_process(tmp_path: Path, stoker: Asked) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:100])
    first = stoker("watch", path, "--once", "--json").value
    assert [row["step"] for row in first["rows"]] == list(range(90, 100))
    with path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS[100:103]) + '{"step": 103, "lo')
    second = stoker("watch", path, "--once", "--json", "--since", first["cursor"]).value
    assert [(row["step"], row["values"]["loss"]) for row in second["rows"]] == [(s, s / 8) for s in (100, 101, 102)]
    assert second["skipped"] == {"value that is no number (text)": 3}
    third = stoker("watch", path, "--once", "--json", "--since", second["cursor"]).value
    assert third["rows"] == []
    with path.open("a") as file:
        file.write('ss": 7.5}\n')
    assert [
        row["values"] for row in stoker("watch", path, "--once", "--json", "--since", third["cursor"]).value["rows"]
    ] == [{"loss": 7.5}]
    shown = stoker("watch", path, "--once", "--since", first["cursor"])
    assert "step 102  loss 12.75\nstep 103  loss 7.5\n" in shown.out
    assert "tokens as CSV · to go on from here: --since " in shown.out


@pytest.mark.accepts("B05")
def test_an_answer_keeps_to_its_tokens_and_its_extremes(tmp_path: Path, stoker: Asked) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:5])
    cursor = stoker("watch", path, "--once", "--json").value["cursor"]
    with path.open("a") as file:
        for s in range(1000):
            file.write(json.dumps({"step": 10 + s, "loss": 99.0 if s == 77 else 1.0}) + "\n")
    for tokens in (60, 200, 2000):
        asked = ("watch", path, "--once", "--json", "--since", cursor, "-n", 500, "--tokens", tokens)
        said = stoker(*asked).value
        text = thin.csv(["loss"], [Row(row["step"], row["values"]) for row in said["rows"]])
        assert said["tokens"] == thin.tokens(text) <= tokens
        assert said["total"] == 1000
        assert {87, 1009} <= {row["step"] for row in said["rows"]}
        assert 99 in {row["values"]["loss"] for row in said["rows"]}


@pytest.mark.accepts("R16")
@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "eJyrVkrLz1eyUkpKLFKqBQAdegQ0", "é", "x" * 10000])
def test_what_is_no_cursor_is_refused(two: Path, stoker: Asked, cursor: str) -> None:
    said = stoker("watch", two / "a", "--once", f"--since={cursor}")
    assert (said.code, said.out) == (2, "")
    assert "--since: this is no cursor" in said.err


@pytest.mark.accepts("R16")
def test_bad_questions_are_refused(two: Path, stoker: Asked) -> None:
    other = stoker("watch", "b/metrics.jsonl", "--folder", two, "--once", "--json").value["cursor"]
    for asked, words in (
        (("--since", other), "this is a cursor of run metrics.jsonl in "), (("-n", 0), "-n 1 or more"),
        (("--every", "0s"), "--every: 0s"), (("--tokens", 0), "--tokens: 0"),
        (("-k", "val/los"), "Did you mean val/loss"),
    ):  # fmt: skip
        said = stoker("watch", "a/metrics.jsonl", "--folder", two, "--once", *asked)
        assert (said.code, said.out) == (2, ""), asked
        assert words in said.err
    with pytest.raises(AnalysisError):
        Follower(one(two / "a"), rows=0)


WRITER = """
import json, sys
step = 100
with open(sys.argv[1], "a") as file:
    for _ in sys.stdin:
        for step in range(step, step + 15):
            file.write(json.dumps({"step": step, "loss": float("nan") if step == 110 else 1 / step}) + "\\n")
            file.flush()
        step += 1
"""


@pytest.mark.accepts("R16")
def test_points_are_told_as_they_come(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "m.jsonl", ROWS[:3])
    with Fleet() as fleet:
        stream = iter(fleet.runs.watch(str(path), every=0.1, rows=100))
        first = next(stream)
        assert [row.step for row in first.rows] == [0, 1, 2]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, text=True)
        assert writer.stdin is not None
        pieces = []
        for last in (114, 129):
            writer.stdin.write("on\n")
            writer.stdin.flush()
            pieces += list(until(stream, lambda piece, last=last: any(row.step == last for row in piece.rows)))  # type: ignore[misc]
            assert [row.step for piece in pieces for row in piece.rows] == list(range(100, last + 1))
        writer.stdin.close()
        assert writer.wait(timeout=180) == 0
    texts = [alert.text for piece in pieces for alert in piece.alerts]
    assert texts[0] == "loss is NaN since step 110"
    assert texts[1].startswith("loss is finite again at step ")


def until(stream: Iterator[RunNews], ends: Callable[[RunNews], bool]) -> Iterator[RunNews]:
    deadline = time.monotonic() + 150
    for piece in stream:
        yield piece
        if ends(piece):
            return
        assert time.monotonic() < deadline


@pytest.mark.accepts("R16")
def test_a_run_that_ends_ends_the_watch(wandb_runs: Path, tmp_path: Path, stoker: Asked) -> None:
    failed = stoker("watch", "failed", "--folder", wandb_runs)
    assert failed.code == 1
    assert failed.out.splitlines()[-1] == "failed  exit record: code 3"
    finished = stoker("watch", "finished", "--folder", wandb_runs)
    assert finished.code == 0
    assert finished.out.splitlines()[-1] == "finished  exit record: code 0"
    (file,) = wandb_runs.glob("**/run-finished.wandb")
    data, growing = file.read_bytes(), tmp_path / "run-x" / "run-finished.wandb"
    growing.parent.mkdir()
    growing.write_bytes(data[: len(data) // 2])
    follower = Follower(one(growing))
    assert follower.look().state.name == "unfinished"
    growing.write_bytes(data)
    assert follower.look().state.name == "finished"


@pytest.mark.accepts("R16")
def test_new_files_of_tensorboard_and_new_checkpoints_belong_to_it(write: Any, tmp_path: Path) -> None:
    write("event_files", tmp_path / "e", 20, 0)
    follower = Follower(one(tmp_path / "e"), keys=["train/loss"], rows=1000)
    assert follower.look().total == 20
    time.sleep(1.1)  # the name of an event file has the second in it
    write("event_files", tmp_path / "e", 10, 20)
    assert [row.step for row in follower.look().rows] == list(range(20, 30))

    def checkpoint(step: int) -> None:
        folder = tmp_path / "t" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        state = {"global_step": step, "max_steps": 30, "log_history": [{"step": s, "loss": s} for s in range(step + 1)]}
        (folder / "trainer_state.json").write_text(json.dumps(state))

    checkpoint(10)
    trainer = Follower(one(tmp_path / "t"), rows=1000)
    assert trainer.look().total == 11
    checkpoint(20)
    assert [row.step for row in trainer.look().rows] == list(range(11, 21))
    assert trainer.look().rows == ()
    checkpoint(30)
    news = trainer.look()
    assert (news.total, news.state.name) == (10, "finished")


@pytest.mark.accepts("R16")
@pytest.mark.parametrize("kind", ["jsonl", "csv", "log"])
def test_a_first_look_goes_to_the_end_of_a_long_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "LIMIT", 1000)
    monkeypatch.setattr(follow, "_SCAN_BYTES", 1000)
    path = tmp_path / NAMES[kind]
    path.write_text(TEXTS[kind])
    (tmp_path / "train.log").write_text("x" * 50 + "\n" + "all well\n" * 500 + "CUDA out of memory\n")
    follower = Follower(one(path), rows=1)
    news = follower.look()
    assert [row.step for row in news.rows] == [300 if kind == "jsonl" else 299]
    assert [alert.kind for alert in news.alerts] == (["cuda-oom"] if kind != "log" else [])
    again = follower.look()
    assert (again.rows, again.alerts) == ((), ())


def put(path: Path, run: str, values: list[float], steps: list[int]) -> None:
    """Points of a run in a store as trackio writes it."""
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute(
            "CREATE TABLE IF NOT EXISTS metrics"
            " (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)"
        )
        base.execute("CREATE TABLE IF NOT EXISTS configs (id INTEGER, run_name TEXT, config TEXT, created_at TEXT)")
        for step, value in zip(steps, values, strict=True):
            row = (f"2026-01-01T00:00:{step:02d}", run, step, json.dumps({"loss": value}))
            base.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)


@pytest.mark.accepts("R16", "R42")
def test_of_a_store_the_run_that_was_named_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for run, value in (("one", 1.0), ("two", 2.0), ("three", 3.0)):
        put(path, run, [value], [0])
    for found in runs_in(path):
        value = {"one": 1.0, "two": 2.0, "three": 3.0}[found.info.id]
        follower = Follower(found)
        assert [row.values for row in follower.look().rows] == [{"loss": value}]
        put(path, found.info.id, [value * 10], [1])
        assert [(row.step, row.values) for row in follower.look().rows] == [(1, {"loss": value * 10})]


@pytest.mark.accepts("R16", "R42")
def test_new_points_of_a_store_without_steps_are_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    put(path, "one", [1.0, 2.0], [0, 0])
    follower = Follower(one(path))
    news = follower.look()
    assert [row.values for row in news.rows] == [{"loss": 2.0}]
    put(path, "one", [3.0], [0])
    later = Follower(one(path), news.cursor)
    assert [row.values for row in later.look().rows] == [{"loss": 3.0}]
    assert later.look().rows == ()
    put(path, "one", [4.0], [5])
    assert [(row.step, row.values) for row in later.look().rows] == [(5, {"loss": 4.0})]


@pytest.mark.accepts("R16", "R36")
def test_of_an_exported_run_each_part_is_followed(tmp_path: Path) -> None:
    export(tmp_path / "n", run="SAN-1", steps=20)
    export(tmp_path / "n", run="SAN-2", steps=4)
    found = next(found for found in runs_in(tmp_path) if found.info.id == "SAN-1")
    assert max(row.step for row in Follower(found, rows=100).look().rows) == 19


def test_a_log_without_steps_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "out.log"
    path.write_text("loss 1\nloss 2\n")
    follower = Follower(one(path))
    assert [row.step for row in follower.look().rows] == [0, 1]
    with path.open("a") as file:
        file.write("loss 3\n")
    assert [(row.step, row.values) for row in follower.look().rows] == [(2, {"loss": 3})]
    os.unlink(path)
    assert follower.look().rows == ()
