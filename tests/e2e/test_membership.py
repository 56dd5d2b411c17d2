# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that join, wait for approval, are left out, go and come back: real nodes, both databases."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]


def added(cli: Cli, node: PlainNode, *options: str) -> Any:
    entry = node.inventory_entry()
    named = {"host": entry.pop("ansible_host"), "user": entry.pop("ansible_user"), "port": entry.pop("ansible_port")}
    words = [word for key, value in named.items() for word in (f"--{key}", str(value))]
    words += [word for key, value in entry.items() for word in ("-e", f"{key}={value}")]
    return cli("node", "add", node.name, *words, *options)


def standing(cli: Cli) -> dict[str, str]:
    return {member["name"]: member["state"] for member in cli("node", "list", "--json").json()["members"]}


def events(cli: Cli, kind: str = "node.*") -> list[str]:
    said = cli("events", "--json", "--type", kind)
    return [json.loads(line)["value"]["type"] for line in said.out.splitlines()]


@pytest.mark.accepts("C07", "C08")
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_a_node_joins_by_approval_and_leaves(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], stores: Callable[[Cli], None]
) -> None:
    first, second = nodes(2)
    cli = stoker(first)
    stores(cli)
    users = cli.inventory.read_text()
    said = added(cli, second, "--group", "lab")
    assert (said.code, said.out.splitlines()[0]) == (0, "n2 is pending: it gets nothing until it is approved"), said
    job = cli.run("echo", "hello", options=("--on", "n2"))
    assert cli.job(job)["detail"] == "n2 is pending: stoker node approve n2"
    assert cli("dispatch").code == 0
    refused = cli("exec", "n2", "--", "true")
    assert (refused.code, "n2 is pending (next: stoker node approve n2)" in refused.err) == (2, True)
    assert "n2    pending" in cli("nodes", "--live").out
    assert second.authentications() == 0, "nobody ever logged in"
    assert cli("node", "approve", "n2").code == 0
    assert cli("wait", job).code == 0
    assert cli.job(job)["node"] == "n2"
    assert cli("exec", "lab", "--", "true").code == 0
    assert cli.inventory.read_text() == users
    assert cli("node", "remove", "n2").code == 0
    gone = cli("run", "--on", "n2", "--", "true")
    assert (gone.code, "no node or group 'n2'" in gone.err) == (2, True), gone
    assert cli("logs", job).out == "hello\n", "its history is kept"
    assert standing(cli) == {"n1": "active"}
    assert events(cli) == ["node.pending", "node.approved", "node.removed"]
    assert "n2    removed" in cli("node", "list", "--all").out


@pytest.mark.accepts("C07")
def test_a_node_of_the_inventory_is_taken_out_and_comes_back(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    done = cli.run("echo", "hello")
    assert cli("wait", done).code == 0
    users = cli.inventory.read_text()
    assert cli("node", "remove", "n1").code == 0
    assert cli.inventory.read_text() == users
    before = node.authentications()
    job = cli.run("true", options=("--on", "n1"))
    cli("dispatch")
    assert cli.job(job)["detail"] == "n1 was removed: stoker node add n1"
    for command in (("exec", "n1", "--", "true"), ("gpus", "n1")):
        refused = cli(*command)
        assert (refused.code, "n1 was removed (next: stoker node add n1)" in refused.err) == (2, True), refused
    assert cli("logs", done).out == "hello\n"
    assert (node.authentications(), standing(cli)) == (before, {})
    assert cli("node", "add", "n1").code == 0
    assert standing(cli) == {"n1": "pending"}
    assert cli("node", "approve", "n1").code == 0
    assert cli("wait", job).code == 0


@pytest.mark.accepts("C08")
def test_a_request_expires_and_a_group_may_need_none(stoker: Stoker, nodes: Callable[..., list[PlainNode]]) -> None:
    first, second, third = nodes(3)
    cli = stoker(first)
    (cli.folder / "stoker.yml").write_text("membership: {pending_s: 1, auto_approve: [trusted]}\n")
    assert "(within 1 s)" in added(cli, second).out
    until(lambda: standing(cli)["n2"] == "expired", "the request expires", 180)
    late = cli("node", "approve", "n2")
    assert (late.code, "the request of n2 to join expired" in late.err, "stoker node add n2" in late.err) == (2, 1, 1)
    assert added(cli, third, "--group", "trusted").out == "n3 is active\n"
    job = cli.run("true", options=("--on", "n3"))
    assert cli("wait", job).code == 0
    (cli.folder / "stoker.yml").write_text("membership: {pending_s: 0.5}\n")
    wrong = cli("node", "list")
    assert (wrong.code, "stoker.yml:1: membership.pending_s" in wrong.err) == (2, True), wrong


@pytest.mark.accepts("C08")
def test_a_machine_that_a_plugin_found_gets_nothing(stoker: Stoker, nodes: Callable[..., list[PlainNode]]) -> None:
    mine, found = nodes(1)[0], nodes(1, host_vars={"stoker_needs_approval": True})[0]
    cli = stoker(mine, found)
    assert cli("dispatch").code == 0
    everywhere = cli("exec", "--all", "--", "true")
    assert (everywhere.code, "n1: exit 0" in everywhere.err, "n2" in everywhere.err) == (0, True, False), everywhere
    assert (events(cli), found.authentications()) == (["node.pending"], 0)
    assert cli("node", "approve", "n2").code == 0
    assert cli("exec", "n2", "--", "true").code == 0


@pytest.mark.accepts("C09", "B10")
@pytest.mark.parametrize("stores", ["postgresql"], indirect=True)
def test_a_node_goes_offline_once_and_comes_back_once(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], stores: Callable[[Cli], None]
) -> None:
    first, second = nodes(2)
    cli = stoker(first, second)
    stores(cli)
    (cli.folder / "stoker.yml").write_text("membership: {probe_s: 1}\n")
    busy = cli.run("sleep", "300", options=("--on", "n1"))
    until(lambda: cli.job(busy, "--live")["state"] == "running", "it runs")
    loops = [cli.start("dispatch", "--loop", "--interval", "1s") for _ in range(2)]
    until(lambda: cli("nodes", "--json").json()["nodes"][1]["reachable"], "the idle node is asked, too", 180)
    first.down()
    second.down()
    until(lambda: events(cli, "node.offline") == ["node.offline"] * 2, "both are offline", 180)
    said = cli("run", "--json", "--on", "n2", "--", "true")
    waits = said.json()["job"]["id"]
    assert (said.code, said.json()["job"]["detail"]) == (1, "n2 is offline"), "it was asked whether it is back"
    assert "offline" in cli("nodes").out
    first.start()
    second.start()
    assert cli("wait", waits, timeout_s=90).code == 0
    until(lambda: len(events(cli, "node.online")) == 2, "both came back", 180)
    until(lambda: cli.job(busy)["unreachable_since"] is None, "the job is seen again", 180)
    for loop in loops:
        assert loop.poll() is None
        loop.send_signal(signal.SIGINT)
        loop.communicate(timeout=180)
    told = cli.job(busy, "--live")
    assert (told["state"], told["attempt"]) == ("running", 1), "it was left as it is"
    assert sorted(events(cli, "node.o*")) == ["node.offline"] * 2 + ["node.online"] * 2
    cli("stop", busy, "--grace", "0")
