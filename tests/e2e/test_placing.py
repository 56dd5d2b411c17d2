# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where jobs go, on real nodes: bursts of several controllers, limits, labels, host variables, gangs."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
Nodes = Callable[..., list[PlainNode]]

# Rank 0 listens where MASTER_ADDR says; each other rank comes to it and is told how many met.
MEET = """
import os, socket, sys, time
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    with socket.create_server(where) as server:
        server.settimeout(30)
        met = [server.accept()[0] for _ in range(world - 1)]
        for each in met:
            each.sendall(b"%d met" % world)
    print("rank 0 met", world - 1, flush=True)
else:
    for _ in range(300):
        try:
            with socket.create_connection(where, 1) as there:
                print("rank", rank, "heard", there.recv(99).decode(), flush=True)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    else:
        sys.exit("nobody there")
time.sleep(float(os.environ.get("STAY_%d" % rank, "0")))
sys.exit(int(os.environ.get("CODE_" + str(rank), "0")))
"""


def gpu_nodes(nodes: Nodes, *counts: int, **options: Any) -> list[PlainNode]:
    return [node for count in counts for node in nodes(1, **({"gpus": count} if count else {}), **options)]


@pytest.mark.accepts("C11")
@pytest.mark.parametrize("stores", ["postgresql"], indirect=True)
def test_a_burst_of_five_controllers_lands_on_five_gpus(
    stoker: Stoker, nodes: Nodes, stores: Callable[[Cli], None]
) -> None:
    """What another controller claimed and nobody has seen yet counts: no job waits, and no GPU is given twice."""
    cli = stoker(*gpu_nodes(nodes, 2, 2, 1))
    stores(cli)
    assert cli("gpus").code == 0
    asked = [cli.start("run", "--gpus", "1", "--json", "--", "sleep", "300") for _ in range(5)]
    for process in asked:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, (out, err)
    assert cli("jobs", "--live").code == 0
    jobs = cli("jobs", "--json").json()["jobs"]
    assert [job["state"] for job in jobs] == ["running"] * 5
    assert sorted(job["node"] for job in jobs) == ["n1", "n1", "n2", "n2", "n3"]
    assert len({(job["node"], *job["gpus"]) for job in jobs}) == 5
    sixth = cli("run", "--gpus", "2", "--json", "--", "true").json()["job"]
    assert (sixth["node"] in ("n1", "n2"), sixth["state"]) == (True, "queued"), "nothing is left that it could hold up"
    cli("stop", "--grace", "0", *[job["id"] for job in jobs], sixth["id"])


@pytest.mark.accepts("C11", "D21")
def test_limits_labels_patterns_and_host_variables(stoker: Stoker, nodes: Nodes) -> None:
    made = [
        *nodes(1, host_vars={"stoker_gpu_model": "H100", "stoker_max_jobs": 2}),
        *nodes(1, host_vars={"stoker_gpu_model": "A100"}),
    ]
    cli = stoker(*made, groups={"lab": ["n1", "n2"], "old": ["n2"]})
    (cli.folder / "stoker.yml").write_text("placement: {group_limits: {lab: 3}, weights: {cpu: 0}}\n")
    first = cli.run("sleep", "300", options=("--where", "stoker_gpu_model=h100", "--apart", "seed"))
    assert cli.job(first)["node"] == "n1"
    second = cli.run("sleep", "300", options=("--apart", "seed"))
    assert cli.job(second)["node"] == "n2"
    apart = cli.run("true", options=("--on", "lab", "--apart", "seed"))
    assert cli.job(apart)["detail"] == f"{first} of 'seed' is on n1; {second} of 'seed' is on n2"
    third = cli.run("sleep", "300", options=("--on", "lab:!old"))
    assert cli.job(third)["node"] == "n1"
    full = cli.run("true", options=("--on", "n1"))
    assert cli.job(full)["detail"] == f"n1 takes 2 jobs at a time (held by {first}, {third})"
    group = cli.run("true", options=("--on", "n2"))
    assert cli.job(group)["detail"].startswith("group lab takes 3 jobs at a time (held by ")
    shown = cli("jobs").out
    assert "n1 takes 2 jobs at a time" in shown
    cli("stop", "--grace", "0", second, third)
    assert [cli("wait", each, timeout_s=120).code for each in (full, group)] == [0, 0], "they had room"
    for words, said in (
        (("--where", "stoker_gpu_model=B200"), "--where stoker_gpu_model=B200: no node has it (H100: 1, A100: 1)"),
        (("--where", "stoker_gpu_modell=H100"), "Did you mean 'stoker_gpu_model'?"),
        (("--where", "model=H100"), "their names begin with stoker_"),
        (("--on", "lab:&nowhere"), "no node or group 'nowhere'"),
        (("--apart", "a b"), "--apart: 'a b' is no name"),
        (("--disk", "much"), "--disk: 'much' is not a size"),
        (("--nodes", "3"), "--nodes 3: only 2 can be meant (n1, n2)"),
        (("--nodes", "0"), "--nodes: 0 is not a number of 1 to"),
    ):
        refused = cli("run", *words, "--", "true")
        assert (refused.code, said in refused.err) == (2, True), refused
    for text, said in (
        ("placement: {weights: {gpu: 1}}", "stoker.yml:1: placement.weights.gpu: there is no such setting"),
        ("placement: {weights: {cpu: -1}}", "placement.weights.cpu: -1.0 is not a weight, a number of 0 or more"),
        ("placement: {pass_limit: often}", "placement.pass_limit: 'often' is not a whole number"),
        ("placement: {group_limits: {lab: three}}", "stoker.yml:1: placement.group_limits"),
    ):
        (cli.folder / "stoker.yml").write_text(text + "\n")
        refused = cli("run", "--", "true")
        assert (refused.code, said in refused.err) == (2, True), refused


@pytest.mark.accepts("C11")
def test_the_chosen_node_is_explained(stoker: Stoker, nodes: Nodes) -> None:
    """By what the nodes told just now; memory and disks are asked for when a job needs to know of them."""
    first, second = gpu_nodes(nodes, 2, 2)
    assert first.gpus is not None
    for index in (0, 1):
        first.gpus.set(index, {"utilization.gpu": 95, "memory.used": 60000})
    cli = stoker(first, second)
    assert cli("telemetry").code == 0
    job = cli.run("true", options=("--gpus", "1"))
    shown = cli("job", job).out
    assert "placed    the highest score" in shown
    chosen = cli("job", job, "--json").json()["placement"]
    assert (chosen["why"], chosen["chosen"]["node"], chosen["others"][0]["node"]) == ("score", "n2", "n1")
    assert chosen["others"][0]["parts"]["gpu_load"] == {"value": 0.05, "why": "GPU load (the best 1) 95% used"}
    assert chosen["chosen"]["parts"]["gpu_load"]["value"] == 1.0
    assert "n1 0." in shown
    assert "GPU load (the best 1) 95% used" in shown
    named = cli.run("true", options=("--on", "n1"))
    assert "placed    it names its node" in cli("job", named).out
    needs = cli.run("true", options=("--disk", "100000G"))
    detail = cli.job(needs)["detail"]
    assert detail.startswith("needs 100000.0 GB on a disk: n1 has ")
    where = cli.run("true", options=("--disk", "1M", "--data", "imagenet"))
    assert cli.job(where)["node"] in ("n1", "n2")
    again = cli.run("true", options=("--disk", "1M", "--data", "imagenet"))
    until(lambda: cli("jobs", "--live") and cli.job(again)["state"] == "succeeded", "it ends")
    assert cli.job(again)["node"] == cli.job(where)["node"], "the data is there since then"


def gang_run(cli: Cli, *options: str, **env: str) -> str:
    said = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    ran = cli("run", "--json", "-n", "meet", "--nodes", "2", *options, *said, "--", "python3", "-c", MEET)
    assert ran.code == 0, ran
    return str(ran.json()["job"]["id"])


@pytest.mark.accepts("V34")
@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
def test_ranks_meet_and_end_together(stoker: Stoker, nodes: Nodes, stores: Callable[[Cli], None]) -> None:
    cli = stoker(*gpu_nodes(nodes, 1, 1))
    stores(cli)
    job = gang_run(cli, "--gpus", "1")
    ended = cli("wait", job, timeout_s=120)
    assert (ended.code, "succeeded" in ended.out) == (0, True), ended
    assert cli("logs", job).out == "rank 0 met 1\n"
    assert cli("logs", f"{job}-1").out == "rank 1 heard 2 met\n"
    shown = cli("jobs").out
    assert "RANK" in shown.splitlines()[0]
    assert [line.split()[2:5] for line in shown.splitlines()[1:3]] == [["1", "of", "2"], ["0", "of", "2"]]
    detail = cli("job", job).out
    assert f"gang      rank 1 of 2  {job}-1  succeeded on " in detail


@pytest.mark.accepts("V34")
def test_one_rank_fails_all_stop_and_begin_again(stoker: Stoker, nodes: Nodes) -> None:
    cli = stoker(*gpu_nodes(nodes, 1, 1))
    job = gang_run(cli, "--gpus", "1", "--retries", "1", CODE_1="7", STAY_0="300")
    ended = cli("wait", job, timeout_s=180)
    assert ended.code == 1, ended
    ranks = {rank["id"]: rank for rank in cli("job", job, "--json").json()["gang"]}
    assert (ranks[f"{job}-1"]["state"], ranks[f"{job}-1"]["exit_code"]) == ("dead", 7)
    assert (ranks[job]["state"], ranks[job]["reason"]) == ("failed", "gang")
    assert {rank["attempt"] for rank in ranks.values()} == {2}
    again = gang_run(cli, "--gpus", "1")
    assert cli("wait", again, timeout_s=120).code == 0, "all GPUs were given back"


@pytest.mark.accepts("V34")
def test_a_gang_starts_on_all_nodes_or_none_and_is_stopped_as_one(stoker: Stoker, nodes: Nodes) -> None:
    cli = stoker(*gpu_nodes(nodes, 1, 1))
    assert cli("gpus").code == 0
    busy = cli.run("sleep", "300", options=("--gpus", "1"))
    job = gang_run(cli, "--gpus", "1", STAY_0="300", STAY_1="300")
    node = cli.job(busy)["node"]
    assert cli.job(job)["detail"] == f"needs 2 nodes at once, 1 has room: no GPU free on {node} (1 of 1 held by {busy})"
    assert [rank["state"] for rank in cli("job", job, "--json").json()["gang"]] == ["queued", "queued"]
    cli("stop", "--grace", "0", busy)
    assert cli("dispatch").code == 0
    until(lambda: "rank 1 heard" in cli("logs", f"{job}-1").out, "they met", 180)
    stopped = cli("stop", "--grace", "0", f"{job}-1")
    assert (stopped.code, stopped.out.count("stopped")) == (0, 2), stopped
    assert [rank["state"] for rank in cli("job", job, "--json").json()["gang"]] == ["cancelled", "cancelled"]


@pytest.mark.accepts("V34")
def test_a_rank_that_is_killed_ends_the_other_one(stoker: Stoker, nodes: Nodes) -> None:
    """By the kernel, say; the rest is stopped by the next round, whoever makes it."""
    first, second = gpu_nodes(nodes, 1, 1)
    cli = stoker(first, second)
    job = gang_run(cli, "--gpus", "1", STAY_0="300", STAY_1="300")
    until(lambda: "rank 1 heard" in cli("logs", f"{job}-1").out, "they met", 180)
    node = {"n1": first, "n2": second}[cli.job(f"{job}-1")["node"]]
    state = json.loads(Path(node.state_dir, "jobs", f"{job}-1", "1", "state.json").read_text())
    node.ssh(f"kill -{int(signal.SIGKILL)} {state['command']['pid']}")
    ended = cli("wait", job, timeout_s=180)
    assert ended.code == 1, ended
    ranks = [(rank["state"], rank["reason"]) for rank in cli("job", job, "--json").json()["gang"]]
    assert ranks == [("failed", "gang"), ("failed", "signal")]
