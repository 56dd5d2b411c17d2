# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the cluster: objects, their versions, lists of them in pages, and who may do what."""

from __future__ import annotations

import base64
import copy
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from .objects import WHEN, Object, checked, scale
from .refusal import Refusal

# Resource: its group and version, kind, whether it lies in a namespace, and the fields that it can be selected by.
RESOURCES: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "nodes": ("v1", "Node", False, ("metadata.name", "spec.unschedulable")),
    "pods": (
        "v1", "Pod", True,
        ("metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"),
    ),
    "events": (
        "v1", "Event", True,
        ("metadata.name", "involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type"),
    ),
    "deployments": ("apps/v1", "Deployment", True, ("metadata.name", "metadata.namespace")),
    "replicasets": ("apps/v1", "ReplicaSet", True, ("metadata.name", "metadata.namespace")),
    "statefulsets": ("apps/v1", "StatefulSet", True, ("metadata.name", "metadata.namespace")),
}  # fmt: skip
BY_KIND = {kind: resource for resource, (_, kind, _, _) in RESOURCES.items()}
_TERM = re.compile(r"(!?)([\w./-]+)(?:\s+(in|notin)\s+\(([^)]*)\)|(==|!=|=)([\w./-]*))?")


class World:
    """The objects of one cluster. ``page``: the most items of a page, whatever is asked for."""

    def __init__(self) -> None:
        self.page = 500
        self.version = 1000
        self.objects: dict[tuple[str, str, str], Object] = {}
        self._snapshots: dict[str, list[Object]] = {}

    def add(self, said: Object) -> Object:
        """Have this object, with what a server fills in."""
        meta = said["metadata"]
        resource = BY_KIND[said["kind"]]
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", WHEN)
        if resource in ("deployments", "replicasets", "statefulsets"):
            meta.setdefault("generation", 1)
        self.objects[(resource, meta.get("namespace", ""), meta["name"])] = said
        return self.touch(said)

    def touch(self, said: Object) -> Object:
        """It was changed: a new version of it."""
        self.version += 1
        said["metadata"]["resourceVersion"] = str(self.version)
        return checked(said)

    def remove(self, said: Object) -> None:
        meta = said["metadata"]
        del self.objects[(BY_KIND[said["kind"]], meta.get("namespace", ""), meta["name"])]

    def get(self, resource: str, namespace: str, name: str) -> Object:
        found = self.objects.get((resource, namespace, name))
        if found is None:
            group = RESOURCES[resource][0].partition("/")[0]
            shown = f"{resource}.{group}" if "/" in RESOURCES[resource][0] else resource
            raise Refusal(404, f'{shown} "{name}" not found')
        return found

    def all(self, resource: str, namespace: str | None = None) -> list[Object]:
        """In the order of their names, as a server lists them."""
        items = sorted(self.objects.items())
        return [said for (kind, where, _), said in items if kind == resource and namespace in (None, where)]

    def listed(self, resource: str, namespace: str | None, query: Mapping[str, str]) -> Object:
        """A page of a list. All its pages are of the moment of the first."""
        following = query.get("continue", "")
        if following:
            token = _token(following)
            rest = self._snapshots.pop(token["key"], None)
            if rest is None:
                raise Refusal(410, "The provided continue parameter is too old to display a consistent list result.")
            version = token["rv"]
        else:
            found = self.all(resource, namespace)
            chosen = [one for one in found if _by_labels(one, query.get("labelSelector", ""))]
            fields = query.get("fieldSelector", "")
            rest = [copy.deepcopy(one) for one in chosen if _by_fields(resource, one, fields)]
            version = str(self.version)
        limit = int(query.get("limit") or 0) or len(rest) or 1
        count = min(limit, self.page)
        meta: Object = {"resourceVersion": version}
        if len(rest) > count:
            key = str(uuid.uuid4())
            self._snapshots[key] = rest[count:]
            meta["continue"] = base64.urlsafe_b64encode(json.dumps({"key": key, "rv": version}).encode()).decode()
            meta["remainingItemCount"] = len(rest) - count
        group, kind, _, _ = RESOURCES[resource]
        # A server leaves kind and version out of the items of a list.
        items = [{k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in rest[:count]]
        return {"kind": f"{kind}List", "apiVersion": group, "metadata": meta, "items": items}

    def forget_pages(self) -> None:
        """All continue tokens are too old from now on."""
        self._snapshots.clear()

    def patch_scale(self, of: Object, patch: Mapping[str, Any]) -> Object:
        """A merge patch of the subresource scale; with a resourceVersion only onto that version."""
        meta, spec = of["metadata"], patch.get("spec", {})
        known = {"apiVersion", "kind", "metadata", "spec"}
        if not set(patch) <= known or not set(spec) <= {"replicas"}:
            raise Refusal(400, f"strict decoding error: unknown field in {sorted(patch)}, {sorted(spec)}")
        version = patch.get("metadata", {}).get("resourceVersion")
        if version is not None and version != meta["resourceVersion"]:
            raise Refusal(
                409,
                f'Operation cannot be fulfilled on {BY_KIND[of["kind"]]}.apps "{meta["name"]}": '
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        replicas = spec.get("replicas")
        if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas < 2**31:
            raise Refusal(
                422, f'Scale.autoscaling "{meta["name"]}" is invalid: spec.replicas: Invalid value: {replicas}'
            )
        if replicas != of["spec"]["replicas"]:
            of["spec"]["replicas"] = replicas
            meta["generation"] += 1
            self.touch(of)
        return checked(scale(of))


def _token(text: str) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(base64.urlsafe_b64decode(text))
        return found
    except ValueError:
        raise Refusal(400, "continue key is not valid: invalid") from None


def _by_labels(said: Object, selector: str) -> bool:
    labels = said["metadata"].get("labels") or {}
    terms = re.split(r",(?![^(]*\))", selector) if selector else []
    for term in terms:
        found = _TERM.fullmatch(term.strip())
        if found is None:
            raise Refusal(400, f"unable to parse requirement: {term!r}")
        absent, key, among, values, sign, value = found.groups()
        has = labels.get(key)
        if among:
            fits = (has in [one.strip() for one in values.split(",")]) == (among == "in")
        elif sign:
            fits = (has == value) != (sign == "!=")
        else:
            fits = (has is None) == bool(absent)
        if not fits:
            return False
    return True


def _by_fields(resource: str, said: Object, selector: str) -> bool:
    for term in selector.split(",") if selector else []:
        found = re.fullmatch(r"([\w.]+)(==|!=|=)(.*)", term)
        if found is None:
            raise Refusal(400, f'invalid selector: "{term}"; can\'t understand it')
        if found[1] not in RESOURCES[resource][3]:
            raise Refusal(400, f"field label not supported: {found[1]}")
        value: Any = said
        for part in found[1].split("."):
            value = (value or {}).get(part)
        if (str(value if value is not None else "") == found[3]) == (found[2] == "!="):
            return False
    return True
