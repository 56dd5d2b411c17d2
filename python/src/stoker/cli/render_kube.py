"""Clusters of Kubernetes on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.kube import KubeContexts, KubeNode, KubeNodes, KubeResource
from stoker.operations.kube_scale import KubeScaled

_COLOURS = {"reachable": "green", "refused": "yellow", "unreachable": "red"}


def contexts(value: KubeContexts, out: Out) -> None:
    """`stoker kube contexts`."""
    if not value.contexts:
        out.line(fmt.one_line(f"there is no context in {', '.join(value.files)}"))
        return
    rows: list[tuple[Piece, ...]] = [
        (
            "*" if one.current else "", fmt.one_line(one.name), (one.state, _COLOURS[one.state]), one.version or "-",
            fmt.one_line(one.namespace), fmt.one_line(one.server or "-"), fmt.one_line(one.why or "-"),
        )
        for one in value.contexts
    ]  # fmt: skip
    out.table(("", "CONTEXT", "STATE", "VERSION", "NAMESPACE", "SERVER", "WHY"), rows)
    for one in value.contexts:
        if one.next_step:
            out.line((fmt.one_line(f"{one.name}: next: {one.next_step}"), "dim"))
    good = sum(one.state == "reachable" for one in value.contexts)
    out.line((f"{good} of {len(value.contexts)} reachable, asked in {fmt.duration(value.elapsed_s)}", "dim"))
    if any(one.current and one.state == "reachable" for one in value.contexts):
        out.line(("next: stoker kube nodes", "dim"))


def nodes(value: KubeNodes, out: Out) -> None:
    """`stoker kube nodes`: a line for each node and kind of GPU."""
    if not value.nodes:
        out.line(fmt.one_line(f"{value.context} has no nodes"))
        return
    out.table(
        ("NODE", "STATE", "GPU", "FREE", "ALLOCATABLE", "CAPACITY", "CPU FREE", "MEMORY FREE", "ABOUT"),
        [row for node in value.nodes for row in _node(node)],
    )
    for node in value.nodes:
        if node.unknown and node.unknown != value.unknown:
            out.line((fmt.one_line(f"{node.name}: {node.unknown}"), "yellow"))
    out.line(fmt.one_line(_gpus_free(value)))


def scaled(value: KubeScaled, out: Out) -> None:
    """`stoker kube scale`."""
    was = f"from {value.before} to {value.wanted}" if value.changed else f"at {value.wanted} already"
    ended = {
        "ready": f"all {value.ready} ready",
        "timed_out": f"{value.ready} ready, {value.there} there",
        "changed_by_others": f"set by somebody else, {value.ready} ready",
    }[value.outcome]
    where = f"{value.kind}/{value.name} in {value.namespace} of {value.context}"
    out.line(fmt.one_line(f"{where}: {was}; {ended} after {fmt.duration(value.waited_s)}"))
    for why in value.why:
        out.line((fmt.one_line(f"  {why}"), "yellow"))
    if value.outcome == "timed_out":
        out.line(("next: the same command again waits on; kubectl describe pod says the rest", "dim"))


def _node(node: KubeNode) -> list[tuple[Piece, ...]]:
    about = [*node.taints, node.gpu_model or "", node.why or ""]
    rows: list[tuple[Piece, ...]] = []
    for gpu in node.gpus or (None,):
        first = not rows
        counts = (
            ("-", "-", "-", "-") if gpu is None else (gpu.name, *map(_count, (gpu.free, gpu.allocatable, gpu.capacity)))
        )
        rows.append(
            (
                fmt.one_line(node.name) if first else "", _state(node) if first else "", *map(fmt.one_line, counts),
                _of(node, "cpu", _count) if first else "", _of(node, "memory", _bytes) if first else "",
                fmt.one_line(" ".join(text for text in about if text) or "-") if first else "",
            )
        )  # fmt: skip
    return rows


def _state(node: KubeNode) -> Piece:
    words = ["ready" if node.ready else "unknown" if node.ready is None else "not ready"]
    words += ["cordoned"] if node.cordoned else []
    words += list(node.pressures)
    return ", ".join(words), "green" if node.takes_pods and not node.pressures else "yellow"


def _of(node: KubeNode, name: str, spelled: Callable[[float | None], str]) -> str:
    found = next((one for one in node.resources if one.name == name), None)
    if found is None:
        return "-"
    return f"{spelled(found.free)} of {spelled(found.allocatable)}"


def _count(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _bytes(value: float | None) -> str:
    return "?" if value is None else fmt.size(int(value))


def _gpus_free(value: KubeNodes) -> str:
    """How many GPUs a new pod could have, by kind, as far as that is known; and those that it could not."""
    able = [gpu for node in value.nodes if node.takes_pods for gpu in node.gpus]
    closed = [gpu for node in value.nodes if not node.takes_pods for gpu in node.gpus]
    if not able and not closed:
        return f"{value.context}: no node has GPUs"
    text = f"{value.context}: free on nodes that take pods: {_by_kind(able) or 'no GPUs'}"
    return text + (f"; on others: {_by_kind(closed)}" if closed else "")


def _by_kind(gpus: list[KubeResource]) -> str:
    kinds: dict[str, list[KubeResource]] = {}
    for gpu in gpus:
        kinds.setdefault(gpu.name, []).append(gpu)
    return ", ".join(f"{kind} {_sum(found)}" for kind, found in kinds.items())


def _sum(gpus: list[KubeResource]) -> str:
    return f"{_total([gpu.free for gpu in gpus])} of {_total([gpu.allocatable for gpu in gpus])}"


def _total(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known):g}" if len(known) == len(values) else f"at least {sum(known):g}" if known else "?"
