# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of the store, read and followed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from cli import Cli, until
from jsonschema import Draft202012Validator
from testbed import PlainNode

from ansible_collections.stoker.fleet.plugins.module_utils.schemas import EVENT

Stoker = Callable[..., Cli]
LIFE = ["job.queued", "job.starting", "job.running", "job.failed"]


def told(cli: Cli, *options: str) -> list[dict[str, Any]]:
    said = cli("events", "--json", *options)
    assert said.code == 0, said
    return [json.loads(line)["value"] for line in said.out.splitlines()]


def fails(cli: Cli, node: PlainNode) -> str:
    """A job that fails when it was seen to run: one of a moment may be over before."""
    job = cli.run("sh", "-c", "until [ -e $HOME/seen ]; do sleep 0.1; done; exit 3", options=("--name", "first"))
    until(lambda: cli.job(job, "--live")["state"] == "running", "it is seen to run", 150)
    (node.home / "seen").touch()
    return job


@pytest.mark.accepts("C36")
@pytest.mark.parametrize("stores", ["postgresql"], indirect=True)
def test_who_follows_and_is_killed_goes_on_without_loss(
    stoker: Stoker, node: PlainNode, stores: Callable[[Cli], None]
) -> None:
    cli = stoker(node)
    stores(cli)
    following = cli.start("events", "--follow", "--json", "--since", "0")
    assert following.stdout is not None
    first = fails(cli, node)
    got = [json.loads(following.stdout.readline())["value"] for _ in range(2)]
    following.send_signal(signal.SIGKILL)
    following.wait()
    # Whatever it had not handed on is read again; whatever came meanwhile, too.
    cli("wait", first)
    second = cli.run("true", options=("--name", "second"))
    cli("wait", second)
    again = cli.start("events", "--follow", "--json", "--since", str(got[-1]["seq"]))
    assert again.stdout is not None
    while got[-1]["type"] != "job.succeeded":
        got.append(json.loads(again.stdout.readline())["value"])
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=120)
    assert b"Traceback" not in err
    assert got == told(cli, "--since", "0")
    assert [event["seq"] for event in got] == sorted({event["seq"] for event in got})
    assert [event["type"] for event in got if event["job"] == first] == LIFE
    for event in got:
        Draft202012Validator(EVENT).validate(event)


@pytest.mark.accepts("C36", "C57")
def test_events_of_a_job_of_a_kind_and_of_a_node(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    first, second = fails(cli, node), cli.run("true")
    cli("wait", first)
    cli("wait", second)
    node.down()
    cli("status")
    assert [event["type"] for event in told(cli, "--job", first)] == LIFE
    assert {event["job"] for event in told(cli, "--type", "job.failed", "--type", "job.succ*")} == {first, second}
    (away,) = told(cli, "--type", "node.*", "--since", "1h")
    assert (away["type"], away["node"]) == ("node.unreachable", node.name)
    assert told(cli, "--node", node.name, "--type", "node.reach*") == []
    shown = cli("events")
    assert [line.split()[0] for line in shown.out.splitlines()] == [str(e["seq"]) for e in told(cli, "--since", "0")]
    assert f"job.failed          {first} on {node.name}  exit record: exit 3" in shown.out
    assert cli("events", "--type", "job failed").code == 2
    assert cli("events", "--since", "yesterday").code == 2
    assert cli("events", "--job", "nothing").code == 2
