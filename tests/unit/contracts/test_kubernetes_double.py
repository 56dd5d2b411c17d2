# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of an API server: what the official client's own models make of it, and that it is strict."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.contracts.kubernetes import Double, kubeconfig, kubernetes_double
from tests.contracts.kubernetes.objects import deployment, node, pod


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Double]:
    with kubernetes_double(tmp_path / "cluster") as double:
        double.add(node("n1"), pod("p1", on="n1"), pod("p2", phase="Pending"), deployment("web", 2))
        yield double


def test_the_official_client_reads_it(cluster: Double, tmp_path: Path) -> None:
    from kubernetes import client, config

    file = kubeconfig(tmp_path / "config", cluster.entry("c", "certificate"), current="c")
    with config.new_client_from_config(str(file)) as api:
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        [found] = core.list_node().items
        assert (found.metadata.name, found.status.allocatable["nvidia.com/gpu"]) == ("n1", "8")
        bound = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=n1,status.phase!=Failed")
        assert [one.metadata.name for one in bound.items] == ["p1"]
        assert [one.metadata.name for one in core.list_namespaced_pod("default", label_selector="app=web").items] == [
            "web-6d4cf56db6-0",
            "web-6d4cf56db6-1",
        ]
        read = apps.read_namespaced_deployment_scale("web", "default")
        stale: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}
        merge = "application/merge-patch+json"
        with pytest.raises(client.ApiException) as told:
            apps.patch_namespaced_deployment_scale("web", "default", stale, _content_type=merge)
        assert told.value.status == 409
        fresh = {"metadata": {"resourceVersion": read.metadata.resource_version}, "spec": {"replicas": 3}}
        assert apps.patch_namespaced_deployment_scale("web", "default", fresh, _content_type=merge).spec.replicas == 3
        assert apps.read_namespaced_deployment("web", "default").status.ready_replicas == 3
        first = core.list_pod_for_all_namespaces(limit=2)
        assert first.metadata.remaining_item_count == 3
        cluster.world.forget_pages()
        with pytest.raises(client.ApiException) as gone:
            core.list_pod_for_all_namespaces(limit=2, _continue=first.metadata._continue)
        assert gone.value.status == 410


SCALE = "/apis/apps/v1/namespaces/default/deployments/web/scale"
MERGE = {"Content-Type": "application/merge-patch+json"}
NOBODY = {"Authorization": ""}
REFUSED: list[tuple[str, str, dict[str, str], bytes | None, int]] = [
    ("GET", "/api/v1/nodes?limt=5", {}, None, 400),
    ("GET", "/api/v1/nodes?limit=five", {}, None, 400),
    ("GET", "/api/v1/pods?fieldSelector=spec.node%3Dn1", {}, None, 400),
    ("GET", "/api/v1/pods?labelSelector=a%20b", {}, None, 400),
    ("GET", "/api/v1/pods?continue=junk", {}, None, 400),
    ("GET", "/api/v1/deployments", {}, None, 404),
    ("GET", "/api/v1/secrets", {}, None, 404),
    ("GET", "/apis/apps/v1/namespaces/default/deployments/no", {}, None, 404),
    ("GET", "/version", {"Accept": "text/html"}, None, 406),
    ("POST", "/api/v1/nodes", {}, None, 405),
    ("PATCH", SCALE, {"Content-Type": "application/json"}, b"{}", 415),
    ("PATCH", SCALE, MERGE, b'{"spec":{"replica":1}}', 400),
    ("PATCH", SCALE, MERGE, b'{"spec":{"replicas":-1}}', 422),
    ("GET", "/api/v1/nodes", {"Authorization": "Bearer wrong"}, None, 401),
    ("GET", "/api/v1/nodes", NOBODY, None, 403),
    ("GET", "/version", NOBODY, None, 200),
]


def test_it_is_strict(cluster: Double) -> None:
    context = ssl.create_default_context(cadata=cluster.authority.pem.decode())
    usual = {"Accept": "application/json", "Authorization": f"Bearer {cluster.token()}"}
    with urllib3.PoolManager(ssl_context=context) as pool:
        for method, path, headers, body, status in REFUSED:
            answer = pool.request(method, cluster.url + path, headers=usual | headers, body=body, retries=False)
            assert answer.status == status, (method, path, answer.data)
            assert answer.json().get("code", 200) == status


def test_nobody_is_let_in_by_a_certificate_of_another_authority(cluster: Double, tmp_path: Path) -> None:
    from tests.contracts.kubernetes.authority import Authority

    context = ssl.create_default_context(cadata=cluster.authority.pem.decode())
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(b"".join(reversed(Authority().user("alice"))))
    context.load_cert_chain(pem)
    with urllib3.PoolManager(ssl_context=context) as pool, pytest.raises(urllib3.exceptions.HTTPError):
        pool.request("GET", f"{cluster.url}/version", headers={"Accept": "application/json"}, retries=False)


def test_objects_that_no_server_has_are_refused(cluster: Double) -> None:
    import kubernetes_validate

    odd = node("odd")
    odd["spec"]["gpus"] = 8
    with pytest.raises(kubernetes_validate.ValidationError):
        cluster.add(odd)
    assert yaml.safe_load(kubeconfig(cluster.folder / "config", cluster.entry("a")).read_text())["kind"] == "Config"
