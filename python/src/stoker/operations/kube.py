"""Clusters of Kubernetes: which contexts can be reached, and what their nodes have free."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.kube.cluster import Cluster
    from stoker.kube.kubeconfig import Kubeconfig
    from stoker.kube.resources import Amounts

ContextState = Literal["reachable", "refused", "unreachable"]
# What is over within this needs no progress, in seconds.
_SILENT_S = 2.0
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_OVER = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True)
class KubeContext:
    """A context of a kubeconfig. `current`: kubectl uses it where none is named.

    `refused`: the server answers, and not with these credentials. `version` is the server's, None where it was not
    told; `why` says why it is not reachable, or has no version.
    """

    name: str
    current: bool
    cluster: str | None
    server: str | None
    user: str | None
    namespace: str
    state: ContextState
    version: str | None
    why: str | None
    next_step: str | None = None


@dataclass(frozen=True)
class KubeContexts:
    """All contexts of the kubeconfig files, asked at the same time. `problems`: files that could not be read."""

    files: tuple[str, ...]
    contexts: tuple[KubeContext, ...]
    elapsed_s: float
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: at least one context is reachable, and all files could be read."""
        return int(bool(self.problems) or all(one.state != "reachable" for one in self.contexts))


@dataclass(frozen=True)
class KubeResource:
    """One resource of a node: CPU in cores, memory and storage in bytes, all else as it is counted.

    `requested` by the pods that are bound to it and not over, and `free` (allocatable less that, at least 0) are None
    where that is not known; so are the others where the node does not say them.
    """

    name: str
    gpu: bool
    capacity: float | None
    allocatable: float | None
    requested: float | None
    free: float | None


@dataclass(frozen=True)
class KubeNode:
    """A node of a cluster. `ready` is None where nobody has heard of it for a while. `cordoned`: takes no new pods.

    `pressures`: conditions that should not be, such as DiskPressure; `taints` as kubectl writes them.
    `unknown`: what of its resources is not known, and why.
    """

    name: str
    ready: bool | None
    why: str | None
    cordoned: bool
    pressures: tuple[str, ...]
    taints: tuple[str, ...]
    gpu_model: str | None
    version: str | None
    resources: tuple[KubeResource, ...]
    unknown: str | None = None

    @property
    def gpus(self) -> tuple[KubeResource, ...]:
        """Its GPUs, by kind."""
        return tuple(resource for resource in self.resources if resource.gpu)

    @property
    def takes_pods(self) -> bool:
        """Whether a new pod could come there at all: it is ready, and not cordoned."""
        return self.ready is True and not self.cordoned


@dataclass(frozen=True)
class KubeNodes:
    """The nodes of a cluster. `unknown`: why nothing is known of what is free; None where it is."""

    context: str
    nodes: tuple[KubeNode, ...]
    unknown: str | None
    asked_at: float
    problems: tuple[Problem, ...] = ()


@operation("kubernetes", "kube contexts", "read")
def contexts(session: Session, *, kubeconfig: str | None = None, timeout: float | str = "5s") -> KubeContexts:
    """List contexts of the kubeconfig: whether each can be reached, and why not; all asked at the same time.

    Args:
        kubeconfig: The file to read; by default those of KUBECONFIG, else ~/.kube/config.
        timeout: How long each may take, and so the whole (5s).
    """
    from stoker.kube.look import look_at
    from stoker.redaction import redact

    within = seconds(timeout)
    began = time.monotonic()
    read = kubeconfig_of(kubeconfig)
    if session.progress is not None and within > _SILENT_S:
        session.progress(f"asking {len(read.contexts)} clusters, at most {within:g} s")
    looks = look_at(read.contexts, within)
    if session.progress is not None:
        session.progress("")
    found = tuple(
        KubeContext(
            context.name, context.name == read.current, context.cluster_name,
            redact(context.server) if context.server else None, context.user_name, context.namespace,
            look.state, look.version, look.why, look.next_step,
        )
        for context, look in zip(read.contexts, looks, strict=True)
    )  # fmt: skip
    problems = tuple(Problem(None, text) for text in read.problems)
    return KubeContexts(tuple(map(str, read.files)), found, time.monotonic() - began, problems)


@operation("kubernetes", "kube nodes", "read")
def nodes(
    session: Session, *, context: str | None = None, kubeconfig: str | None = None, timeout: float | str = "1m"
) -> KubeNodes:
    """List nodes of a cluster: GPUs, CPU and memory: all of it, what pods may have, and what is free of that.

    Args:
        context: The context of the kubeconfig; by default the current one.
        kubeconfig: The file to read; by default those of KUBECONFIG, else ~/.kube/config.
        timeout: How long the whole may take (1m).
    """
    from stoker.kube.cluster import Cluster
    from stoker.kube.errors import Forbidden, KubeError
    from stoker.kube.resources import by_node

    within = seconds(timeout)
    found = kubeconfig_of(kubeconfig).context(context)
    problems: tuple[Problem, ...] = ()
    unknown, asked = None, None
    try:
        with Cluster(found, time.monotonic() + within) as cluster:
            listed = _listed(session, cluster, "/api/v1/nodes", "nodes")
            try:
                pods = _listed(session, cluster, "/api/v1/pods", "pods", (("fieldSelector", _OVER),))
                asked = by_node(pods)
            except KubeError as problem:
                unknown = f"its pods cannot be listed: {problem.why}"
                step = "a role that may list pods in all namespaces" if isinstance(problem, Forbidden) else None
                problems = (Problem(None, f"{found.name}: what is free is not known: {unknown}", step),)
    finally:
        if session.progress is not None:
            session.progress("")
    shown = sorted((_node(one, asked, unknown) for one in listed), key=lambda node: node.name)
    return KubeNodes(found.name, tuple(shown), unknown, time.time(), problems)


def kubeconfig_of(named: str | None) -> Kubeconfig:
    """The kubeconfig that is meant, read. Raises NotFound, UsageError."""
    from stoker.kube.kubeconfig import load

    return load(named)


def seconds(timeout: float | str) -> float:
    """A time limit in seconds. Raises UsageError for none, or one of nothing."""
    within = quantities.seconds(timeout, "--timeout")
    if within <= 0:
        raise UsageError("--timeout: 0 seconds are too short to ask anything", next_step="--timeout 5s")
    return within


def _listed(
    session: Session, cluster: Cluster, path: str, what: str, query: tuple[tuple[str, str], ...] = ()
) -> list[dict[str, Any]]:
    began = time.monotonic()

    def told(count: int) -> None:
        if session.progress is not None and time.monotonic() - began > _SILENT_S:
            session.progress(f"{count:,} {what} of {cluster.name}")

    return cluster.listed(path, query=query, told=told)


def _node(
    said: Mapping[str, Any], asked: Mapping[str, tuple[Amounts, tuple[str, ...]]] | None, unknown: str | None
) -> KubeNode:
    from stoker.kube.said import listed, mapped, text_of

    meta, spec, status = (mapped(said.get(part)) for part in ("metadata", "spec", "status"))
    conditions = {str(one.get("type")): one for one in listed(status.get("conditions"))}
    ready = conditions.get("Ready", {})
    is_ready = {"True": True, "False": False}.get(str(ready.get("status")))
    why = " ".join(f"{ready.get('reason') or ''}: {ready.get('message') or ''}".split()) if not is_ready else ""
    resources, unread = _resources(status, str(meta.get("name")), asked)
    if unread:
        told = f"quantities that cannot be read: {', '.join(unread)}"
        unknown = f"{unknown}; {told}" if unknown else told
    labels = mapped(meta.get("labels"))
    return KubeNode(
        str(meta.get("name")),
        is_ready,
        why.strip(": ") or ("it has no condition Ready" if not ready else None) if is_ready is not True else None,
        bool(spec.get("unschedulable")),
        tuple(name for name in _PRESSURES if conditions.get(name, {}).get("status") == "True"),
        tuple(_taint(taint) for taint in listed(spec.get("taints"))),
        text_of(labels.get("nvidia.com/gpu.product")) or text_of(labels.get("amd.com/gpu.product-name")),
        text_of(mapped(status.get("nodeInfo")).get("kubeletVersion")),
        resources,
        unknown,
    )


def _taint(said: Mapping[str, Any]) -> str:
    value = f"={said['value']}" if said.get("value") else ""
    return f"{said.get('key')}{value}:{said.get('effect')}"


def _resources(
    status: Mapping[str, Any], node: str, asked: Mapping[str, tuple[Amounts, tuple[str, ...]]] | None
) -> tuple[tuple[KubeResource, ...], list[str]]:
    """What a node has; and what of it has quantities that cannot be read."""
    from stoker.kube.resources import amounts, is_gpu

    capacity, bad_capacity = amounts(status.get("capacity"))
    allocatable, bad_allocatable = amounts(status.get("allocatable"))
    of_pods, bad_requests = asked.get(node, ({}, ())) if asked is not None else ({}, ())
    unread = list(dict.fromkeys((*bad_capacity, *bad_allocatable, *bad_requests)))
    found = []
    for name in sorted({*capacity, *allocatable, *bad_capacity, *bad_allocatable}, key=_order):
        requested = of_pods.get(name, Decimal(0)) if asked is not None and name not in bad_requests else None
        may = allocatable.get(name)
        free = max(Decimal(0), may - requested) if may is not None and requested is not None else None
        found.append(
            KubeResource(name, is_gpu(name), *(_number(value) for value in (capacity.get(name), may, requested, free)))
        )
    return tuple(found), unread


def _order(name: str) -> tuple[bool, bool, str]:
    from stoker.kube.resources import is_gpu

    return not is_gpu(name), name not in ("cpu", "memory"), name


def _number(value: Decimal | None) -> float | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)
