# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controllers of a cluster do with a Deployment or StatefulSet: one step at each look at it, no clock."""

from __future__ import annotations

from typing import Literal

from .objects import Object, container, pod, replica_set, warning
from .world import World

# What becomes of new pods.
Fate = Literal["ready", "image", "crash", "unready", "unschedulable", "quota", "ignored"]
QUOTA = 'pods "{name}-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: 8, limited: 8'


class Controller:
    """Steps each Deployment and StatefulSet towards what it is set to; ``fates`` say how that goes, by name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fates: dict[str, Fate] = {}

    def adopt(self, said: Object) -> None:
        """Make the pods that are there by its status."""
        if said["kind"] == "Deployment":
            self.world.add(replica_set(said))
        for _ in range(said["status"].get("replicas", 0)):
            self._make(said, "ready")

    def step(self, said: Object) -> None:
        """Notice what it is set to; then one pod less, or one more."""
        fate = self.fates.get(said["metadata"]["name"], "ready")
        status, wanted = said["status"], said["spec"]["replicas"]
        if fate == "ignored":
            return
        status["observedGeneration"] = said["metadata"]["generation"]
        if len(pods := self.pods(said)) > wanted:
            self.world.remove(pods[-1])
        elif len(pods) < wanted:
            if fate == "quota":
                self._refuse(said)
            else:
                self._make(said, "ready" if fate == "ready" else fate)
        self._count(said)

    def pods(self, said: Object) -> list[Object]:
        """Those of a Deployment or StatefulSet."""
        name, namespace = said["metadata"]["name"], said["metadata"]["namespace"]
        return [one for one in self.world.all("pods", namespace) if one["metadata"]["labels"].get("app") == name]

    def _owner(self, said: Object) -> Object:
        if said["kind"] == "StatefulSet":
            return said
        sets = self.world.all("replicasets", said["metadata"]["namespace"])
        return next(one for one in sets if one["metadata"]["ownerReferences"][0]["uid"] == said["metadata"]["uid"])

    def _make(self, said: Object, fate: Fate) -> None:
        owner, labels = self._owner(said), {"app": said["metadata"]["name"]}
        taken = {one["metadata"]["name"] for one in self.pods(said)}
        name = next(n for number in range(999) if (n := f"{owner['metadata']['name']}-{number}") not in taken)
        bound = None if fate == "unschedulable" else "gpu-1"
        made = self.world.add(
            pod(
                name, container(), namespace=said["metadata"]["namespace"], on=bound, labels=labels, owner=owner,
                phase="Running" if fate in ("ready", "crash", "unready") else "Pending", status=_status(fate),
            )
        )  # fmt: skip
        if fate == "unready":
            self.world.add(warning(made, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"))

    def _refuse(self, said: Object) -> None:
        message = QUOTA.format(name=said["metadata"]["name"])
        if said["kind"] == "Deployment":
            said["status"]["conditions"] = [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"},
            ]  # fmt: skip
        self.world.add(warning(self._owner(said), "FailedCreate", f"Error creating: {message}"))

    def _count(self, said: Object) -> None:
        pods, status = self.pods(said), said["status"]
        ready = [one for one in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(one))]
        # A server leaves out what is 0.
        for field, number in (("replicas", len(pods)), ("updatedReplicas", len(pods)), ("readyReplicas", len(ready))):
            status.pop(field, None)
            status |= {field: number} if number or (said["kind"] == "StatefulSet" and field == "replicas") else {}
        self.world.touch(said)


def _conditions(one: Object) -> list[Object]:
    found: list[Object] = one["status"].get("conditions", [])
    return found


def _status(fate: Fate) -> Object:
    """The status of a new pod."""
    base = {"name": "main", "image": "registry.test/image:1", "imageID": "", "restartCount": 0, "ready": False}
    if fate == "unschedulable":
        message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        return {"conditions": [_condition("PodScheduled", "False", "Unschedulable", message)]}
    if fate == "image":
        waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.test/image:1"'}
        return _with({**base, "state": {"waiting": waiting}})
    if fate == "crash":
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container=main"}
        last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        return _with({**base, "state": {"waiting": waiting}, "lastState": last, "restartCount": 4})
    if fate == "unready":
        return _with({**base, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
    running = {**base, "ready": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    return {**_with(running), "conditions": [_condition("Ready", "True", "", "")]}


def _with(container_status: Object) -> Object:
    conditions = [_condition("PodScheduled", "True", "", ""), _condition("Ready", "False", "ContainersNotReady", "")]
    return {"containerStatuses": [container_status], "conditions": conditions}


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    more = {"reason": reason, "message": message} if reason else {}
    return {"type": kind, "status": status, **more}
