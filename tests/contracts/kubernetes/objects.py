# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API objects as a real server gives them; each is checked against the published schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import kubernetes_validate

VERSION = kubernetes_validate.latest_version()
WHEN = "2026-01-01T00:00:00Z"
Object = dict[str, Any]


def checked(said: Object) -> Object:
    """The object, if it is one of the API. Raises kubernetes_validate.ValidationError."""
    kubernetes_validate.validate(said, VERSION, strict=True)
    return said


def node(
    name: str, *, ready: str = "True", reason: str = "KubeletReady", message: str = "kubelet is posting ready status",
    pressure: str | None = None, cordoned: bool = False, taints: Sequence[Mapping[str, str]] = (),
    labels: Mapping[str, str] | None = None, capacity: Mapping[str, str] | None = None,
    allocatable: Mapping[str, str] | None = None,
) -> Object:  # fmt: skip
    """A node of 64 cores and 8 GPUs, or of what ``capacity`` says."""
    has = dict(capacity or {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": "8"})
    conditions = [_condition("Ready", ready, reason, message)]
    conditions += [
        _condition(kind, "True" if kind == pressure else "False", f"KubeletHas{kind}", "as it is")
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    spec: Object = {"podCIDR": "10.244.0.0/24"}
    spec |= {"unschedulable": True} if cordoned else {}
    spec |= {"taints": [dict(taint) for taint in taints]} if taints else {}
    info = {
        "machineID": "m", "systemUUID": "s", "bootID": "b", "kernelVersion": "6.1.0", "osImage": "Debian",
        "architecture": "amd64", "containerRuntimeVersion": "containerd://2.1.0", "kubeletVersion": f"v{VERSION}",
        "kubeProxyVersion": "", "operatingSystem": "linux",
    }  # fmt: skip
    # An image without a name: a client once took no list of nodes for one.
    status = {
        "capacity": has, "allocatable": dict(allocatable or has), "conditions": conditions, "nodeInfo": info,
        "images": [{"sizeBytes": 1}],
    }  # fmt: skip
    return _object("v1", "Node", {"name": name, "labels": dict(labels or {})}, spec=spec, status=status)


def pod(
    name: str, *containers: Mapping[str, Any], namespace: str = "default", on: str | None = None,
    phase: str = "Running", init: Sequence[Mapping[str, Any]] = (), labels: Mapping[str, str] | None = None,
    owner: Mapping[str, Any] | None = None, overhead: Mapping[str, str] | None = None,
    resources: Mapping[str, Any] | None = None, status: Mapping[str, Any] | None = None,
) -> Object:  # fmt: skip
    """A pod of these containers (``container(...)``), bound to the node ``on``."""
    spec: Object = {"containers": [dict(one) for one in containers or (container(),)], "restartPolicy": "Always"}
    spec |= {"nodeName": on} if on else {}
    spec |= {"initContainers": [dict(one) for one in init]} if init else {}
    spec |= {"overhead": dict(overhead)} if overhead else {}
    spec |= {"resources": dict(resources)} if resources else {}
    meta: Object = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    if owner is not None:
        meta["ownerReferences"] = [owned(owner)]
    return _object("v1", "Pod", meta, spec=spec, status={"phase": phase, **(status or {})})


def container(name: str = "main", requests: Mapping[str, str] | None = None, **more: Any) -> Object:
    """A container that asks for this much. ``limits``, ``restartPolicy`` and so on as further words."""
    limits = more.pop("limits", None)
    resources = {"requests": dict(requests or {})} | ({"limits": dict(limits)} if limits else {})
    return {"name": name, "image": "registry.test/image:1", "resources": resources, **more}


def deployment(name: str, replicas: int, *, namespace: str = "default") -> Object:
    """A Deployment all of whose pods are ready."""
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": _template(name)}
    status = {
        "observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas,
        "availableReplicas": replicas,
    }  # fmt: skip
    return _object("apps/v1", "Deployment", {"name": name, "namespace": namespace}, spec=spec, status=status)


def replica_set(of: Mapping[str, Any]) -> Object:
    """The one of a Deployment."""
    name, namespace = of["metadata"]["name"], of["metadata"]["namespace"]
    meta = {
        "name": f"{name}-6d4cf56db6", "namespace": namespace, "labels": {"app": name}, "ownerReferences": [owned(of)],
    }  # fmt: skip
    spec = {"replicas": of["spec"]["replicas"], "selector": {"matchLabels": {"app": name}}, "template": _template(name)}
    return _object("apps/v1", "ReplicaSet", meta, spec=spec, status={"replicas": of["spec"]["replicas"]})


def stateful_set(name: str, replicas: int, *, namespace: str = "default") -> Object:
    """A StatefulSet all of whose pods are ready."""
    expressions = [{"key": "app", "operator": "In", "values": [name]}, {"key": "old", "operator": "DoesNotExist"}]
    spec = {
        "replicas": replicas, "serviceName": name, "selector": {"matchExpressions": expressions},
        "template": _template(name),
    }  # fmt: skip
    status = {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
    return _object("apps/v1", "StatefulSet", {"name": name, "namespace": namespace}, spec=spec, status=status)


def warning(about: Mapping[str, Any], reason: str, message: str, when: str = WHEN) -> Object:
    """An event that is a warning."""
    meta = about["metadata"]
    namespace = meta.get("namespace", "default")
    concerned = {
        "kind": about["kind"], "apiVersion": about["apiVersion"], "namespace": namespace, "name": meta["name"],
        "uid": meta["uid"],
    }  # fmt: skip
    return {
        **_object("v1", "Event", {"name": f"{meta['name']}.{reason.lower()}", "namespace": namespace}),
        "involvedObject": concerned, "reason": reason, "message": message, "type": "Warning", "count": 1,
        "firstTimestamp": when, "lastTimestamp": when,
    }  # fmt: skip


def scale(of: Mapping[str, Any]) -> Object:
    """What the subresource scale of a Deployment or StatefulSet is."""
    meta = {key: of["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    status = {"replicas": of["status"].get("replicas", 0), "selector": f"app={of['metadata']['name']}"}
    return _object("autoscaling/v1", "Scale", meta, spec={"replicas": of["spec"]["replicas"]}, status=status)


def owned(owner: Mapping[str, Any]) -> Object:
    """A reference to what made it."""
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def _template(name: str) -> Object:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container()]}}


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": WHEN,
        "lastTransitionTime": WHEN,
    }  # fmt: skip


def _object(version: str, kind: str, meta: Object, **parts: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **parts}
