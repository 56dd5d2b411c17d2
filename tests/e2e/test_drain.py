# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node is drained: its jobs end, or write a checkpoint and go on elsewhere; nothing new lands there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
# Counts in a file that both nodes see, as on a shared disk; asked for a checkpoint it notes how far it was.
TRAINS = """
trap 'cp "$0.now" "$0.saved"; echo "saved $(cat "$0.saved")"; exit 0' USR1
if [ -e "$0.saved" ]; then echo "goes on from $(cat "$0.saved")"; exit 0; fi
step=0
while :; do step=$((step + 1)); echo $step > "$0.now"; sleep 0.1; done
"""


def events(cli: Cli, *options: str) -> list[dict[str, Any]]:
    said = cli("events", "--json", *options)
    return [json.loads(line)["value"] for line in said.out.splitlines()]


@pytest.mark.accepts("C49")
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_a_job_writes_its_checkpoint_and_goes_on_elsewhere(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], stores: Callable[[Cli], None], tmp_path: Path
) -> None:
    cli = stoker(*nodes(2))
    stores(cli)
    assert cli("nodes", "--live").code == 0
    train = str(tmp_path / "train")
    job = cli.run("sh", "-c", TRAINS, train, options=("--checkpoint-signal", "USR1"))
    until(Path(f"{train}.now").exists, "it trains", 180)
    cli.job(job, "--live")
    first = cli.job(job)["node"]
    other = {"n1": "n2", "n2": "n1"}[first]
    drained = cli("node", "drain", first, "--migrate", "--wait")
    assert (drained.code, drained.out.splitlines()[-1]) == (0, f"{first} is drained"), drained
    assert cli.job(job)["node"] == other, "it went on without another command"
    assert cli("wait", job).code == 0
    told = cli.job(job)
    assert (told["node"], told["attempt"], told["max_attempts"]) == (other, 2, 2)
    saved = Path(f"{train}.saved").read_text().strip()
    assert cli("logs", job).out == f"goes on from {saved}\n"
    assert f"saved {saved}" in cli("logs", job, "--attempt", "1").out
    kinds = [event["type"] for event in events(cli, "--job", job)]
    assert kinds.count("job.requeued") == 1
    assert "job.retry" not in kinds


@pytest.mark.accepts("C49")
def test_nothing_new_lands_on_a_drained_node_until_it_is_resumed(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]]
) -> None:
    cli = stoker(*nodes(2))
    assert cli("node", "drain", "n1").out.splitlines()[0] == "n1 is drained"
    late = cli.run("true", options=("--on", "n1"))
    assert cli.job(late)["detail"] == "n1 is drained: stoker node resume n1"
    anywhere = cli.run("true")
    assert cli("dispatch").code == 0
    assert cli.job(anywhere)["node"] == "n2"
    (first, _) = cli("nodes", "--json").json()["nodes"]
    assert (first["name"], first["membership"], first["reachable"]) == ("n1", "drained", True), "it is still a member"
    assert cli("node", "resume", "n1").code == 0
    assert cli("wait", late).code == 0


@pytest.mark.accepts("C49")
def test_what_runs_may_finish_and_what_waits_there_goes_back(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    cli = stoker(*nodes(1, gpus=1))
    end = tmp_path / "end"
    runs = cli.run("sh", "-c", f"until [ -e {end} ]; do sleep 0.1; done", options=("--gpus", "1"))
    until(lambda: cli.job(runs, "--live")["state"] == "running", "it runs", 180)
    waits = cli.run("true", options=("--gpus", "1"))
    until(lambda: "held by" in str(cli.job(waits, "--live")["detail"]), "it waits on the node", 180)
    said = cli("node", "drain", "n1", "--timeout", "1h")
    back = f"(; on its way back into the queue: {waits})?"  # where the node has not given it up yet
    assert said.code == 0, said
    assert re.fullmatch(f"n1 takes no jobs; may finish: {runs}{back}", said.out.splitlines()[0]), said
    until(lambda: cli("dispatch") and cli.job(waits)["node"] is None, "it goes back", 180)
    why = "n1 is being drained: stoker node resume n1"
    until(lambda: cli("dispatch") and cli.job(waits)["detail"] == why, "it says why it waits", 180)
    assert cli.job(runs, "--live")["state"] == "running"
    refused = cli("node", "remove", "n1")
    assert (refused.code, f"may have jobs under way: {runs}" in refused.err) == (2, True), refused
    waiting = cli.start("node", "drain", "n1", "--wait")
    end.touch()
    out, err = waiting.communicate(timeout=180)
    assert (waiting.returncode, out.decode().splitlines()[-1]) == (0, "n1 is drained"), err
    told = cli.job(runs)
    assert (told["state"], told["attempt"]) == ("succeeded", 1)
    assert cli("node", "resume", "n1").code == 0
    assert cli("wait", waits).code == 0


@pytest.mark.accepts("C49")
def test_any_later_round_carries_it_out_and_a_stopped_node_is_not_given_up(
    stoker: Stoker, node: PlainNode, tmp_path: Path
) -> None:
    cli = stoker(node)
    job = cli.run("sleep", "300", options=("--grace", "0"))
    until(lambda: cli.job(job, "--live")["state"] == "running", "it runs", 180)
    assert cli("node", "drain", "n1", "--timeout", "1s").code == 0
    node.down()
    until(lambda: cli("dispatch") and cli.job(job)["state"] == "running", "it is left as it is", 180)
    assert [event["type"] for event in events(cli, "--type", "node.drained")] == []
    assert cli("node", "list", "--json").json()["members"][0]["state"] == "draining"
    node.start()
    until(lambda: cli("dispatch") and cli.job(job)["node"] is None, "it is put back", 180)
    assert [event["type"] for event in events(cli, "--type", "node.drained")] == ["node.drained"]
    assert cli("stop", job).code == 0
    assert cli.job(job)["state"] == "cancelled"
    for argv, said in (
        (("node", "drain", "n11"), "Did you mean 'n1'?"),
        (("node", "drain", "n1", "--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("node", "approve", "n1"), "n1 needs no approval: it is drained"),
    ):
        wrong = cli(*argv)
        assert (wrong.code, said in wrong.err) == (2, True), wrong
