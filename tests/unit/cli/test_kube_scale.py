# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scaling: waited for until all pods are ready, or the reason why they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typed import Stoker

from stoker.fleet import Fleet
from stoker.operations.kube_scale import scale
from tests.contracts.kubernetes import Double, kubeconfig, kubernetes_double
from tests.contracts.kubernetes.objects import deployment, stateful_set, warning


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """A Deployment of two pods in the context's namespace, a StatefulSet of one in another."""
    with kubernetes_double(tmp_path / "cluster") as double:
        file = kubeconfig(tmp_path / "config", double.entry("lab", namespace="research"), current="lab")
        monkeypatch.setenv("KUBECONFIG", str(file))
        double.add(deployment("web", 2, namespace="research"), stateful_set("db", 1, namespace="data"))
        yield double


def written(double: Double) -> list[tuple[str, str, int]]:
    return [(one.path.rsplit("/", 2)[1], one.headers["Content-Type"], one.status)
            for one in double.requests if one.method != "GET"]  # fmt: skip


@pytest.mark.accepts("C21")
@pytest.mark.parametrize(
    ("what", "where", "before", "after"),
    [
        ("deployment/web", (), 2, 4), ("deploy/web", (), 2, 0), ("deployments/web", (), 2, 1),
        ("statefulset/db", ("--namespace", "data"), 1, 3), ("sts/db", ("--namespace", "data"), 1, 0),
    ],
)  # fmt: skip
def test_it_is_ready_when_all_its_pods_are(
    stoker: Stoker, cluster: Double, what: str, where: tuple[str, ...], before: int, after: int
) -> None:
    argv = ("kube", "scale", what, "--replicas", str(after), *where)
    said = stoker(*argv, "--json")
    assert said.code == 0, said.err
    value = said.json()["value"]
    assert (value["before"], value["wanted"], value["ready"], value["there"]) == (before, after, after, after)
    assert (value["changed"], value["outcome"], value["why"]) == (True, "ready", [])
    resource, namespace = (value["kind"] + "s", value["namespace"])
    held = cluster.world.get(resource, namespace, value["name"])
    assert held["status"].get("readyReplicas", 0) == after
    name = what.partition("/")[2]
    assert written(cluster) == [(name, "application/merge-patch+json", 200)]
    again = stoker(*argv)
    assert again.code == 0
    assert f"at {after} already; all {after} ready" in again.out
    assert len(written(cluster)) == 1


IMAGE = 'pod web-6d4cf56db6-2: container main: ImagePullBackOff: Back-off pulling image "registry.test/image:1"'


@pytest.mark.accepts("C21")
@pytest.mark.parametrize(
    ("fate", "why"),
    [
        ("image", [IMAGE]),
        ("crash", ["pod web-6d4cf56db6-2: container main: CrashLoopBackOff: "
                   "back-off 5m0s restarting failed container=main; it ended with 137 (OOMKilled)"]),
        ("unschedulable", ["pod web-6d4cf56db6-2: it has no node: Unschedulable: "
                           "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."]),
        ("unready", ["pod web-6d4cf56db6-2: Unhealthy: "
                     "Readiness probe failed: HTTP probe failed with statuscode: 503"]),
        ("quota", ['no pod can be made: FailedCreate: pods "web-x" is forbidden: exceeded quota: gpus, '
                   "requested: requests.nvidia.com/gpu=1, used: 8, limited: 8",
                   "its controller gave it up for now: ProgressDeadlineExceeded: too late"]),
        ("ignored", ["its controller has not begun yet"]),
    ],
)  # fmt: skip
def test_it_says_why_when_the_time_is_over(stoker: Stoker, cluster: Double, fate: Any, why: list[str]) -> None:
    cluster.fate("web", fate)
    argv = ("kube", "scale", "deployment/web", "--replicas", "3", "--timeout", "1s")
    said = stoker(*argv, "--json")
    value = said.json()["value"]
    assert (said.code, value["outcome"], value["ready"]) == (1, "timed_out", 2)
    assert value["why"] == why
    # What was set stays set; the same again waits on, writes nothing, and is ready once they are.
    shown = stoker(*argv)
    assert "at 3 already; 2 ready" in shown.out
    assert why[0] in shown.out
    assert len(written(cluster)) == 1
    cluster.fate("web", "ready")
    for one in cluster.server.controller.pods(cluster.world.get("deployments", "research", "web"))[2:]:
        cluster.world.remove(one)
    said = stoker(*argv[:-1], "2m")
    assert (said.code, "all 3 ready" in said.out) == (0, True), said.out


@pytest.mark.accepts("C21")
def test_a_stateful_set_says_why_no_pod_can_be_made(stoker: Stoker, cluster: Double) -> None:
    cluster.fate("db", "quota")
    said = stoker("kube", "scale", "sts/db", "--namespace", "data", "--replicas", "2", "--timeout", "1s", "--json")
    [why] = said.json()["value"]["why"]
    assert why.startswith('no pod can be made: FailedCreate: Error creating: pods "db-x" is forbidden: exceeded quota')


@pytest.mark.accepts("C21")
def test_a_stateful_set_is_ready_when_its_pods_are_of_the_newest_template(stoker: Stoker, cluster: Double) -> None:
    held = cluster.world.get("statefulsets", "data", "db")
    held["status"] |= {"currentRevision": "db-1", "updateRevision": "db-2"}
    argv = ("kube", "scale", "sts/db", "--namespace", "data", "--replicas", "1", "--json", "--timeout")
    value = stoker(*argv, "1s").json()["value"]
    assert (value["outcome"], value["ready"], value["why"]) == ("timed_out", 1, ["pods of an older template are left"])
    # Told to keep them, it is as it should be.
    for strategy in ({"type": "OnDelete"}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}):
        held["spec"]["updateStrategy"] = strategy
        assert stoker(*argv, "150s").json()["value"]["outcome"] == "ready"
    held["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    held["status"]["currentRevision"] = "db-2"
    assert stoker(*argv, "150s").json()["value"]["outcome"] == "ready"


@pytest.mark.accepts("C21")
def test_what_is_wrong_with_others_is_no_reason(stoker: Stoker, cluster: Double) -> None:
    other = deployment("other", 1, namespace="research")
    cluster.fate("other", "image")
    cluster.add(other)
    other["spec"]["replicas"] = 2
    cluster.server.controller.step(other)
    cluster.world.add(warning(other, "FailedCreate", "of the other"))
    # Its pods, one without its image, are chosen by the same labels.
    for one in (*cluster.world.all("replicasets"), *cluster.world.all("pods", "research")):
        one["metadata"]["labels"]["app"] = "web"
    cluster.fate("web", "ignored")
    said = stoker("kube", "scale", "deployment/web", "--replicas", "3", "--timeout", "1s", "--json")
    assert said.json()["value"]["why"] == ["its controller has not begun yet"]


@pytest.mark.accepts("C21")
def test_reasons_that_may_not_be_read_are_said_to_be_hidden(stoker: Stoker, cluster: Double) -> None:
    cluster.fate("web", "image")
    cluster.forbid("list", "pods")
    cluster.forbid("list", "events")
    said = stoker("kube", "scale", "deployment/web", "--replicas", "3", "--timeout", "1s")
    assert said.code == 1
    assert "pods, events of research may not be read: there may be more reasons" in said.out


@pytest.mark.accepts("C21")
def test_trouble_that_passes_does_not_end_the_wait(stoker: Stoker, cluster: Double) -> None:
    cluster.fault("conflict", "/scale")
    for fault in ("busy", "broken", "cut", "garbage"):
        cluster.fault(fault, "/deployments/web$")
    said = stoker("kube", "scale", "deployment/web", "--replicas", "5", "--timeout", "2m", "--json")
    assert said.code == 0, said.err
    assert said.json()["value"]["ready"] == 5
    statuses = [one.status for one in cluster.requests if one.path.endswith("/deployments/web")]
    assert {429, 500} <= set(statuses)


@pytest.mark.accepts("C21")
@pytest.mark.parametrize(
    ("fault", "statuses"), [("cut", [200]), ("broken", [500, 200]), ("garbage", [200]), ("late", [503])]
)
def test_an_answer_that_is_lost_is_no_guess(stoker: Stoker, cluster: Double, fault: Any, statuses: list[int]) -> None:
    cluster.fault(fault, "PATCH .*/scale")
    said = stoker("kube", "scale", "deployment/web", "--replicas", "3")
    assert "from 2 to 3; all 3 ready" in said.out, said.err
    assert [status for _, _, status in written(cluster)] == statuses


@pytest.mark.accepts("C21")
def test_an_error_after_the_number_was_written_says_that_it_is_set(
    stoker: Stoker, cluster: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.forbid("get", "deployments")
    argv = ("kube", "scale", "deployment/web", "--replicas")
    said = stoker(*argv, "3")
    assert said.code == 1
    assert "lab: deployment/web in research is set from 2 to 3; it does not allow that (403: deployments" in said.err
    # Nothing was written by this one.
    assert "is set" not in stoker(*argv, "3").err
    patch = cluster.world.patch_scale

    def last(*given: Any) -> Any:
        cluster.forbid("get", "deployments/scale")
        return patch(*given)

    monkeypatch.setattr(cluster.world, "patch_scale", last)
    cluster.fault("cut", "PATCH .*/scale")
    said = stoker(*argv, "4")
    assert said.code == 1
    assert "deployment/web in research is perhaps set from 3 to 4; it does not allow that (403: " in said.err


@pytest.mark.accepts("C21")
def test_reasons_that_cannot_be_had_end_no_wait(stoker: Stoker, cluster: Double) -> None:
    cluster.fate("web", "image")
    cluster.world.page = 1
    cluster.fault("expired", "/pods.*continue=", times=99)
    said = stoker("kube", "scale", "deployment/web", "--replicas", "3", "--timeout", "1s", "--json")
    value = said.json()["value"]
    assert (said.code, value["outcome"], value["before"], value["wanted"]) == (1, "timed_out", 2, 3)
    assert value["why"][0].startswith("pods of research are not known: its list ran out (410")


@pytest.mark.accepts("C21")
def test_what_somebody_else_changed_meanwhile(stoker: Stoker, cluster: Double) -> None:
    # Between the number that was read and the one that is written.
    cluster.fault("conflict", "/scale", times=2)
    said = stoker("kube", "scale", "deployment/web", "--replicas", "3")
    assert "from 2 to 3; all 3 ready" in said.out
    # While it is waited: an autoscaler.
    cluster.fate("web", "ignored")
    held = cluster.world.get("deployments", "research", "web")

    def meddle(text: str) -> None:
        if "ready" in text:
            with cluster.server.lock:
                cluster.world.patch_scale(held, {"spec": {"replicas": 2}})

    stoker.session.progress = meddle
    found = scale(stoker.session, "deployment/web", replicas=9, timeout="1m")
    assert (found.outcome, found.wanted, found.exit_code) == ("changed_by_others", 2, 1)
    assert found.why == ("somebody else has set it to 2 meanwhile",)


@pytest.mark.accepts("C21")
def test_what_cannot_be_scaled(stoker: Stoker, cluster: Double) -> None:
    def err(*argv: str, code: int) -> str:
        said = stoker("kube", "scale", *argv)
        assert (said.code, said.out) == (code, "")
        return said.err

    assert 'it has no such thing (404: deployments.apps "no" not found)' in err(
        "deployment/no", "--replicas", "1", code=1
    )
    assert "(404: " in err("statefulset/web", "--replicas", "1", code=1)
    for odd in ("web", "pod/web", "deployment/", "deployment/a/b"):
        assert "nothing that can be scaled here (next: deployment/NAME" in err(odd, "--replicas", "1", code=2)
    assert "--replicas: -1" in err("deployment/web", "--replicas", "-1", code=2)
    assert "at most 2,147,483,647" in err("deployment/web", "--replicas", str(2**31), code=2)
    assert err("deployment/web", code=2)
    assert "--timeout" in err("deployment/web", "--replicas", "1", "--timeout", "soon", code=2)
    cluster.forbid("patch", "deployments/scale")
    refused = err("deployment/web", "--replicas", "3", code=1)
    assert "it does not allow that (403: deployments/scale.apps" in refused
    assert cluster.world.get("deployments", "research", "web")["spec"]["replicas"] == 2
    for odd in ("..", "Web", "a%2f..", "-web", "web\n"):
        assert "is no name of Kubernetes" in err(f"deployment/{odd}", "--replicas", "1", code=2)
    assert "'..' is no namespace of" in err("deployment/web", "--replicas", "1", "--namespace", "..", code=2)


@pytest.mark.accepts("C21")
def test_progress_says_how_far_it_is_and_what_it_waits_for(stoker: Stoker, cluster: Double) -> None:
    told: list[str] = []
    stoker.session.progress = told.append
    cluster.fate("web", "image")
    found = scale(stoker.session, "deployment/web", replicas=3, timeout="6s")
    assert found.outcome == "timed_out"
    assert "deployment/web: 2 of 3 ready" in told
    assert any("2 of 3 ready · pod web-6d4cf56db6-2: container main: ImagePullBackOff" in text for text in told)
    assert told[-1] == ""


@pytest.mark.accepts("C21")
def test_from_python_and_a_wait_of_nothing(stoker: Stoker, cluster: Double) -> None:
    with Fleet() as fleet:
        found = fleet.kubernetes.scale("deployment/web", replicas=4, timeout=0)
        assert (found.outcome, found.changed, found.ready, found.wanted) == ("timed_out", True, 3, 4)
        assert fleet.kubernetes.scale("deployment/web", replicas=4, timeout=60).outcome == "ready"
