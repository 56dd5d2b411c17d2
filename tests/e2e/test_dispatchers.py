# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several dispatchers on one store, real nodes: killed, stopped, woken late, restarted. Each job runs once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, until
from testbed import PlainNode

from stoker.store import AttemptRow, EventRow, JobRow, open_store

Stoker = Callable[..., Cli]
Stores = Callable[[Cli], None]
LOOP = ("dispatch", "--loop", "--interval", "1s", "--lease", "3s")

# Writes its half of the jobs down while it makes rounds, until all are over.
CONTROLLER = """
import sys, threading, time
from stoker import Fleet
from stoker.store import AttemptRow, EventRow, JobRow, open_store
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
    until = time.monotonic() + 240
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
        said = [controller.communicate(timeout=260) for controller in controllers]
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


class Eye:
    """Looks into the store itself: the command line would cost more than what is looked at."""

    def __init__(self, cli: Cli) -> None:
        self._url = cli.env["STOKER_STORE_URL"]

    def job(self, job: str) -> JobRow:
        with open_store(self._url) as store:
            row = store.job(job)
        assert row is not None
        return row

    def reach(self, job: str, state: str, timeout_s: float = 150) -> None:
        until(lambda: self.job(job).state == state, f"{job} is {state}", timeout_s)

    def standing(self) -> dict[int, str]:
        """`leads` or `stands by`, by process."""
        with open_store(self._url) as store:
            return {row.pid: "leads" if row.leader else "stands by" for row in store.dispatchers.list()}

    def stands(self, loop: subprocess.Popen[bytes], how: str, timeout_s: float = 150) -> None:
        until(lambda: self.standing().get(loop.pid) == how, f"{loop.pid} {how}", timeout_s)

    def everything(self, jobs: tuple[str, ...]) -> tuple[list[JobRow], list[list[AttemptRow]], list[EventRow]]:
        with open_store(self._url) as store:
            return [self.job(job) for job in jobs], [store.attempts(job) for job in jobs], store.events()


@pytest.mark.accepts("C45", "B16")
@pytest.mark.slow
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_everything_is_there_after_controllers_were_killed_and_started_again(
    stoker: Stoker, node: PlainNode, stores: Stores
) -> None:
    cli = stoker(node)
    stores(cli)
    eye = Eye(cli)
    over = add(cli, "echo one; echo two >&2; exit 3", "--to", "a")
    retried = add(cli, "echo try $STOKER_ATTEMPT; test $STOKER_ATTEMPT = 2", "--to", "b", "--retries", "2")
    long = add(cli, "echo begun; while ! test -e ~/go; do sleep 0.1; done; echo end", "--to", "c")
    first = cli.start(*LOOP)
    for job, state in ((over, "failed"), (retried, "succeeded"), (long, "running")):
        eye.reach(job, state)
    first.kill()
    first.wait()
    jobs, attempts, history = eye.everything((over, retried))
    assert [(job.state, job.exit_code, job.attempt) for job in jobs] == [("failed", 3, 1), ("succeeded", 0, 2)]
    second = cli.start(*LOOP)
    eye.stands(second, "leads")
    second.kill()
    second.wait()
    node.ssh("touch go")
    third = cli.start(*LOOP)
    eye.reach(long, "succeeded")
    third.send_signal(signal.SIGTERM)
    assert third.wait(180) == 0
    after = eye.everything((over, retried))
    assert after[:2] == (jobs, attempts)
    assert after[2][: len(history)] == history
    node.down()
    shown = cli("job", retried, "--json").json()
    assert [attempt["exit_code"] for attempt in shown["attempts"]] == [1, 0]
    assert cli("logs", over).out == "one\ntwo\n"
    assert cli("logs", retried, "--attempt", "1").out == "try 1\n"
    assert cli("logs", long, "--tail", "1").out == "end\n"


@pytest.mark.accepts("B16")
@pytest.mark.slow
@pytest.mark.parametrize("stores", ["postgresql"], indirect=True)
def test_another_one_leads_when_the_leader_is_killed_or_stopped(
    stoker: Stoker, node: PlainNode, stores: Stores
) -> None:
    cli = stoker(node)
    stores(cli)
    eye = Eye(cli)
    first = cli.start(*LOOP)
    eye.stands(first, "leads")
    second = cli.start(*LOOP)
    eye.stands(second, "stands by")
    first.kill()
    first.wait()
    eye.stands(second, "leads")
    job = add(cli, "echo ran >> ~/marks")
    eye.reach(job, "succeeded")

    third = cli.start(*LOOP)
    eye.stands(third, "stands by")
    second.send_signal(signal.SIGSTOP)
    eye.stands(third, "leads")
    listed = {one["pid"]: one["state"] for one in cli("dispatchers", "--json").json()["dispatchers"]}
    assert listed == {first.pid: "ended", second.pid: "silent", third.pid: "leads"}
    other = add(cli, "echo ran >> ~/marks")
    eye.reach(other, "succeeded")
    epochs = len(leads(cli))
    second.send_signal(signal.SIGCONT)
    eye.stands(second, "stands by")
    for loop in (second, third):
        loop.send_signal(signal.SIGTERM)
        out, _err = loop.communicate(timeout=180)
        assert loop.returncode == 0
        assert b"leads, epoch" in out
    assert Path(node.home, "marks").read_text() == "ran\nran\n"
    assert len(leads(cli)) == epochs, "the one that woke took the lead"
    shown = cli("dispatchers").out
    assert [line.split()[1] for line in shown.splitlines()] == ["STATE", "ended"]


def leads(cli: Cli) -> list[EventRow]:
    with open_store(cli.env["STOKER_STORE_URL"]) as store:
        return store.events(types=("dispatcher.leads",))
