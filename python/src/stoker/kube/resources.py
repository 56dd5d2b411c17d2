"""What nodes have and what pods ask of them, by the scheduler's own rules. Pure; quantities are exact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation, Overflow
from typing import Any

from stoker.kube.said import listed, mapped

Amounts = dict[str, Decimal]

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    **{letter: Decimal(1000**power) for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)
# Kubernetes itself knows no number beyond 2**63, in any unit; what is far more is a mistake, and no float holds it.
_MOST_AMOUNT = Decimal(2**63) * 2**60
# What a node or pod can have a whole number of, by vendor; the last part of the name, without what stands behind a dot
# (nvidia.com/gpu.shared).
_GPUS = re.compile(r"gpu|mig-[\w.-]+|i915|xe|gaudi|tpu|neuron(?:core|device)?")
_POD_LEVEL = ("cpu", "memory")
PODS = "pods"


def amount(quantity: Any) -> Decimal | None:
    """A quantity as Kubernetes writes it (`500m`, `16Gi`, `1e3`, `8`) as a number; None for what is none."""
    if isinstance(quantity, bool) or not isinstance(quantity, int | float | str):
        return None
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        return None
    try:
        number = Decimal(found[1] + (found[2] or "")) * _SUFFIXES[found[3] or ""]
    except (InvalidOperation, Overflow):
        return None
    return number if abs(number) <= _MOST_AMOUNT else None


def amounts(said: Any) -> tuple[Amounts, tuple[str, ...]]:
    """Quantities by the name of the resource; and the names of those that cannot be read."""
    if not isinstance(said, Mapping):
        return {}, ()
    read = {str(name): amount(quantity) for name, quantity in said.items()}
    unread = tuple(name for name, number in read.items() if number is None)
    return {name: number for name, number in read.items() if number is not None}, unread


def is_gpu(resource: str) -> bool:
    """Whether a resource is GPUs, parts of them, or what other vendors have in their place."""
    vendor, stroke, name = resource.partition("/")
    return bool(stroke) and "." in vendor and _GPUS.fullmatch(name.removesuffix(".shared")) is not None


def holds(pod: Mapping[str, Any]) -> bool:
    """Whether a pod takes something of its node: it is bound to one, and not over."""
    spec, status = mapped(pod.get("spec")), mapped(pod.get("status"))
    return bool(spec.get("nodeName")) and status.get("phase") not in ("Succeeded", "Failed")


def requests(pod: Mapping[str, Any]) -> tuple[Amounts, tuple[str, ...]]:
    """What a pod asks of its node, and the names of resources of which that cannot be read.

    The most of what it needs at a time: the init containers run one after the other, each beside the sidecars (init
    containers that are restarted always) before it; the containers run together, beside all sidecars.
    """
    spec, status = mapped(pod.get("spec")), mapped(pod.get("status"))
    resized = _resized(status)
    unread: list[str] = []
    sidecars: Amounts = {}
    at_start: Amounts = {}
    for container in listed(spec.get("initContainers")):
        asked = _of_container(container, resized, unread)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum([sidecars, asked])
            at_start = _most(at_start, sidecars)
        else:
            at_start = _most(at_start, _sum([sidecars, asked]))
    running = [_of_container(container, resized, unread) for container in listed(spec.get("containers"))]
    whole = _most(_sum([*running, sidecars]), at_start)
    whole |= _of_pod(spec, unread)
    overhead, more = amounts(spec.get("overhead"))
    return _sum([whole, overhead, {PODS: Decimal(1)}]), tuple(dict.fromkeys((*unread, *more)))


def by_node(pods: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Amounts, tuple[str, ...]]]:
    """What all pods together ask, by node."""
    found: dict[str, tuple[Amounts, tuple[str, ...]]] = {}
    for pod in pods:
        if holds(pod):
            node = str(pod["spec"]["nodeName"])
            before, unread = found.get(node, ({}, ()))
            asked, more = requests(pod)
            found[node] = _sum([before, asked]), tuple(dict.fromkeys((*unread, *more)))
    return found


def _of_container(container: Mapping[str, Any], resized: Mapping[str, Sequence[Amounts]], unread: list[str]) -> Amounts:
    """What a container requests; without that, its limit. A resize that goes on counts with the most."""
    said = mapped(container.get("resources"))
    limits, bad_limits = amounts(said.get("limits"))
    asked, bad = amounts(said.get("requests"))
    unread += [*bad, *(name for name in bad_limits if name not in asked and name not in bad)]
    whole = {**{name: number for name, number in limits.items() if name not in bad}, **asked}
    for other in resized.get(str(container.get("name")), ()):
        whole = _most(whole, other)
    return whole


def _resized(status: Mapping[str, Any]) -> dict[str, list[Amounts]]:
    """By container, what its node has given it; it may differ from the spec while it is resized in place."""
    found: dict[str, list[Amounts]] = {}
    for name in ("containerStatuses", "initContainerStatuses"):
        for one in listed(status.get(name)):
            given = (one.get("allocatedResources"), mapped(one.get("resources")).get("requests"))
            found[str(one.get("name"))] = [amounts(said)[0] for said in given]
    return found


def _of_pod(spec: Mapping[str, Any], unread: list[str]) -> Amounts:
    """What a pod asks as a whole (spec.resources): that counts in the place of what its containers ask."""
    asked, bad = amounts(mapped(spec.get("resources")).get("requests"))
    unread += [name for name in bad if _is_of_pod(name)]
    return {name: number for name, number in asked.items() if _is_of_pod(name)}


def _is_of_pod(name: str) -> bool:
    return name in _POD_LEVEL or name.startswith("hugepages-")


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, Decimal(0)) + number
    return total


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**one, **other}}
