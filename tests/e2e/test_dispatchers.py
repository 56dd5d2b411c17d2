# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several dispatchers on one store, real nodes: killed, stopped, woken late, restarted. Each job runs once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

from stoker.store import open_store

Stoker = Callable[..., Cli]
Stores = Callable[[Cli], None]
LOOP = ("dispatch", "--loop", "--interval", "1s", "--lease", "3s")

# Writes its half of the jobs down while it makes rounds, until all are over.
CONTROLLER = """
import sys, threading, time
from stoker import Fleet
from stoker.store import open_store
url, inventory, mark = sys.argv[1:]
script = f'echo "$STOKER_JOB $STOKER_ATTEMPT" >> {mark}'

def add():
    with open_store(url) as store:
        for number in range(50):
            store.add_job("c06", {"script": script}, target="n1" if number % 2 else "n2")

with open_store(url) as store, Fleet(inventory, store_url=url) as fleet:
    print("ready", flush=True)
    sys.stdin.readline()
    adding = threading.Thread(target=add)
    adding.start()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for report in fleet.dispatch.rounds():
            for problem in report.problems:
                print("PROBLEM", problem.message, flush=True)
        jobs = store.jobs()
        if not adding.is_alive() and len(jobs) == 100 and all(job.finished for job in jobs):
            break
    print("over", flush=True)
"""


@pytest.mark.accepts("C06")
@pytest.mark.slow
def test_two_controllers_submit_and_dispatch_100_jobs_at_once(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], stores: Stores, tmp_path: Path
) -> None:
    cli = stoker(*nodes(2))
    stores(cli)
    url, mark = cli.env["STOKER_STORE_URL"], tmp_path / "marks"
    argv = [sys.executable, "-c", CONTROLLER, url, str(cli.inventory), str(mark)]
    controllers = []
    for number in range(2):
        # Controllers of their own: nothing but the store is shared.
        env = {**os.environ, "STOKER_STATE_HOME": str(tmp_path / f"state{number}"), "STOKER_LAUNCHER": "off"}
        pipe = subprocess.PIPE
        controllers.append(subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
    try:
        for controller in controllers:
            assert controller.stdout is not None
            assert controller.stdout.readline() == "ready\n"
        for controller in controllers:
            assert controller.stdin is not None
            controller.stdin.write("go\n")
            controller.stdin.flush()
        said = [controller.communicate(timeout=200) for controller in controllers]
    finally:
        for controller in controllers:
            controller.kill()
            controller.wait()
    assert said == [("over\n", ""), ("over\n", "")]
    with open_store(url) as store:
        jobs = store.jobs()
        assert len(jobs) == 100
        assert {(job.state, job.exit_code, job.attempt) for job in jobs} == {("succeeded", 0, 1)}
        assert all(len(store.attempts(job.id)) == 1 for job in jobs)
        for kind in ("job.queued", "job.starting", "job.succeeded"):
            told = [event.job_id for event in store.events(types=(kind,))]
            assert len(told) == len(set(told)) == 100, kind
    runs = Counter(mark.read_text().splitlines())
    assert runs == Counter(f"{job.id} 1" for job in jobs)


def add(cli: Cli, script: str, *options: str) -> str:
    said = cli("queue", "add", "--json", *options, "--", "sh", "-c", script)
    assert said.code == 0, said
    return str(said.json()["job"]["id"])


def events(cli: Cli) -> list[Any]:
    return [json.loads(line)["value"] for line in cli("events", "--json").out.splitlines()]


def listed(cli: Cli) -> dict[int, tuple[str, int | None]]:
    """State and epoch of each dispatcher, by its process."""
    answer = cli("dispatchers", "--json").json()
    return {one["pid"]: (one["state"], one["epoch"]) for one in answer["dispatchers"]}


@pytest.mark.accepts("C45", "B16")
@pytest.mark.slow
def test_everything_is_there_after_controllers_were_killed_and_started_again(
    stoker: Stoker, node: PlainNode, stores: Stores
) -> None:
    cli = stoker(node)
    stores(cli)
    over = add(cli, "echo one; echo two >&2; exit 3", "--to", "a")
    retried = add(cli, "echo try $STOKER_ATTEMPT; test $STOKER_ATTEMPT = 2", "--to", "b", "--retries", "2")
    long = add(cli, "echo begun; while ! test -e ~/go; do sleep 0.1; done; echo end", "--to", "c")
    first = cli.start(*LOOP)
    until(lambda: cli.job(retried)["state"] == "succeeded" and cli.job(long)["state"] == "running", "two are far", 40)
    first.kill()
    first.wait()
    before, history = [cli.job(job) for job in (over, retried)], events(cli)
    ends = [(job["state"], job["exit_code"], job["attempt"]) for job in before]
    assert ends == [("failed", 3, 1), ("succeeded", 0, 2)]
    second = cli.start(*LOOP)
    until(lambda: listed(cli).get(second.pid, ("", 0))[0] == "leads", "the next one leads")
    second.kill()
    second.wait()
    node.ssh("touch go")
    third = cli.start(*LOOP)
    until(lambda: cli.job(long)["state"] == "succeeded", "the one that ran meanwhile is over", 40)
    third.send_signal(signal.SIGTERM)
    assert third.wait(20) == 0
    assert [cli.job(job) for job in (over, retried)] == before
    assert events(cli)[: len(history)] == history
    assert [attempt["exit_code"] for attempt in cli("job", retried, "--json").json()["attempts"]] == [1, 0]
    node.down()
    assert cli("logs", over).out == "one\ntwo\n"
    assert cli("logs", retried, "--attempt", "1").out == "try 1\n"
    assert cli("logs", long, "--tail", "1").out == "end\n"


@pytest.mark.accepts("B16")
@pytest.mark.slow
def test_another_one_leads_when_the_leader_is_killed_or_stopped(
    stoker: Stoker, node: PlainNode, stores: Stores
) -> None:
    cli = stoker(node)
    stores(cli)
    first = cli.start(*LOOP)
    until(lambda: listed(cli).get(first.pid, ("", 0))[0] == "leads", "the first one leads")
    second = cli.start(*LOOP)
    until(lambda: listed(cli).get(second.pid, ("", 0))[0] == "stands by", "the second one stands by")
    epoch = listed(cli)[first.pid][1]
    first.kill()
    first.wait()
    until(lambda: listed(cli).get(second.pid, ("", 0))[0] == "leads", "the second one leads", 10)
    assert listed(cli)[first.pid] == ("ended", epoch)
    job = add(cli, "echo ran >> ~/marks")
    until(lambda: cli.job(job)["state"] == "succeeded", "it starts what waits")

    third = cli.start(*LOOP)
    until(lambda: listed(cli).get(third.pid, ("", 0))[0] == "stands by", "the third one stands by")
    second.send_signal(signal.SIGSTOP)
    until(lambda: listed(cli)[third.pid][0] == "leads", "the third one leads", 15)
    assert listed(cli)[second.pid][0] in ("silent", "stands by")
    other = add(cli, "echo ran >> ~/marks")
    until(lambda: cli.job(other)["state"] == "succeeded", "it starts what waits")
    second.send_signal(signal.SIGCONT)
    until(lambda: listed(cli)[second.pid][0] == "stands by", "the one that woke stands by")
    assert listed(cli)[third.pid][0] == "leads"
    shown = cli("dispatchers").out
    assert "leads" in shown
    assert "stands by" in shown
    for loop in (second, third):
        loop.send_signal(signal.SIGTERM)
        out, _err = loop.communicate(timeout=20)
        assert loop.returncode == 0
        assert b"leads, epoch" in out
    assert Path(node.home, "marks").read_text() == "ran\nran\n"
    assert cli("dispatchers", "--json").json()["dispatchers"][0]["state"] == "ended"
