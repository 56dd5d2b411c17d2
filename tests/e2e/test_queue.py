# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue as a user has it: jobs in order, on real nodes, whoever is killed meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
# Begins and ends in a file of the node: what ran when, and beside what.
MARK = "echo begin $0 >> marks; sleep 0.4; echo end $0 >> marks; exit $1"


def add(cli: Cli, name: str, code: int = 0, *options: str) -> str:
    said = cli("queue", "add", "--json", "-n", name, *options, "--", "sh", "-c", MARK, name, str(code))
    assert said.code == 0, said
    return str(said.json()["job"]["id"])


def listed(cli: Cli, queue: str = "default") -> dict[str, Any]:
    (found,) = cli("queue", "list", queue, "--json").json()["queues"]
    return dict(found)


def marks(node: PlainNode) -> list[str]:
    path = Path(node.home, "marks")
    return path.read_text().splitlines() if path.exists() else []


def one_after_the_other(*names: str) -> list[str]:
    return [f"{what} {name}" for name in names for what in ("begin", "end")]


@pytest.mark.accepts("D20", "D21", "D22")
@pytest.mark.parametrize("stores", ["postgresql"], indirect=True)
def test_jobs_run_in_order_whoever_is_killed(stoker: Stoker, node: PlainNode, stores: Callable[[Cli], None]) -> None:
    cli = stoker(node)
    stores(cli)
    ids = [add(cli, "a"), add(cli, "b", 3), add(cli, "c")]
    front = add(cli, "front", 0, "--priority", "5")
    waiting = listed(cli)["waiting"]
    assert [job["id"] for job in waiting] == [front, *ids]
    assert marks(node) == [], "it was only written down"
    starting = cli.start("queue", "start")
    until(lambda: "begin a" in marks(node), "the second job runs")
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    again = cli("queue", "start")
    assert again.code == 1, again
    assert f"{ids[1]}  failed (3)" in again.out
    assert marks(node) == one_after_the_other("front", "a", "b", "c")
    assert [cli.job(job)["exit_code"] for job in (front, *ids)] == [0, 0, 3, 0]
    assert listed(cli)["waiting"] == []
    empty = cli("queue", "list")
    assert "nothing in it" in empty.out


@pytest.mark.accepts("D22")
def test_a_failure_stops_the_queue_that_says_so(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    assert cli("queue", "set", "night", "--stop-on-failure").code == 0
    bad, rest = add(cli, "bad", 7, "--to", "night"), add(cli, "rest", 0, "--to", "night")
    said = cli("queue", "start", "night")
    assert said.code == 1
    assert f"queue night is paused: {bad} failed" in said.err
    assert marks(node) == one_after_the_other("bad")
    shown = listed(cli, "night")
    assert (shown["paused"], [job["id"] for job in shown["waiting"]]) == (True, [rest])
    assert cli("queue", "resume", "night").code == 0
    assert cli("queue", "start", "night").code == 0
    assert marks(node) == one_after_the_other("bad", "rest")


@pytest.mark.accepts("D23", "D21")
def test_waiting_jobs_are_moved_and_taken_out_and_the_running_one_goes_on(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    running = str(cli("queue", "add", "--json", "--", "sleep", "600").json()["job"]["id"])
    ids = [add(cli, name) for name in ("a", "b", "c", "d")]
    assert cli("dispatch").code == 0
    shown = listed(cli)
    assert [job["id"] for job in shown["under_way"]] == [running]
    assert shown["waiting"][0]["detail"] == f"queue default has one job at a time on n1 (held by {running})"
    assert shown["waiting"][1]["detail"] == f"{ids[0]} comes first on n1"
    assert f"{ids[3]} is number 2" in cli("queue", "move", ids[3], "--before", ids[1]).out
    cli("queue", "move", ids[0], "--last")
    order = [ids[3], ids[1], ids[2], ids[0]]
    assert [job["id"] for job in listed(cli)["waiting"]] == order
    refused = cli("queue", "clear", "--jobs", running)
    assert (refused.code, "it is running" in refused.err) == (2, True)
    assert cli("queue", "clear", "--jobs", ids[1]).out == "1 taken out of queue default, 4 left\n"
    assert cli.job(ids[1])["state"] == "cancelled"
    assert "3 taken out of queue default, 1 left" in cli("queue", "clear").out
    assert cli.job(running, "--live")["state"] == "running"
    assert marks(node) == []
    cli("stop", running, "--grace", "0")


@pytest.mark.accepts("D20")
def test_a_template_in_a_queue_seen_by_another_machine(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    cli("template", "save", "t", "-p", "word=x", "--", "sh", "-c", "echo {{word}} {{y}}")
    said = cli("queue", "add", "--template", "t", "-p", "word=hello", "--json")
    assert said.code == 0, said
    job = said.json()["job"]["id"]
    other = {"STOKER_STATE_HOME": str(cli.folder / "other")}
    assert [entry["id"] for entry in cli("queue", "list", "--json", env=other).json()["queues"][0]["waiting"]] == [job]
    assert cli("queue", "start").code == 0
    assert cli("logs", job).out == "hello {{y}}\n"


def test_bad_input(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    job = add(cli, "a")
    for argv, words in (
        (("queue", "add"), "there is nothing to queue add"),
        (("queue", "add", "--to", "a b", "--", "true"), "'a b' is no name for a queue"),
        (("queue", "add", "--param", "a=b", "--", "true"), "--param is for a template"),
        (("queue", "list", "defalt"), "Did you mean 'default'?"),
        (("queue", "start", "nothing"), "there is no queue 'nothing'"),
        (("queue", "move", job), "where to?"),
        (("queue", "move", job, "--before", job), "cannot stand before itself"),
        (("queue", "set", "default", "--max", "0"), "--max: 0"),
        (("queue", "set", "default", "--max", "2", "--per-node"), "the opposite"),
    ):
        said = cli(*argv)
        assert (said.code, words in said.err) == (2, True), said
