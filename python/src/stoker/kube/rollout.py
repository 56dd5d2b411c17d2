"""Whether a Deployment or StatefulSet has as many ready pods as it should, and why not. Pure, over its API objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stoker.kube.said import Said
from stoker.kube.said import listed as _list
from stoker.kube.said import mapped as _map

Kind = Literal["deployment", "statefulset"]
# Reasons of one rollout that are shown, and how long one may be.
_MOST = 5
_MOST_WORDS = 300
# What a container says while it only takes its time.
_ON_ITS_WAY = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Progress:
    """How far it is. `wanted`: what it is set to. `seen`: its controller knows of that. `done`: all are ready."""

    wanted: int
    ready: int
    there: int
    seen: bool
    done: bool


def progress(kind: Kind, said: Said) -> Progress:
    """How far a Deployment or StatefulSet is, by its own status."""
    spec, status, meta = _map(said.get("spec")), _map(said.get("status")), _map(said.get("metadata"))
    wanted = 1 if spec.get("replicas") is None else _count(spec["replicas"])  # the API's own default
    ready, there = _count(status.get("readyReplicas")), _count(status.get("replicas"))
    seen = _count(status.get("observedGeneration")) >= _count(meta.get("generation"))
    # No pod of an older template may be left.
    new = _count(status.get("updatedReplicas")) == wanted if kind == "deployment" else not _has_older(said)
    return Progress(wanted, ready, there, seen, seen and new and ready == wanted and there == wanted)


def _has_older(said: Said) -> bool:
    """Whether pods of a StatefulSet are still to get its newest template; one may be told to keep them as they are."""
    strategy, status = _map(_map(said.get("spec")).get("updateStrategy")), _map(said.get("status"))
    if strategy.get("type") == "OnDelete" or _count(_map(strategy.get("rollingUpdate")).get("partition")):
        return False
    # With a server that says none, both are None.
    return status.get("currentRevision") != status.get("updateRevision")


def reasons(kind: Kind, said: Said, pods: Sequence[Said], events: Iterable[Said]) -> tuple[str, ...]:
    """Why it is not ready, what matters most first: no pods can be made, pods cannot run, nothing happens any more.

    `events`: warnings about it, its ReplicaSets and its pods, in the order of their time.
    """
    by_uid: dict[str, Said] = {str(_map(event.get("involvedObject")).get("uid")): event for event in events}
    conditions = {str(one.get("type")): one for one in _list(_map(said.get("status")).get("conditions"))}
    found: list[str] = []
    failure = conditions.get("ReplicaFailure", {})
    if failure.get("status") == "True":
        found.append(_worded("no pod can be made", failure))
    else:
        pods_uids = {_uid(pod) for pod in pods}
        about_it = [event for uid, event in by_uid.items() if uid not in pods_uids]
        found += [_worded("no pod can be made", event) for event in about_it if event.get("reason") == "FailedCreate"]
    told: dict[str, list[str]] = {}
    for pod in pods:
        if (why := of_pod(pod, by_uid.get(_uid(pod)))) is not None:
            told.setdefault(why, []).append(str(_map(pod.get("metadata")).get("name")))
    for why, names in told.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        found.append(f"pod {names[0]}{more}: {why}")
    if kind == "statefulset" and _has_older(said):
        found.append("pods of an older template are left")
    stuck = conditions.get("Progressing", {})
    if kind == "deployment" and stuck.get("status") == "False":
        found.append(_worded("its controller gave it up for now", stuck))
    return tuple(found[:_MOST])


def of_pod(pod: Said, event: Said | None = None) -> str | None:
    """Why a pod is not ready, in words; None for one that is. `event`: the newest warning about it."""
    status = _map(pod.get("status"))
    conditions = {str(one.get("type")): one for one in _list(status.get("conditions"))}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    if _map(pod.get("metadata")).get("deletionTimestamp"):
        return "it is being ended"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return _worded("it has no node", scheduled)
    containers = [*_list(status.get("initContainerStatuses")), *_list(status.get("containerStatuses"))]
    for container in containers:
        if (why := _of_container(container)) is not None:
            return why
    if event is not None:
        return _worded("", event)
    if status.get("reason") or status.get("message"):
        return _worded("", status)
    waits = [c.get("name") for c in containers if not c.get("ready")]
    if status.get("phase") == "Running" and waits:
        return f"container {waits[0]} runs, and is not ready"
    return f"it is {status.get('phase') or 'in no phase yet'}"


def owned_by(objects: Iterable[Said], owners: Iterable[Said]) -> list[Said]:
    """Those of the objects whose controller is one of the owners."""
    uids = {_uid(owner) for owner in owners}

    def owner(one: Said) -> Any:
        references = _list(_map(one.get("metadata")).get("ownerReferences"))
        return next((reference.get("uid") for reference in references if reference.get("controller")), None)

    return [one for one in objects if owner(one) in uids]


def selector(said: Said) -> str:
    """The label selector of a Deployment or StatefulSet, as a query has it."""
    spec = _map(_map(said.get("spec")).get("selector"))
    parts = [f"{name}={value}" for name, value in _map(spec.get("matchLabels")).items()]
    for one in _list(spec.get("matchExpressions")):
        key, how, among = one.get("key"), one.get("operator"), ",".join(map(str, one.get("values") or ()))
        spelled = {"In": f"{key} in ({among})", "NotIn": f"{key} notin ({among})", "DoesNotExist": f"!{key}"}
        parts.append(spelled.get(str(how), str(key)))
    return ",".join(parts)


def _of_container(container: Said) -> str | None:
    """What keeps one container from running."""
    state, before = _map(container.get("state")), _map(_map(container.get("lastState")).get("terminated"))
    waiting, ended = _map(state.get("waiting")), _map(state.get("terminated"))
    name = container.get("name")
    if waiting.get("reason") and waiting["reason"] not in _ON_ITS_WAY:
        last = f"; it ended with {_ended(before)}" if before else ""
        return _worded(f"container {name}", waiting) + last
    if ended and ended.get("exitCode") != 0:
        return f"container {name} ended with {_ended(ended)}"
    return None


def _ended(said: Said) -> str:
    reason = f" ({said['reason']})" if said.get("reason") not in (None, "Error", "Completed") else ""
    return f"{said.get('exitCode')}{reason}"


def _worded(what: str, said: Said) -> str:
    """`no pod can be made: FailedCreate: exceeded quota ...`."""
    message = " ".join(str(said.get("message") or "").split())[:_MOST_WORDS]
    return ": ".join(part for part in (what, str(said.get("reason") or ""), message) if part)


def _uid(said: Said) -> str:
    return str(_map(said.get("metadata")).get("uid"))


def _count(said: Any) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) else 0
