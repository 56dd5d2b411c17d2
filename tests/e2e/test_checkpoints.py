# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints come here while a job runs, whole or not at all, and its next attempt goes on from the newest one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
# Counts steps and adds them up, from the checkpoint that it is given; writes one each 10 steps, and waits at the steps
# that are named until their file is there. It fails at the step that FAILS_AT names, when it began at the beginning.
TRAINS = """
import os, pathlib, sys, time
waits = {int(step): path for step, path in (pair.split("=") for pair in sys.argv[2:])}
step, total = 0, 0
if given := os.environ.get("STOKER_RESUME_FROM"):
    step, total = map(int, pathlib.Path(given).read_text().split())
print(f"begins at {step}", flush=True)
began = step
pathlib.Path("out").mkdir(exist_ok=True)
while step < int(sys.argv[1]):
    step += 1
    total += step
    if step % 10 == 0:
        new = pathlib.Path(f"out/step-{step}.txt.tmp")
        new.write_text(f"{step} {total}")
        new.rename(f"out/step-{step}.txt")
    while step in waits and not os.path.exists(waits[step]):
        time.sleep(0.1)
    if began == 0 and step == int(os.environ.get("FAILS_AT", 0)):
        sys.exit(7)
print(f"total {total}", flush=True)
"""
KEEPS = ("--checkpoints", "out/step-*.txt", "--workdir", "proj")


def train(*nodes: PlainNode) -> None:
    for node in nodes:
        (node.home / "proj").mkdir()
        (node.home / "proj" / "train.py").write_text(TRAINS)


def events(cli: Cli, job: str, kind: str) -> list[dict[str, Any]]:
    said = cli("events", "--json", "--job", job, "--type", kind).out
    return [json.loads(line)["value"] for line in said.splitlines()]


def steps(cli: Cli, job: str) -> list[int]:
    return [each["step"] for each in cli.job(job)["checkpoints"]["newest"]]


@pytest.mark.accepts("V17", "V18")
def test_a_job_whose_node_dies_ends_elsewhere_as_if_nothing_had_been(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    first, second = nodes(2)
    train(first, second)
    cli = stoker(first, second)
    never, end = tmp_path / "never", tmp_path / "end"
    job = cli.run(
        "python3", "train.py", "40", f"25={never}", f"35={end}",
        options=(*KEEPS, "--checkpoint-every", "1s", "--lease", "move:15s", "--grace", "0"),
    )  # fmt: skip
    loop = cli.start("dispatch", "--loop", "--interval", "1s")
    until(lambda: steps(cli, job) == [20], "the second checkpoint came", 180)
    node = cli.job(job)["node"]
    {"n1": first, "n2": second}[node].stop()
    never.touch()
    other = {"n1": "n2", "n2": "n1"}[node]
    until(lambda: cli.job(job)["node"] == other and cli.job(job)["state"] == "running", "it goes on elsewhere", 180)
    until(lambda: steps(cli, job)[0] == 30, "its next one came", 180)
    end.touch()
    until(lambda: cli.job(job)["state"] == "succeeded", "it ends", 180)
    loop.send_signal(signal.SIGTERM)
    loop.wait(180)
    assert cli("logs", job).out == f"begins at 20\ntotal {sum(range(41))}\n"
    told = cli.job(job)
    assert (told["attempt"], told["checkpoints"]["resumed"]["step"]) == (2, 20)
    assert "resumed   from step-20.txt (step 20), by attempt 1" in cli("job", job).out
    claims = [event["data"]["resume"] for event in events(cli, job, "job.starting")]
    assert [claim and claim["name"] for claim in claims] == [None, "step-20.txt"]
    came = [event["data"]["step"] for event in events(cli, job, "checkpoint.pulled")]
    assert came[:2] == [20, 30]


@pytest.mark.accepts("V18", "V25")
def test_what_a_failed_attempt_wrote_last_is_fetched_before_the_next_begins(stoker: Stoker, node: PlainNode) -> None:
    train(node)
    cli = stoker(node)
    said = cli(
        "run", "--follow", *KEEPS, "--checkpoint-every", "1h", "--env", "FAILS_AT=35", "--retries", "1",
        "--", "python3", "train.py", "40",
    )  # fmt: skip
    assert (said.code, said.out) == (0, f"begins at 0\nbegins at 30\ntotal {sum(range(41))}\n"), said
    (job,) = [each["id"] for each in cli("jobs", "--json").json()["jobs"]]
    assert steps(cli, job) == [30]
    # What succeeded is run again from its beginning, what failed from where it was; --fresh begins anew.
    failed = cli("run", *KEEPS, "--env", "FAILS_AT=25", "--json", "--", "python3", "train.py", "40").json()["job"]["id"]
    assert cli("wait", failed).code == 1
    kept = cli("checkpoint", "list", failed)
    assert "step-20.txt" in kept.out, kept
    again = cli("retry", failed, "--json").json()["job"]["id"]
    assert cli("wait", again).code == 0
    assert cli("logs", again).out.startswith("begins at 20\n")
    assert f"resumed   from step-20.txt (step 20), by attempt 1 of {failed}" in cli("job", again).out
    fresh = cli("retry", failed, "--fresh", "--json").json()["job"]["id"]
    assert cli("wait", fresh).code == 1
    assert cli("logs", fresh).out == "begins at 0\n"


@pytest.mark.accepts("V17", "V18")
def test_a_half_or_damaged_checkpoint_never_counts(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    train(node)
    cli = stoker(node)
    first, last = tmp_path / "first", tmp_path / "last"
    job = cli.run("python3", "train.py", "25", f"15={first}", f"25={last}", options=KEEPS)
    until(lambda: cli("checkpoint", "pull", job).code == 0, "the first checkpoint came", 180)
    # The connection that brings the second one cuts it.
    real, tools = shutil.which("rsync"), tmp_path / "tools"
    tools.mkdir()
    (tools / "rsync").write_text(
        f"#!/bin/sh\n{real} \"$@\"; code=$?\ncase \" $* \" in *--dry-run*) exit $code;; esac\n"
        "for target; do :; done\nfor file in \"$target\"*.txt; do printf 2 > \"$file\"; done\nexit $code\n"
    )  # fmt: skip
    (tools / "rsync").chmod(0o755)
    first.touch()
    there = node.home / "proj" / "out"
    until((there / "step-20.txt").exists, "the second is written", 180)
    cut = {"PATH": f"{tools}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}
    until(lambda: "came in part" in cli("checkpoint", "pull", job, env=cut).out, "it is refused", 180)
    assert steps(cli, job) == [10]
    assert "came in part" in events(cli, job, "checkpoint.refused")[-1]["data"]["reason"]
    with (there / "step-30.txt").open("w") as half:
        half.write("30")
        half.flush()
        said = cli("checkpoint", "pull", job)
        assert (said.code, steps(cli, job)) == (0, [20, 10]), "the newest that is whole counts"
        refused = cli("checkpoint", "pull", job)
        assert (refused.code, steps(cli, job)) == (1, [20, 10]), refused
        assert "step-30.txt" in refused.out
    (there / "step-30.txt").unlink()
    cli("stop", job)
    newest = cli.job(job)["checkpoints"]["newest"]
    # The newest is damaged on this machine, after it came.
    Path(newest[0]["path"]).write_text("20 7")
    last.touch()
    again = cli("retry", job, "--json").json()["job"]["id"]
    assert cli("wait", again).code == 0
    assert cli("logs", again).out.startswith("begins at 10\n")
    (event,) = events(cli, again, "checkpoint.damaged")
    assert "changed here" in event["data"]["reason"]
    assert "damaged" in cli("checkpoint", "list", again).out


@pytest.mark.accepts("V25")
def test_what_a_job_left_is_fetched_when_it_fails_or_is_stopped_and_said_when_its_node_is_away(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    first, second = nodes(2)
    cli = stoker(first, second)
    project = tmp_path / "proj"
    project.mkdir()
    (project / "train.sh").write_text(
        "mkdir -p results; echo $STOKER_ATTEMPT > results/of-$STOKER_ATTEMPT; echo w > last.pt\n"
        "[ $STOKER_ATTEMPT = 2 ] || exit 3\nexec sleep 600\n"
    )
    options = ("--snapshot", "--project", str(project), "--pull", "results", "--checkpoints", "last.pt")
    job = cli.run("sh", "train.sh", options=(*options, "--on", "n1", "--retries", "1", "--grace", "0"))
    until(lambda: cli("dispatch") and cli.job(job)["attempt"] == 2, "its second attempt", 120)
    assert (project / "results" / "of-1").read_text() == "1\n", "attempts have folders of their own: this one is gone"
    (left,) = events(cli, job, "results.left")
    assert (left["attempt"], left["data"]["files"]) == (1, 1)
    until(lambda: cli.job(job, "--live")["state"] == "running", "it runs", 180)
    last = first.state_dir / "jobs" / job / "2/tree/last.pt"
    # What is killed just after it wrote may be cut off.
    until(lambda: last.exists() and time.time() - last.stat().st_mtime > 6, "it wrote something, a while ago", 180)
    stopped = cli("stop", job)
    assert (stopped.code, (project / "results" / "of-2").read_text()) == (0, "2\n"), stopped
    (newest, _) = cli.job(job)["checkpoints"]["newest"], None
    assert newest[0]["attempt"] == 2
    away = cli.run("sh", "-c", "mkdir -p results; echo 1 > results/x; exec sleep 600", options=(*options, "--on", "n2"))
    until(lambda: cli.job(away, "--live")["state"] == "running", "it runs", 180)
    second.down()
    said = cli("stop", "--give-up", away)
    assert said.code == 0, said
    for what in ("newest checkpoint", "results"):
        assert f"the {what} of {away} could not be fetched" in said.err, said
    assert "not fetched" in cli("job", away).out
    second.start()
    assert cli("wait", away).code == 1
    assert (project / "results" / "x").read_text() == "1\n", "they come when it answers"


# Writes how far it is when it is asked to; from a checkpoint it only says where that is.
ASKED = """
if [ -n "$STOKER_RESUME_FROM" ]; then echo "goes on from $(cat "$STOKER_RESUME_FROM")"; exit 0; fi
step=0
trap 'echo $step > last.tmp; mv last.tmp last.txt' USR1
while :; do step=$((step + 1)); sleep 0.1; done
"""


@pytest.mark.accepts("V17", "V18")
def test_a_job_that_is_asked_writes_one_and_a_drain_takes_it_along(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]]
) -> None:
    cli = stoker(*nodes(2))
    options = ("--checkpoints", "last.txt", "--checkpoint-signal", "USR1", "--workdir", ".")
    job = cli.run("sh", "-c", ASKED, options=options)
    until(lambda: cli.job(job, "--live")["state"] == "running", "it runs", 180)
    first = cli.job(job)["node"]
    nothing = cli("checkpoint", "pull", job)
    assert (nothing.code, "nothing to fetch" in nothing.out) == (1, True), nothing
    asked = cli("checkpoint", "pull", job, "--ask")
    assert (asked.code, "last.txt fetched" in asked.out) == (0, True), asked
    before = int(Path(cli.job(job)["checkpoints"]["newest"][0]["path"]).read_text())
    assert cli("node", "drain", first, "--migrate", "--wait").code == 0
    assert cli("wait", job).code == 0
    assert cli.job(job)["node"] != first
    words = cli("logs", job).out.split()
    assert (words[:3], int(words[3]) > before) == (["goes", "on", "from"], True), "it wrote one more before it left"
    bad = cli("run", "--checkpoint-every", "5m", "--", "true")
    assert (bad.code, "it is not said where checkpoints are" in bad.err) == (2, True), bad


@pytest.mark.accepts("V17")
def test_one_that_is_slow_to_come_holds_up_no_other(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    train(node)
    cli = stoker(node)
    gate, end, tools = tmp_path / "gate", tmp_path / "end", tmp_path / "tools"
    words = ("python3", "train.py", "15", f"15={end}")
    slow, fast, other = (cli.run(*words, options=KEEPS) for _ in range(3))
    tools.mkdir()
    (tools / "rsync").write_text(
        f'#!/bin/sh\ncase "$*" in *{slow}*) while [ ! -e {gate} ]; do sleep 0.2; done;; esac\n'
        f'exec {shutil.which("rsync")} "$@"\n'
    )  # fmt: skip
    (tools / "rsync").chmod(0o755)
    held = {"PATH": f"{tools}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}
    loop = cli.start("dispatch", "--loop", "--interval", "1s", env=held)
    try:
        until(lambda: steps(cli, fast) == steps(cli, other) == [10], "those of the others came", 120)
        assert steps(cli, slow) == []
    finally:
        gate.touch()  # what waits for it ends
    until(lambda: steps(cli, slow) == [10], "it comes, too", 120)
    end.touch()
    loop.send_signal(signal.SIGTERM)
    loop.wait(60)
    assert [cli("wait", job).code for job in (slow, fast, other)] == [0, 0, 0]
