# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node goes away: cables are really pulled, and what it does meanwhile is seen from outside."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from cli import Cli, until
from testbed import IsolatedNode
from testbed.processes import Process

Stoker = Callable[..., Cli]
Isolated = Callable[..., list[IsolatedNode]]


def fleet(stoker: Stoker, isolated_nodes: Isolated, count: int) -> tuple[Cli, list[IsolatedNode]]:
    nodes = isolated_nodes(count, host_vars={"stoker_launch": ["subreaper"]})
    cli = stoker(*nodes)
    (cli.folder / "stoker.yml").write_text("connect_timeout_s: 2\n")
    return cli, nodes


def named(node: IsolatedNode, words: str) -> list[Process]:
    return [process for process in node.processes() if words in " ".join(process.argv) or process.name == words]


def events(cli: Cli, job: str) -> list[dict[str, Any]]:
    said = cli("events", "--json", "--job", job)
    return [json.loads(line)["value"] for line in said.out.splitlines()]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("C61", "B10", "B16")
@pytest.mark.parametrize(("frozen", "database"), [(False, "sqlite"), (True, "postgresql")])
def test_a_job_moves_once_and_what_is_left_of_it_is_ended(
    stoker: Stoker, isolated_nodes: Isolated, request: pytest.FixtureRequest, frozen: bool, database: str
) -> None:
    """`frozen`: the node's side of it is stopped, so that the old process outlives its lease."""
    cli, (one, two) = fleet(stoker, isolated_nodes, 2)
    if database == "postgresql":
        cli.env["STOKER_STORE_URL"] = request.getfixturevalue("postgres_url")
    cli.start("dispatch", "--loop", "--interval", "1s")
    job = cli.run("sleep", "7301", options=("--lease", "move:50s", "--grace", "0"))
    until(lambda: cli.job(job)["state"] == "running", "it runs", 180)
    assert cli.job(job)["node"] == "i1"
    if frozen:
        watchers = [process.pid for name in ("stoker-superv", "stoker-record") for process in named(one, name)]
        assert len(watchers) == 2
        for pid in watchers:
            os.kill(pid, signal.SIGSTOP)
    one.partition()
    until(lambda: named(two, "sleep 7301"), "it starts elsewhere", 240)
    assert bool(named(one, "sleep 7301")) is frozen, "the node itself ends it before that"
    until(lambda: cli.job(job)["state"] == "running", "it runs there")
    one.heal()
    until(lambda: not named(one, "sleep 7301"), "the old one is ended", 180)
    until(lambda: "attempt.late" in [event["type"] for event in events(cli, job)], "its end is known", 180)
    told = cli.job(job)
    assert (told["state"], told["node"], told["attempt"]) == ("running", "i2", 2)
    history = [event["type"] for event in events(cli, job)]
    assert (history.count("job.moved"), history.count("job.starting"), history.count("attempt.late")) == (1, 2, 1)
    assert len(named(two, "sleep 7301")) == 1
    assert cli("stop", job, "--grace", "0").code == 0
    assert cli.job(job)["state"] == "cancelled"


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("B10")
def test_a_short_absence_neither_ends_nor_doubles_a_job(stoker: Stoker, isolated_nodes: Isolated) -> None:
    cli, (one, two) = fleet(stoker, isolated_nodes, 2)
    moving = cli.run("sleep", "7302", options=("--lease", "move:3m", "--on", "i1"))
    kept = cli.run("sleep", "7303", options=("--on", "i1"))
    before = [process.pid for words in ("sleep 7302", "sleep 7303") for process in named(one, words)]
    assert len(before) == 2
    cli.start("dispatch", "--loop", "--interval", "1s")
    one.partition()
    until(lambda: cli.job(moving)["unreachable_since"] is not None, "it is noticed", 180)
    away = cli("job", kept)
    assert "last seen running; it is left alone until the node answers, and is not started elsewhere" in away.out
    assert "after 3 m 00 s without a word the node ends it, and it starts elsewhere" in cli("job", moving).out
    one.heal()
    until(lambda: cli.job(moving)["unreachable_since"] is None, "it is back", 180)
    for job in (moving, kept):
        assert (cli.job(job, "--live")["state"], cli.job(job)["attempt"]) == ("running", 1)
        assert [event["type"] for event in events(cli, job)] == ["job.queued", "job.starting", "job.running"]
    assert [process.pid for words in ("sleep 7302", "sleep 7303") for process in named(one, words)] == before
    assert named(two, "sleep 730") == []
    cli("stop", moving, kept, "--grace", "0")


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("C61")
def test_a_node_that_booted_proves_the_loss(stoker: Stoker, isolated_nodes: Isolated) -> None:
    cli, (one,) = fleet(stoker, isolated_nodes, 1)
    job = cli.run("sleep", "7304", options=("--retries", "1"))
    one.reboot()
    until(lambda: cli("dispatch").code == 0 and cli.job(job)["attempt"] == 2, "it is tried again", 180)
    assert [event["data"].get("reason") for event in events(cli, job) if event["type"] == "job.retry"] == ["reboot"]
    until(lambda: len(named(one, "sleep 7304")) == 1, "it runs again")
    cli("stop", job, "--grace", "0")


def test_a_wrong_lease_is_refused(stoker: Stoker) -> None:
    cli = stoker()
    said = cli("run", "--lease", "move:1s", "--", "true")
    assert (said.code, "--lease: a lease of 'move:1s' cannot be kept" in said.err) == (2, True), said
    (cli.folder / "stoker.yml").write_text("lease:\n  policy: stay\n")
    said = cli("jobs")
    assert (said.code, "stoker.yml:2: lease.policy: 'stay' is not keep or move" in said.err) == (2, True), said
