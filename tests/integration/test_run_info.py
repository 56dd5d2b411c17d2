# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's metrics read on its node: which files are its own, how little travels, and that nothing is read twice."""

from __future__ import annotations

import base64
import json
import math
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from testbed import PlainNode, wait_until
from testbed.node_side import OVER, NodeSide

from stoker.analysis import remote
from stoker.analysis.runs import Found
from stoker.analysis.values import Seen

# Writes so many rows of loss and accuracy, waits for a word, writes as many more, and so on.
TRAINING = """
import json, os, sys, time
file, rows, step = open(sys.argv[1], "a"), int(sys.argv[2]), 0
while True:
    for step in range(step, step + rows):
        row = {"step": step, "time": 1.7e9 + step, "loss": 3 / (1 + step / 50), "val": {"acc": 1 - 1 / (1 + step)}}
        if step == 7:
            row["loss"] = float("nan")
        file.write(json.dumps(row) + "\\n")
    step += 1
    file.flush()
    print("written", flush=True)
    while not os.path.exists(f"go-{step}"):
        time.sleep(0.05)
        if os.path.exists("end"):
            sys.exit(int(open("end").read()))
"""


class Training:
    """A job that writes metrics on a node, step by step as it is told."""

    def __init__(self, node: PlainNode, rows: int = 100) -> None:
        self.node, self.rows, self.side = node, rows, NodeSide(node)
        self.folder = node.home / "proj"
        self.folder.mkdir()
        (self.folder / "train.py").write_text(TRAINING)

    def start(self, job: str = "train-1", file: str = "metrics.jsonl") -> None:
        self.side.start(job, self.node.python, "train.py", file, str(self.rows), workdir=str(self.folder))
        self.written(job, 1)

    def written(self, job: str, times: int) -> None:
        self.side.wait(job, lambda seen: self.side.log(job).count(b"written") >= times)

    def go_on(self, step: int, times: int, job: str = "train-1") -> None:
        (self.folder / f"go-{step}").touch()
        self.written(job, times)

    def end(self, code: int, job: str = "train-1") -> None:
        (self.folder / "end").write_text(str(code))
        self.side.wait(job)

    def look(self, job: str = "train-1", **request: Any) -> dict[str, Any]:
        reply = self.side.ask("run_info", job=job, **request)
        assert reply["ok"], reply
        return reply


def found(reply: dict[str, Any]) -> Found:
    run = reply["run"]
    seen = Seen("n1", run["job"], run["attempt"], 0.0, 0.0, 0, run["full"], run["folder"], run["cursor"], 0)
    (one,) = remote.runs_of(run, reply["observation"], seen)
    return one


@pytest.mark.accepts("B01")
def test_a_few_kilobytes_of_a_long_run_have_its_exact_figures(node: PlainNode) -> None:
    training = Training(node, rows=60000)
    training.start()
    reply = training.look()
    assert (training.folder / "metrics.jsonl").stat().st_size > 4_000_000
    assert len(json.dumps(reply)) < 40_000
    loss = reply["run"]["files"][0]["metrics"]["loss"]
    values = [3 / (1 + step / 50) for step in range(60000) if step != 7]
    assert (loss["count"], loss["nan"], loss["whole"]) == (60000, 1, False)
    assert loss["odd"] == [[7, "nan"]]
    assert loss["min"] == [59999, values[-1]]
    assert loss["max"] == [0, 3.0]
    assert loss["mean"] == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
    run = found(reply).run
    assert run is not None
    metric = run.metrics["loss"]
    assert (metric.logged, metric.last) == (60000, values[-1])
    # The newest points are whole, and no step of what is here has another value.
    assert metric.steps[-16:].tolist() == list(range(59984, 60000))
    assert all(
        value == 3 / (1 + step / 50) or step == 7 for step, value in zip(metric.steps, metric.values, strict=True)
    )


@pytest.mark.accepts("B01")
def test_only_new_bytes_are_read_and_the_digest_is_the_same_as_if_read_at_once(node: PlainNode) -> None:
    training = Training(node, rows=5000)
    training.start()
    first = training.look()["run"]
    size = (training.folder / "metrics.jsonl").stat().st_size
    assert first["read_bytes"] == size
    assert training.look()["run"]["read_bytes"] == 0
    training.go_on(5000, 2)
    second = training.look()["run"]
    assert second["read_bytes"] == (training.folder / "metrics.jsonl").stat().st_size - size
    assert second["files"][0]["metrics"]["loss"]["count"] == 10000
    (node.state_dir / "jobs/train-1/1/run.json").unlink()
    again = training.look()["run"]
    assert again["read_bytes"] > second["read_bytes"]
    assert (again["files"], again["columns"]) == (second["files"], second["columns"])


@pytest.mark.accepts("B01")
@pytest.mark.parametrize("kept", ["{", "[]", '{"version": 2, "files": {"x": {"metrics": {"a": {}}}}}'])
def test_a_damaged_digest_is_made_again(node: PlainNode, kept: str) -> None:
    training = Training(node)
    training.start()
    before = training.look()["run"]
    (node.state_dir / "jobs/train-1/1/run.json").write_text(kept)
    after = training.look()["run"]
    assert (after["files"], after["columns"]) == (before["files"], before["columns"])


# Each takes a first step of its own, then one more for each file `go-N` that appears, until there is `end`.
STEPS = """
import json, os, sqlite3, time
def step(number):
    while not os.path.exists(f"go-{number}"):
        if os.path.exists("end"):
            os._exit(0)
        time.sleep(0.05)
def written(text, path):
    with open(path + ".tmp", "w") as file:
        file.write(text)
    os.replace(path + ".tmp", path)
"""
WHOLE = {
    # MLflow's client touches `meta.yaml` at the beginning and at the end. A step may be logged late.
    "mlruns/7/abc/meta.yaml": """
os.makedirs("mlruns/7/abc/metrics")
os.makedirs("mlruns/7/abc/tags")
written("run_id: abc\\nstatus: 1\\nlifecycle_stage: active\\nstart_time: 1700000000000\\n", "mlruns/7/abc/meta.yaml")
for number, (at, loss) in enumerate([(5, 9.0), (7, 8.0), (2, 10.0)]):
    with open("mlruns/7/abc/metrics/loss", "a") as file:
        file.write(f"{1700000000000 + number} {loss} {at}\\n")
    print("written", flush=True)
    step(number)
""",
    # The base is kept open, so that what is committed stands in its log alone.
    "trackio/pine.db": """
os.mkdir("trackio")
base = sqlite3.connect("trackio/pine.db", isolation_level=None)
base.execute("PRAGMA journal_mode = WAL")
base.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)")
base.execute("CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT, created_at TEXT)")
for number, (at, loss) in enumerate([(5, 9.0), (7, 8.0), (8, 10.0)]):
    row = ("2026-01-01T00:00:0%d" % number, "r", at, json.dumps({"loss": loss, "text": "x"}))
    base.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)
    print("written", flush=True)
    step(number)
""",
    # After a resume from a checkpoint it is shorter, and another one.
    "out/trainer_state.json": """
os.mkdir("out")
for number, log in enumerate([[(5, 9.0)], [(5, 9.0), (7, 8.0)], [(5, 9.0), (6, 8.5), (7, 10.0)]]):
    rows = [{"step": at, "loss": loss, "text": "x"} for at, loss in log]
    written(json.dumps({"log_history": rows, "global_step": log[-1][0]}), "out/trainer_state.json")
    print("written", flush=True)
    step(number)
""",
}


@pytest.mark.accepts("B01", "B05")
@pytest.mark.parametrize("file", sorted(WHOLE))
def test_a_store_that_is_read_whole_is_told_as_it_is_now(node: PlainNode, file: str) -> None:
    side, folder = NodeSide(node), node.home / "proj"
    folder.mkdir()
    (folder / "train.py").write_text(STEPS + WHOLE[file] + "step(9)\n")
    side.start("train-1", node.python, "train.py", workdir=str(folder))

    def asked(times: int, **request: Any) -> dict[str, Any]:
        side.wait("train-1", lambda _seen: side.log("train-1").count(b"written") >= times)
        reply = side.ask("run_info", job="train-1", **request)
        assert reply["ok"], reply
        run: dict[str, Any] = reply["run"]
        assert [one["path"] for one in run["files"]] == [str(folder / file)]
        return run

    before = asked(1)
    first, cursor = before["files"][0], before["cursor"]
    assert (first["metrics"]["loss"]["count"], first["metrics"]["loss"]["final"]) == (1, [5, 9.0])
    (folder / "go-0").touch()
    second = asked(2)["files"][0]
    assert (second["metrics"]["loss"]["count"], second["metrics"]["loss"]["final"]) == (2, [7, 8.0])
    assert (second["changed"] > first["changed"], second["bytes"] > first["bytes"]) == (True, True)
    (folder / "go-1").touch()
    last = asked(3)
    third = last["files"][0]
    final = [7, 8.0] if "mlruns" in file else [8, 10.0] if "trackio" in file else [7, 10.0]
    loss = third["metrics"]["loss"]
    assert (loss["count"], loss["final"], loss["max"][1], loss["backwards"]) == (3, final, 10.0, 0)
    assert sum(third["skipped"].values()) == (0 if "mlruns" in file else 3)
    assert asked(3)["read_bytes"] == 0
    assert asked(3, full=True)["files"][0]["metrics"]["loss"]["max"] == loss["max"]
    (reading,) = remote.readings_of(asked(3, since=cursor))
    news = {"mlruns/7/abc/meta.yaml": [2, 7], "trackio/pine.db": [7, 8], "out/trainer_state.json": [6, 7]}
    assert reading.series["loss"].steps.tolist() == news[file]
    (folder / "end").touch()
    side.wait("train-1")


CHECKPOINTS = """
import shutil
os.mkdir("out")
def checkpoint(steps):
    os.mkdir(f"out/tmp-{steps}")
    rows = [{"step": at, "loss": 1 / (1 + at)} for at in range(steps)]
    written(json.dumps({"log_history": rows, "global_step": steps}), f"out/tmp-{steps}/trainer_state.json")
    os.replace(f"out/tmp-{steps}", f"out/checkpoint-{steps}")
for steps in (90, 100, 20):
    checkpoint(steps)
open("first.jsonl", "w").write('{"step": 1, "loss": 1}\\n')
print("written", flush=True)
step(0)
checkpoint(200)
shutil.rmtree("out/checkpoint-100")
os.remove("first.jsonl")
print("written", flush=True)
step(9)
"""


@pytest.mark.accepts("B01")
def test_of_a_trainers_checkpoints_only_the_newest_is_read_and_what_went_away_is_forgotten(node: PlainNode) -> None:
    side, folder = NodeSide(node), node.home / "proj"
    folder.mkdir()
    (folder / "train.py").write_text(STEPS + CHECKPOINTS)
    side.start("train-1", node.python, "train.py", workdir=str(folder))

    def asked(times: int) -> tuple[dict[str, int], set[str]]:
        side.wait("train-1", lambda _seen: side.log("train-1").count(b"written") >= times)
        run = side.ask("run_info", job="train-1")["run"]
        counts = {one["path"]: one["metrics"]["loss"]["count"] for one in run["files"]}
        return counts, set(side.file("train-1", "run.json")["files"])

    state = f"{folder}/out/checkpoint-%d/trainer_state.json"
    first = {state % 100: 100, f"{folder}/first.jsonl": 1}
    assert asked(1) == (first, set(first))
    (folder / "go-0").touch()
    assert asked(2) == ({state % 200: 200}, {state % 200})
    (folder / "end").touch()
    side.wait("train-1")


@pytest.mark.accepts("B05")
def test_a_cursor_brings_only_what_is_new(node: PlainNode) -> None:
    training = Training(node)
    training.start()
    cursor = training.look()["run"]["cursor"]
    nothing = training.look(since=cursor)["run"]
    assert (nothing["read_bytes"], nothing["files"][0]["metrics"]) == (0, {})
    training.go_on(100, 2)
    news = training.look(since=cursor)
    (reading,) = remote.readings_of(news["run"])
    assert reading.series["loss"].steps.tolist() == list(range(100, 200))
    assert training.look(since=news["run"]["cursor"])["run"]["files"][0]["metrics"] == {}
    # The digest of all of it is not touched by that.
    assert training.look()["run"]["files"][0]["metrics"]["loss"]["count"] == 200


@pytest.mark.accepts("B05")
def test_a_cursor_of_something_else_is_refused(node: PlainNode) -> None:
    training = Training(node)
    training.start()
    training.start("train-2", "other.jsonl")
    cursor = training.look()["run"]["cursor"]
    refused = training.side.ask("run_info", job="train-2", since=cursor)
    assert refused["error"]["message"] == "this is a cursor of attempt 1 of train-1"
    held = json.loads(zlib.decompress(base64.urlsafe_b64decode(cursor)))
    file, place = next(iter(held["files"].items()))
    at = place["at"]
    wrong: list[Any] = [
        {**place, "at": {"at": 7}}, {**place, "at": {**at, "at": -1}}, {**place, "at": {**at, "header": 7}},
        {**place, "counts": {"loss": "7"}}, {**place, "counts": None}, {"at": at}, {}, None, [],
    ]  # fmt: skip

    def packed(one: Any) -> str:
        return base64.urlsafe_b64encode(zlib.compress(json.dumps({**held, "files": {file: one}}).encode())).decode()

    assert training.side.ask("run_info", job="train-1", since=packed(place))["ok"]
    for text in ("", "x", "eJw", "AAAA", *map(packed, wrong)):
        assert training.side.ask("run_info", job="train-1", since=text)["error"]["message"] == "this is no cursor"


@pytest.mark.accepts("B01")
def test_a_file_that_is_written_anew_is_read_from_its_beginning_and_that_is_said(node: PlainNode) -> None:
    training = Training(node)
    training.start()
    training.look()
    path = training.folder / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "loss": 9.0}) + "\n" for step in range(5)))
    told = training.look()["run"]["files"][0]
    assert told["metrics"]["loss"]["count"] == 5
    assert any("was read from its beginning" in note for note in told["notes"])


@pytest.mark.accepts("B01")
def test_only_files_of_the_job_are_read(node: PlainNode) -> None:
    """By their path, wherever a link leads to, and only metrics and logs among them."""
    training = Training(node)
    elsewhere = node.home / "elsewhere"
    elsewhere.mkdir()
    training.start("train-1", str(elsewhere / "metrics.jsonl"))
    for name in ("other.log", "other.jsonl"):
        (elsewhere / name).write_text('{"step": 1, "loss": 7, "is": "hidden"}\n')
    (training.folder / "linked.log").symlink_to(elsewhere / "other.log")
    for name in ("id_work", "key.pem", "config.ini"):
        (training.folder / name).write_text("hidden\n")
    (training.folder / "said.txt").write_text("step 5 loss 0.5\n")

    def refused(path: str) -> str:
        reply = training.side.ask("run_info", job="train-1", path=path)
        assert "hidden" not in json.dumps(reply)
        return str(reply["error"]["message"])

    for path in (str(elsewhere / "other.log"), "../elsewhere/other.jsonl", "linked.log", str(elsewhere), "/etc/passwd"):
        assert "is not of train-1: it is not below" in refused(path), path
    assert "is not of train-1" in refused(f"{training.side.state_dir}/jobs")
    for path in ("id_work", "key.pem"):
        assert "looks like a file of keys or passwords" in refused(path)
    assert "is no file of metrics, and not called as a log is" in refused("config.ini")
    (told,) = training.look(path="said.txt")["run"]["files"]
    assert (told["kind"], told["metrics"]["loss"]["final"]) == ("log", [5, 0.5])
    # What it has open it may write anywhere; and that it had it open is known when it is over, too.
    for _look in range(2):
        (told,) = training.look(path=str(elsewhere / "metrics.jsonl"))["run"]["files"]
        assert told["metrics"]["loss"]["count"] == 100
        training.end(0)


@pytest.mark.accepts("B01")
def test_what_cannot_be_read_hides_nothing_else(node: PlainNode) -> None:
    training = Training(node)
    nobody = "/proc/sys/vm/compact_memory"  # not even root may read it
    (training.folder / "loop.jsonl").symlink_to("loop.jsonl")
    for name in ("run.wandb", "events.out.tfevents.1", "config.yaml", "train.log"):
        (training.folder / name).symlink_to(nobody)
    training.start()
    reply = training.look(path=".")
    (told,) = reply["run"]["files"]
    assert (told["place"], told["metrics"]["loss"]["count"]) == ("metrics.jsonl", 100)
    said = f"{training.folder}/%s cannot be read: Permission denied"
    assert reply["run"]["notes"] == [
        f"{training.folder}/loop.jsonl cannot be read: Too many levels of symbolic links",
        said % "events.out.tfevents.1", said % "run.wandb", said % "train.log",
    ]  # fmt: skip
    assert said % "config.yaml" in told["notes"]
    assert found(reply).run is not None


@pytest.mark.accepts("B01")
def test_files_are_the_jobs_when_it_has_them_open_or_wrote_them_while_it_ran(node: PlainNode) -> None:
    training = Training(node)
    old = training.folder / "old.jsonl"
    old.write_text('{"step": 1, "loss": 1}\n')
    os.utime(old, (1e9, 1e9))
    elsewhere = node.home / "elsewhere.jsonl"
    training.start("train-1", str(elsewhere))
    told = training.look()["run"]["files"]
    assert [one["path"] for one in told] == [str(elsewhere)]
    assert told[0]["held"] == training.side.observe("train-1")["pid"]
    named = training.look(path="old.jsonl")["run"]["files"]
    assert [one["path"] for one in named] == [str(old)]
    missing = training.side.ask("run_info", job="train-1", path="nowhere")
    assert missing["error"]["message"] == f"there is no file or folder {training.folder}/nowhere on this node"


@pytest.mark.accepts("B01")
def test_of_a_sandbox_its_own_file_is_read_and_not_another_of_that_name(node: PlainNode) -> None:
    side, folder = NodeSide(node), node.home / "proj"
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="stoker-test-", dir="/tmp") as outside:
        anothers = Path(outside, "metrics.jsonl")
        anothers.write_text('{"step": 77, "loss": 7}\n')
        # There /tmp is a folder of its own.
        program = f"""
import os, time
os.mkdir({outside!r})
file = open({str(anothers)!r}, "a")
file.write('{{"step": 1, "loss": 3}}\\n')
file.flush()
print("written", flush=True)
while not os.path.exists("end"):
    time.sleep(0.05)
"""
        side.start("box-1", "/usr/bin/python3", "-c", program, sandbox="bwrap", workdir=str(folder))
        seen = side.wait("box-1", lambda seen: seen["last_line"] == "written" or seen["state"] in OVER)
        assert seen["state"] == "running", (seen, side.log("box-1"))
        (told,) = side.ask("run_info", job="box-1")["run"]["files"]
        assert (told["metrics"]["loss"]["count"], told["metrics"]["loss"]["final"]) == (1, [1, 3])
        assert told["path"] == f"/proc/{told['held']}/root{anothers}"
        (folder / "end").touch()
        side.wait("box-1")
        # Its folder is gone with it.
        assert [one["place"] for one in side.ask("run_info", job="box-1")["run"]["files"]] == ["out.log"]


@pytest.mark.accepts("B01")
def test_a_job_that_writes_no_file_is_read_from_what_it_printed(node: PlainNode) -> None:
    side = NodeSide(node)
    (node.home / "empty").mkdir()
    side.start(
        "talk-1", "sh", "-c", "for i in 1 2 3; do echo step $i loss 0.$i; done", workdir=str(node.home / "empty")
    )
    side.wait("talk-1")
    (told,) = side.ask("run_info", job="talk-1")["run"]["files"]
    assert (told["kind"], told["metrics"]["loss"]["final"]) == ("log", [3, 0.3])


@pytest.mark.accepts("B01")
@pytest.mark.parametrize(
    ("name", "text", "steps", "skipped"),
    [
        ("m.jsonl", '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}', [1, 2], {}),
        ("m.jsonl", '{"step": 1, "loss": 3}\n{"step": 2, "lo', [1], {"incomplete last line": 1}),
        ("m.csv", "step,loss\n1,3\n2,2", [1, 2], {}),
        ("out.log", "step 1 loss 3\nstep 2 loss 2", [1, 2], {}),
    ],
)
def test_the_last_line_of_a_job_that_is_over_needs_no_end(
    node: PlainNode, name: str, text: str, steps: list[int], skipped: dict[str, int]
) -> None:
    side = NodeSide(node)
    folder = node.home / "proj"
    folder.mkdir()
    script = f"printf '%s' '{text}' > {name}; until test -e end; do sleep 0.1; done"
    side.start("cut-1", "sh", "-c", script, workdir=str(folder))
    wait_until(lambda: (folder / name).exists() and (folder / name).read_text() == text, "the file", 180)

    def asked() -> dict[str, Any]:
        (told,) = side.ask("run_info", job="cut-1", path=name)["run"]["files"]
        return dict(told)

    assert asked()["metrics"]["loss"]["final"] == [1, 3]  # what follows may go on
    (folder / "end").touch()
    side.wait("cut-1")
    for _look in range(2):
        told = asked()
        assert told["metrics"]["loss"]["count"] == len(steps)
        assert told["metrics"]["loss"]["final"][0] == steps[-1]
        assert told["skipped"] == skipped
