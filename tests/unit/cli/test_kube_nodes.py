# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a cluster, from its API server to the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typed import Said, Stoker

from stoker.fleet import Fleet
from tests.contracts.kubernetes import Double, kubeconfig, kubernetes_double
from tests.contracts.kubernetes.objects import container, node, pod

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """Three nodes with GPUs, and one without."""
    with kubernetes_double(tmp_path / "cluster") as double:
        file = kubeconfig(tmp_path / "config", double.entry("lab"), double.entry("other"), current="lab")
        monkeypatch.setenv("KUBECONFIG", str(file))
        taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
        double.add(
            node("gpu-1", taints=[taint], labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB"}),
            node("gpu-2", cordoned=True,
                 capacity={"cpu": "8", "memory": "32Gi", GPU: "2", MIG: "7", "amd.com/gpu": "1"},
                 allocatable={"cpu": "7500m", "memory": "30Gi", GPU: "2", MIG: "7", "amd.com/gpu": "0"}),
            node("gpu-3", ready="Unknown", reason="NodeStatusUnknown", message="Kubelet stopped posting node status."),
            node("plain", pressure="DiskPressure", capacity={"cpu": "4", "memory": "16Gi"}),
            pod("train", container("a", {GPU: "2", "cpu": "16"}), container("b", {GPU: "1"}), on="gpu-1"),
            pod("done", container("a", {GPU: "4"}), on="gpu-1", phase="Succeeded"),
            pod("prepares", container("a", {"cpu": "1"}), init=[container("i", {GPU: "2"})], on="gpu-1", namespace="b",
                phase="Pending"),
            pod("slice", container("a", {MIG: "3", "cpu": "250m", "memory": "1Gi"}), on="gpu-2"),
            pod("waits", container("a", {GPU: "8"}), phase="Pending"),
        )  # fmt: skip
        yield double


def found(said: Said) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in said.json()["value"]["nodes"]}


def gpus(one: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {r["name"]: (r["free"], r["allocatable"], r["capacity"]) for r in one["resources"] if r["gpu"]}


@pytest.mark.accepts("C19")
def test_what_nodes_have_and_what_of_it_is_free(stoker: Stoker, cluster: Double) -> None:
    said = stoker("kube", "nodes", "--json")
    assert said.code == 0, said.err
    nodes = found(said)
    assert list(nodes) == ["gpu-1", "gpu-2", "gpu-3", "plain"]
    assert gpus(nodes["gpu-1"]) == {GPU: (3, 8, 8)}
    assert gpus(nodes["gpu-2"]) == {"amd.com/gpu": (0, 0, 1), GPU: (2, 2, 2), MIG: (4, 7, 7)}
    assert gpus(nodes["gpu-3"]) == {GPU: (8, 8, 8)}
    assert gpus(nodes["plain"]) == {}
    rest = {r["name"]: (r["free"], r["allocatable"], r["requested"]) for r in nodes["gpu-2"]["resources"]}
    assert rest["cpu"] == (7.25, 7.5, 0.25)
    assert rest["memory"] == (29 << 30, 30 << 30, 1 << 30)
    assert {r["name"]: r["free"] for r in nodes["gpu-1"]["resources"]}["pods"] == 108
    state = {name: (one["ready"], one["cordoned"], one["pressures"]) for name, one in nodes.items()}
    assert state["gpu-1"] == (True, False, [])
    assert state["gpu-2"] == (True, True, [])
    assert state["gpu-3"] == (None, False, [])
    assert state["plain"] == (True, False, ["DiskPressure"])
    assert nodes["gpu-3"]["why"] == "NodeStatusUnknown: Kubelet stopped posting node status."
    assert nodes["gpu-1"]["taints"] == ["gpu=yes:NoSchedule"]
    shown = stoker("kube", "nodes", "--context", "other").out
    assert "other: free on nodes that take pods: nvidia.com/gpu 3 of 8; on others: amd.com/gpu 0 of 0, " in shown
    assert f"{GPU} 10 of 10, {MIG} 4 of 7" in shown
    assert "NVIDIA-H100-80GB" in shown
    with Fleet() as fleet:
        [first, *_] = fleet.kubernetes.nodes().nodes
        assert [(gpu.name, gpu.free) for gpu in first.gpus] == [(GPU, 3)]


@pytest.mark.accepts("C19")
def test_where_pods_may_not_be_listed_free_is_unknown(stoker: Stoker, cluster: Double) -> None:
    cluster.forbid("list", "pods")
    said = stoker("kube", "nodes", "--json")
    assert said.code == 1
    assert gpus(found(said)["gpu-1"]) == {GPU: (None, 8, 8)}
    why = 'its pods cannot be listed: it does not allow that (403: pods is forbidden: User "alice" cannot list resource'
    assert said.json()["value"]["unknown"].startswith(why)
    assert "what is free is not known" in said.err
    shown = stoker("kube", "nodes").out
    assert f"free on nodes that take pods: {GPU} ? of 8" in shown
    assert [line.split()[3:6] for line in shown.splitlines() if line.startswith("gpu-1")] == [["?", "8", "8"]]


@pytest.mark.accepts("C19")
def test_pages_are_of_one_moment(stoker: Stoker, cluster: Double) -> None:
    whole = found(stoker("kube", "nodes", "--json"))
    before = len(cluster.requests)
    cluster.world.page = 2
    assert found(stoker("kube", "nodes", "--json")) == whole
    asked = [(request.path, "continue" in request.query, request.status) for request in cluster.requests[before:]]
    nodes, pods = "/api/v1/nodes", "/api/v1/pods"
    assert asked == [(nodes, False, 200), (nodes, True, 200), (pods, False, 200), (pods, True, 200)]
    # The token of the second page is too old: from the beginning again, and nothing is counted twice.
    cluster.fault("expired", "/pods.*continue=")
    before = len(cluster.requests)
    assert found(stoker("kube", "nodes", "--json")) == whole
    assert [request.status for request in cluster.requests[before:] if request.path == pods] == [200, 410, 200, 200]
    # One that is too old again and again is no list.
    cluster.fault("expired", "/pods.*continue=", times=99)
    said = stoker("kube", "nodes", "--json")
    assert gpus(found(said)["gpu-1"]) == {GPU: (None, 8, 8)}
    assert "its list ran out (410" in said.json()["value"]["unknown"]


@pytest.mark.accepts("C19")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("broken", "it answered an error (500: etcdserver: request timed out)"),
        ("cut", "its answer broke off: the connection was cut"),
        ("garbage", "/api/v1/nodes answered what is no JSON of Kubernetes"),
        ("hang", "it does not answer in time"),
        # Where the machine is slow, it has not yet begun.
        ("drip", "its answer did not end in time|it does not answer in time"),
    ],
)
def test_an_answer_that_is_none_is_no_list_of_nothing(stoker: Stoker, cluster: Double, fault: Any, why: str) -> None:
    limit = "2s" if fault in ("hang", "drip") else "1m"
    cluster.fault(fault, "/nodes")
    said = stoker("kube", "nodes", "--timeout", limit)
    assert (said.code, said.out) == (1, "")
    assert any(f"stoker: lab: {one}" in said.err for one in why.split("|"))
    if limit == "1m":
        cluster.fault(fault, "/pods")
        said = stoker("kube", "nodes", "--json", "--timeout", limit)
        assert said.code == 1
        assert gpus(found(said)["gpu-1"]) == {GPU: (None, 8, 8)}


@pytest.mark.accepts("C19")
@pytest.mark.parametrize("fault", ["slow", "continue"])
def test_a_head_that_does_not_end_is_not_waited_for(stoker: Stoker, cluster: Double, fault: Any) -> None:
    cluster.fault(fault, "/nodes")
    said = stoker("kube", "nodes", "--timeout", "2s")
    assert (said.code, said.out) == (1, "")
    assert "stoker: lab: it does not answer in time" in said.err


def test_a_busy_server_is_asked_again_when_it_says(stoker: Stoker, cluster: Double) -> None:
    cluster.fault("busy", "/pods", times=2)
    said = stoker("kube", "nodes", "--json")
    assert said.code == 0
    assert gpus(found(said)["gpu-1"]) == {GPU: (3, 8, 8)}
    assert [request.status for request in cluster.requests] == [200, 429, 429, 200]
    cluster.fault("busy", "/nodes", times=9)
    cluster.server.retry_after_s = 3600
    said = stoker("kube", "nodes")
    assert "it has too much to do (429) (next: in 3600 s again)" in said.err


@pytest.mark.parametrize("good", [True, False])
def test_a_token_that_ran_out_is_renewed_once(stoker: Stoker, cluster: Double, tmp_path: Path, good: bool) -> None:
    runs, program = tmp_path / "runs", tmp_path / "plugin"
    token = cluster.token() if good else "ran-out"
    said = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}'
    first, later = said % "ran-out", said % token
    program.write_text(
        f"#!/bin/sh\nif [ -e {runs} ]; then echo '{later}'; else echo '{first}'; fi\necho run >> {runs}\n"
    )
    program.chmod(0o700)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}
    file = kubeconfig(tmp_path / "exec", cluster.entry("e", user=user), current="e")
    answered = stoker("kube", "nodes", "--kubeconfig", str(file))
    assert answered.code == int(not good)
    assert ("it refused the credentials (401)" in answered.err) is not good
    assert runs.read_text() == "run\nrun\n"


def test_without_the_client_it_says_how_to_get_it(
    stoker: Stoker, cluster: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kubernetes", "kubernetes.client"):
        monkeypatch.setitem(sys.modules, name, None)
    for argv in (("contexts",), ("nodes",), ("scale", "deployment/x", "--replicas", "1")):
        said = stoker("kube", *argv)
        assert said.code == 1
        assert "the Kubernetes client is not installed (next: pip install 'stoker[kubernetes]')" in said.err


def test_a_quantity_that_cannot_be_read_is_unknown(stoker: Stoker, cluster: Double) -> None:
    [held] = [one for one in cluster.world.all("pods") if one["metadata"]["name"] == "train"]
    held["spec"]["containers"][1]["resources"]["requests"][GPU] = "many"
    said = stoker("kube", "nodes", "--json")
    assert gpus(found(said)["gpu-1"]) == {GPU: (None, 8, 8)}
    assert found(said)["gpu-1"]["unknown"] == f"quantities that cannot be read: {GPU}"
    assert gpus(found(said)["gpu-2"])[MIG] == (4, 7, 7)


def test_what_no_server_should_say_is_unknown(stoker: Stoker, cluster: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = cluster.world.listed

    def odd(resource: str, *given: Any) -> Any:
        answer = listed(resource, *given)
        if resource == "nodes":
            status = answer["items"][0]["status"]
            status["allocatable"] = {**status["allocatable"], GPU: "1e999", "memory": "1e999"}
            answer["items"][1]["status"]["conditions"] = ["x"]
            answer["items"][1] |= {"spec": {"taints": ["x", 5]}}
            answer["items"][2] |= {"status": 5}
        return answer

    monkeypatch.setattr(cluster.world, "listed", odd)
    said = stoker("kube", "nodes", "--json")
    assert said.code == 0, said.err
    nodes = found(said)
    assert gpus(nodes["gpu-1"]) == {GPU: (None, None, 8)}
    assert nodes["gpu-1"]["unknown"] == f"quantities that cannot be read: memory, {GPU}"
    assert (nodes["gpu-2"]["ready"], nodes["gpu-2"]["why"]) == (None, "it has no condition Ready")
    # What may be had of it is not known, and no 0.
    assert f"free on nodes that take pods: {GPU} ? of ?;" in stoker("kube", "nodes").out


def test_what_does_not_lead_to_a_cluster(stoker: Stoker, cluster: Double, tmp_path: Path) -> None:
    said = stoker("kube", "nodes", "--context", "labb")
    assert said.code == 2
    assert "there is no context 'labb'" in said.err
    assert "Did you mean 'lab'?" in said.err
    none = kubeconfig(tmp_path / "none", cluster.entry("a"))
    assert "names no current context" in stoker("kube", "nodes", "--kubeconfig", str(none)).err
    old = kubeconfig(tmp_path / "old", cluster.entry("a", user={"token": "old"}), current="a")
    said = stoker("kube", "nodes", "--kubeconfig", str(old))
    assert said.code == 1
    assert "stoker: a: it refused the credentials (401) (next: log in to the cluster again)" in said.err
    nobody = kubeconfig(tmp_path / "nobody", cluster.entry("a", "none"), current="a")
    said = stoker("kube", "nodes", "--kubeconfig", str(nobody))
    assert 'nodes is forbidden: User "system:anonymous" cannot list resource "nodes"' in said.err


@pytest.mark.skipif(not os.environ.get("STOKER_TEST_KUBECONFIG"), reason="STOKER_TEST_KUBECONFIG names no cluster")
def test_a_real_cluster(stoker: Stoker) -> None:
    file = os.environ["STOKER_TEST_KUBECONFIG"]
    assert stoker("kube", "contexts", "--kubeconfig", file).code == 0
    said = stoker("kube", "nodes", "--kubeconfig", file, "--json")
    assert said.code == 0, said.err
    for one in found(said).values():
        held = {r["name"]: r for r in one["resources"]}
        assert held["cpu"]["free"] <= held["cpu"]["allocatable"] <= held["cpu"]["capacity"]
