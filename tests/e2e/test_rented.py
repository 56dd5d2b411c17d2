# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A training on a rented machine that is lost in the middle resumes on another one, and ends as if nothing had been."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from contracts.vast import Double
from test_checkpoints import TRAINS
from testbed.processes import listening

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")
SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 1, idle_s: 2, setup: ["touch set-up"]}
budget: {per_day: 20}
"""


@pytest.fixture
def cli(renter: Cli) -> Cli:
    (renter.folder / "train.py").write_text(TRAINS)
    return renter


def machines(cli: Cli, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("vast", "list", "--json", *options).json()["instances"]
    return found


@pytest.mark.accepts("V07", "V22", "V23", "V27")
def test_a_training_that_loses_its_machine_ends_as_if_nothing_had_been(
    cli: Cli, double: Double, tmp_path: Path
) -> None:
    never, end = tmp_path / "never", tmp_path / "end"
    job = cli.run(
        "python3", "train.py", "40", f"25={never}", f"35={end}",
        options=("--on", "pool:cheap", "--snapshot", "--checkpoints", "out/step-*.txt", "--checkpoint-every", "1s"),
    )  # fmt: skip
    assert cli.job(job)["detail"] == "pool cheap: nobody makes rounds: stoker dispatch --loop"
    loop = cli.start("dispatch", "--loop", "--interval", "1s")
    until(lambda: [each["step"] for each in cli.job(job)["checkpoints"]["newest"]] == [20], "a checkpoint came", 180)
    [first] = machines(cli)
    assert (first["phase"], first["job"], cli.job(job)["node"]) == ("ready", job, first["node"])
    # What a person sees of it: phase, host, dollars, and about when it ends.
    assert (first["host"], first["usd_per_hour"], first["eta_from"]) == (
        "127.0.0.1", pytest.approx(0.364), "expected_s of its pool",
    )  # fmt: skip
    assert 0 < first["spent"] < 0.05
    assert 0 < first["eta_s"] < 3600
    shown = cli("job", job).out
    assert re.search(rf"rented +{first['node']}  ready, RTX 4090, \$0.3640 per hour, \$0.0\d+ spent", shown), shown
    assert re.search(rf"{first['node']} +cheap +ready \S+ \S+ +{job} +127.0.0.1", cli("vast", "list").out)
    # No notice is taken from anybody, the provider included: what it shows when it is asked counts.
    assert listening(loop.pid) == set()
    double.exit(first["provider_id"], "the host went away")
    never.touch()
    end.touch()
    until(lambda: cli.job(job)["state"] == "succeeded", "it ends on another machine", 240)
    until(lambda: not machines(cli), "the machine is given back", 120)
    loop.send_signal(signal.SIGTERM)
    loop.wait(180)
    assert cli("logs", job).out == f"begins at 20\ntotal {sum(range(41))}\n"
    told = cli.job(job)
    assert (told["attempt"], told["exit_code"], told["checkpoints"]["resumed"]["step"]) == (2, 0, 20)
    both = machines(cli, "--all")
    assert [each["phase"] for each in both] == ["gone", "gone"]
    assert len({each["provider_id"] for each in both}) == 2
    assert double.instances == {}
    # What lay on the second machine is here, and was before it went.
    assert (cli.folder / "out" / "step-40.txt").read_text() == f"40 {sum(range(41))}"
    spent = cli("vast", "cost", "--json").json()
    assert [row["key"] for row in spent["rows"] if row["key"]] == [job]
    assert abs(spent["total"] - float(double.billed().total)) < 0.01
    assert re.search(rf"{job} .*\$0\.0", cli("vast", "cost").out)
    # All of it is in the database: a controller that was set up anew, elsewhere, tells the same.
    anew = {"STOKER_STATE_HOME": str(tmp_path / "anew"), "VAST_API_KEY": ""}
    record = cli("job", job, "--json", env=anew).json()
    assert (record["spec"]["argv"][:2], len(record["job"]["snapshot"]["digest"])) == (["python3", "train.py"], 64)
    assert [(each["number"], each["state"]) for each in record["attempts"]] == [(1, "lost"), (2, "succeeded")]
    assert [each["provider_id"] for each in record["rented"]] == [each["provider_id"] for each in both]
    kinds = [
        json.loads(line)["value"]["type"] for line in cli("events", "--job", job, "--json", env=anew).out.splitlines()
    ]
    assert {"instance.ready", "instance.gone", "job.moved", "checkpoint.pulled", "job.succeeded"} <= set(kinds)


@pytest.mark.accepts("V06", "V30")
def test_machines_by_hand(cli: Cli, double: Double) -> None:
    offers = cli("vast", "offers", "cheap")
    assert "RTX 4090" in offers.out
    assert "the first: RTX 4090 in Texas, US: $0.3640 per hour" in offers.out, offers
    assert cli("vast", "offers", "dear").code == 2
    rented = cli("vast", "rent", "cheap", "--wait", "--json")
    assert rented.code == 0, rented
    [machine] = rented.json()["instances"]
    name, number = machine["node"], machine["provider_id"]
    assert (machine["phase"], machine["job"], machine["usd_per_hour"]) == ("ready", None, pytest.approx(0.364))
    # One of another tool, and one with a label of this store that the store knows nothing of.
    other = double.foreign("somebody's")
    orphan = double.foreign(double.instances[number].label[:-12] + "0" * 12)
    told = cli("vast", "list", "--reconcile")
    assert re.search(rf"{other} +somebody's +\$0\.\d+ +foreign", told.out), told
    assert re.search(rf"{orphan} +stoker/\S+ +\$0\.\d+ +destroy", told.out), told
    stopped = cli("vast", "stop", name)
    assert (stopped.code, double.instances[number].current) == (0, "stopped"), stopped
    again = cli("vast", "stop", str(number))
    assert (again.code, again.out) == (0, f"{name} is stopped already\n")
    assert cli("vast", "start", name).code == 0
    asked = cli("vast", "destroy", "--all")
    assert asked.code == 2
    assert f"there are 1 machines ({name})" in asked.err
    gone = cli("vast", "destroy", "--all", "--yes")
    assert (gone.code, number in double.instances) == (0, False), gone
    assert f"asked for {number}, the provider says that there is none" in gone.out
    assert cli("vast", "destroy", name).out == f"{name} is gone already\n"
    plan = cli("vast", "reap", "--plan")
    assert (plan.code, set(double.instances)) == (0, {other, orphan})
    assert "next: stoker vast reap" in plan.out
    reaped = cli("vast", "reap")
    assert (reaped.code, set(double.instances)) == (0, {other}), reaped
    assert f"{orphan} is gone: the provider shows it no more" in reaped.out
    assert cli("vast", "reap", "--json").json()["done"] == []
    assert cli("vast", "list").out.startswith("no machine is rented")
    tried = cli("vast", "selftest", "cheap")
    assert (tried.code, set(double.instances)) == (0, {other}), tried
    lines = (
        r"ok +offers.*",
        r"ok +rent.* ready; .*",
        r"ok +run a command.*Python 3.*",
        r"ok +destroy.*: gone; .*",
        r"\$0.+",
    )
    assert re.fullmatch("\n".join(lines) + "\n", tried.out), tried


# Writes a result at once, and another one when it is asked to end.
WRITES = """
import pathlib, signal, sys, time
def end(number, frame):
    pathlib.Path("last.txt").write_text("checkpoint")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path("first.txt").write_text("begun")
print("begun", flush=True)
while True:
    time.sleep(0.1)
"""


def writing(cli: Cli) -> tuple[str, subprocess.Popen[bytes]]:
    """A job for a rented machine, and the dispatcher that rents it."""
    (cli.folder / "writes.py").write_text(WRITES)
    job = cli.run("python3", "writes.py", options=("--on", "pool:cheap", "--snapshot"))
    return job, cli.start("dispatch", "--loop", "--interval", "1s")


@pytest.mark.accepts("V25", "V29")
def test_a_stop_signals_the_job_fetches_what_it_wrote_and_then_stops_the_machine(cli: Cli, double: Double) -> None:
    job, loop = writing(cli)
    until(lambda: "begun" in cli("logs", job).out, "it runs", 180)
    [machine] = machines(cli)
    stopped = cli("vast", "stop", machine["node"])
    assert (stopped.code, double.instances[machine["provider_id"]].current) == (0, "stopped"), stopped
    assert cli.job(job)["state"] in ("cancelled", "succeeded")
    assert [(cli.folder / name).read_text() for name in ("first.txt", "last.txt")] == ["begun", "checkpoint"]
    assert cli("vast", "stop", machine["node"]).out == f"{machine['node']} is stopped already\n"
    # Where nobody rents any more, the disk that is still billed goes with the next rounds.
    loop.send_signal(signal.SIGTERM)
    loop.wait(180)
    (cli.folder / "stoker.yml").unlink()
    until(lambda: cli("dispatch").code == 0 and double.instances == {}, "it is gone", 120)


@pytest.mark.slow
@pytest.mark.accepts("V25")
def test_what_lies_on_a_machine_that_exited_is_fetched_where_its_pool_says_so(cli: Cli, double: Double) -> None:
    (cli.folder / "stoker.yml").write_text(
        SETTINGS.replace("max: 1", "max: 1, max_respawns: 0, fetch_after_exit: true")
    )
    job, _ = writing(cli)
    until(lambda: "begun" in cli("logs", job).out, "it runs", 180)
    [machine] = machines(cli)
    double.exit(machine["provider_id"], "the container ran out of memory")
    until(lambda: (cli.folder / "first.txt").exists(), "its results are here", 240)
    until(lambda: double.instances == {}, "its machine is gone", 120)
    assert (cli.job(job)["state"], (cli.folder / "first.txt").read_text()) == ("lost", "begun")
    assert not (cli.folder / "last.txt").exists(), "nothing of it ran on"


@pytest.mark.accepts("B12", "V39")
def test_at_its_limit_a_job_ends_and_what_it_wrote_is_here(cli: Cli, double: Double) -> None:
    job, loop = writing(cli)
    until(lambda: "begun" in cli("logs", job).out, "it runs", 180)
    loop.send_signal(signal.SIGTERM)
    loop.wait(180)
    (cli.folder / "stoker.yml").write_text(SETTINGS.replace("per_day: 20", "per_job: 0.0005"))
    cli.start("dispatch", "--loop", "--interval", "1s")
    until(lambda: cli.job(job)["finished"], "it is stopped", 240)
    until(lambda: double.instances == {}, "its machine is gone", 120)
    assert [(cli.folder / name).read_text() for name in ("first.txt", "last.txt")] == ["begun", "checkpoint"]
    told = cli("events", "--job", job, "--type", "job.stop_requested").out
    assert f"the budget of $0.00 for {job} is reached" in told, told


def test_who_follows_a_job_gets_it_a_machine_where_nobody_dispatches(cli: Cli, double: Double) -> None:
    said = cli(
        "run", "--on", "pool:cheap", "--snapshot", "--follow", "--", "sh", "-c", "echo trained; echo 1 > result.txt",
        timeout_s=240,
    )  # fmt: skip
    assert (said.code, said.out) == (0, "trained\n"), said
    assert (cli.folder / "result.txt").read_text() == "1\n"
    assert "renting (1 of 1, " in said.err
    assert "not in the inventory" not in said.err
    # The next rounds give the machine back.
    until(lambda: cli("dispatch").code == 0 and double.instances == {}, "it is gone", 120)


@pytest.mark.accepts("V11")
def test_what_a_project_needs_is_installed_before_its_job_begins_or_it_does_not(cli: Cli, double: Double) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    setup = f"mkdir -p .local/bin && ln -sf {uv} .local/bin/uv"
    pool = f'max: 1, idle_s: 60, environment: true, setup: ["{setup}"]'
    (cli.folder / "stoker.yml").write_text(SETTINGS.replace('max: 1, idle_s: 2, setup: ["touch set-up"]', pool))
    options = ("--on", "pool:cheap", "--snapshot")
    said = cli("run", *options, "--", "true")
    assert (said.code, "the project says nowhere what it needs" in said.err) == (2, True), said
    needs, loop = cli.folder / "requirements.txt", cli.start("dispatch", "--loop", "--interval", "1s")
    needs.write_text("--no-index\nno-such-thing-at-all\n")
    fails = cli.run("touch", "begun", options=options)
    until(lambda: cli.job(fails)["finished"], "it fails", 180)
    told = cli.job(fails)
    assert (told["state"], told["reason"], told["attempt"]) == ("failed", "start", 1)
    assert "the install of requirements.txt ended with 1: " in told["detail"], told["detail"]
    # What the installer said is here, and stays when the machine goes; what it cost is this job's.
    until(lambda: "no-such-thing-at-all" in cli("logs", fails).out, "the log of the install", 60)
    assert not (cli.folder / "begun").exists()
    # The machine is as good as before.
    needs.write_text("")
    works = cli.run("sh", "-c", 'echo "$VIRTUAL_ENV"; command -v python', options=options)
    until(lambda: cli.job(works)["finished"], "it runs", 180)
    active, python = cli("logs", works).out.split()
    assert (python, "/environments/" in active, cli.job(works)["node"]) == (f"{active}/bin/python", True, told["node"])
    loop.send_signal(signal.SIGTERM)
    loop.wait(60)
    assert cli("vast", "destroy", "--all", "--yes").code == 0
    assert double.instances == {}
    assert "no-such-thing-at-all" in cli("logs", fails).out
    spent = {row["key"]: row["total"] for row in cli("vast", "cost", "--json").json()["rows"]}
    assert spent[fails] > 0
    assert cli("vast", "cost", "--json").json()["put_aside"] == 0
