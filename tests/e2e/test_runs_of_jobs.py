# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker runs ...` of a job: the same questions, answered by the node that has the files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, until
from plays import Plays
from testbed import PlainNode, write_inventory
from testbed.bed import find_python

from stoker.analysis import read, runs_in, verdict

Stoker = Callable[..., Cli]

# Writes 12,000 points with a spike and a NaN, then waits for the word to write more, or to end.
TRAINING = """
import json, math, os, random, sys, time
random.seed(7)
file = open("metrics.jsonl", "a")
def write(first, last):
    now = time.time()
    for step in range(first, last):
        loss = 0.5 + 3 / (1 + step / 300) + random.gauss(0, 0.01)
        row = {"step": step, "time": now - (last - step) * 0.01, "train/loss": loss * (9 if step == 6000 else 1)}
        if step % 100 == 0:
            row["val/loss"] = float("nan") if step == 11000 else loss + 0.1
        file.write(json.dumps(row) + "\\n")
    file.flush()
    print("written", last, flush=True)
write(0, 12000)
while not os.path.exists("more"):
    time.sleep(0.1)
write(12000, 12010)
while not os.path.exists("end"):
    time.sleep(0.1)
"""


@pytest.fixture
def job(stoker: Stoker, node: PlainNode) -> tuple[Cli, str, Path]:
    """A command line, a job that trains, and its folder."""
    cli, folder = stoker(node), node.home / "proj"
    folder.mkdir()
    (folder / "train.py").write_text(TRAINING)
    id_ = cli.run(node.python, "train.py", options=("--workdir", str(folder), "--name", "train", "--on", node.name))
    until(lambda: "written 12000" in cli("logs", id_).out, "the points")
    return cli, id_, folder


@pytest.mark.accepts("B01")
@pytest.mark.accepts("B05")
def test_a_run_is_asked_where_it_lies(job: tuple[Cli, str, Path], node: PlainNode) -> None:
    cli, id_, folder = job
    said = cli("runs", "stats", id_)
    assert said.code == 0, said
    assert f"{node.name}, " in said.out.splitlines()[1]
    told = cli("runs", "stats", id_, "--json").json()
    seen = told["info"]["seen"]
    assert (seen["node"], seen["job"], seen["read_bytes"]) == (node.name, id_, 0)
    assert seen["bytes"] < 60_000 < (folder / "metrics.jsonl").stat().st_size
    here = {m["name"]: m for m in cli("runs", "stats", str(folder / "metrics.jsonl"), "--json").json()["metrics"]}
    for metric in told["metrics"]:
        for figure in ("count", "nan", "first", "last", "min", "max", "best"):
            assert metric[figure] == here[metric["name"]][figure], figure
    summary = cli("runs", "summary", id_)
    assert f"· {node.name}, " in summary.out, summary
    assert summary.out.startswith("metrics.jsonl  running")
    beside = cli("runs", "machine", id_, "-n", "5", "--json").json()
    assert len(beside["parts"]) == 5
    assert "the job has no GPU of its own, so nothing is known of GPUs" in beside["unknown"]
    assert cli("runs", "machine", id_, "-n", "5").code == 0
    check_is_that_of_the_file(cli, id_, folder)
    only_what_is_new_is_told(cli, id_, folder)


@pytest.mark.accepts("R31")
def test_a_finding_is_told_once(job: tuple[Cli, str, Path]) -> None:
    cli, id_, folder = job
    assert cli("dispatch").code == 0
    assert cli("events", "--type", "run.*", "--json").out == "", "no rule wants to know"
    settings = "notify: {findings_s: 1, rules: [{events: [run.finding], to: [inbox]}]}\n"
    (cli.folder / "stoker.yml").write_text(settings)
    cli("notify", "send")  # the inbox is told of what comes from now on

    def findings() -> list[dict[str, object]]:
        said = cli("dispatch")
        assert said.code == 0, said
        told = cli("events", "--type", "run.finding", "--json").out.splitlines()
        return [json.loads(line)["value"] for line in told]

    until(findings, "a finding")
    turn = int(time.time())
    until(lambda: int(time.time()) > turn, "the next interval")
    (told,) = findings()
    assert (told["job"], told["attempt"], told["type"]) == (id_, 1, "run.finding")
    assert told["data"]["reason"] == "not_finite of val/loss"  # type: ignore[index]
    mails = cli("inbox", "list", "--json").json()["messages"]
    assert [mail["title"].partition(" (")[0] for mail in mails] == [f"run {id_} finding"]
    # Of one that is over every point is looked at.
    for word in ("more", "end"):
        (folder / word).touch()
    until(lambda: "spike of train/loss" in {one["data"]["reason"] for one in findings()}, "the spike", 60)  # type: ignore[index]


def check_is_that_of_the_file(cli: Cli, job: str, folder: Path) -> None:
    (found,) = runs_in(folder / "metrics.jsonl")
    here = {(f.detector, f.metric, f.says) for f in verdict.check(read(found), 0.0).findings}
    full = cli("runs", "check", job, "--full", "--json").json()["runs"][0]
    assert {(f["detector"], f["metric"], f["says"]) for f in full["findings"]} == here
    assert any(detector == "spike" for detector, *_ in here)
    digest = cli("runs", "check", job, "--json").json()["runs"][0]
    assert {f["detector"] for f in digest["findings"]} <= {"not_finite", "silence"}
    assert any("--full" in unknown["why"] for unknown in digest["cannot_tell"])


def only_what_is_new_is_told(cli: Cli, job: str, folder: Path) -> None:
    first = cli("runs", "watch", job, "--once", "--json").json()
    (folder / "more").touch()
    until(lambda: "written 12010" in cli("logs", job).out, "more points")
    news = cli("runs", "watch", job, "--once", "--since", first["cursor"], "-n", "100", "--json").json()
    assert [row["step"] for row in news["rows"]] == list(range(12000, 12010))
    few = cli("runs", "watch", job, "--once", "--since", first["cursor"], "--tokens", "60", "--json").json()
    assert 0 < few["tokens"] <= 60
    assert 0 < len(few["rows"]) < 10
    assert few["total"] == 10
    (folder / "end").touch()
    over = cli("runs", "watch", job, "--since", news["cursor"], "--json")
    last = json.loads(over.out.splitlines()[-1])["value"]
    assert (over.code, last["rows"], last["state"]["name"]) == (0, [], "finished")
    short = cli("runs", "history", job, "-n", "50", "--tokens", "200", "--json").json()
    assert 0 < short["tokens"] <= 200
    assert short["total"] == 12010


@pytest.mark.accepts("B01")
@pytest.mark.accepts("B05")
def test_a_playbook_asks_a_node_with_python_3_8(nodes: Callable[..., list[PlainNode]], tmp_path: Path) -> None:
    (node,) = nodes(1, python=find_python("3.8"))
    lines = "".join(json.dumps({"step": step, "loss": 1 / (1 + step)}) + "\n" for step in range(6000))
    (node.home / "rows").write_text(lines)
    plays = Plays(tmp_path, write_inventory(tmp_path / "inventory.yml", [node], groups={"fleet": [node.name]}))
    played = plays.run(
        """
        - stoker.fleet.job: { id: nightly, argv: [cp, rows, metrics.jsonl], workdir: "~", state: started }
        - stoker.fleet.job_log: { id: nightly, wait: 60 }
        - stoker.fleet.run_info: { id: nightly }
          check_mode: true
          register: first
        - stoker.fleet.run_info: { id: nightly, since: "{{ first.run.cursor }}" }
          register: news
        - stoker.fleet.run_info: { id: nobody }
          register: missing
        """
    )
    told = played.results[node.name]
    (file,) = told["first"]["run"]["files"]
    assert file["path"] == str(node.home / "metrics.jsonl"), played.output
    assert file["metrics"]["loss"]["count"] == 6000
    assert file["metrics"]["loss"]["min"] == [5999, 1 / 6000]
    assert (told["first"]["changed"], told["first"]["job"]["state"]) == (False, "succeeded")
    assert told["news"]["run"]["files"][0]["metrics"] == {}
    assert told["missing"]["msg"].startswith("no job nobody in ")
