# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends that the suite runs on: a new one joins by an entry in BACKENDS."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conformance.backend import Backend
from testbed import Bed, PlainNode, PodmanNode, SshNode
from testbed.node_side import NodeSide
from testbed.podman import IMAGE


@dataclass(frozen=True)
class Entry:
    """A backend: the node that it is tried on, what a request says to choose it, what it promises beyond the rest."""

    node: Callable[[Bed], SshNode]
    request: dict[str, Any] = field(default_factory=dict)
    promises: frozenset[str] = frozenset()


class OneConnection:
    """A plain node that is asked over one kept connection: the suite asks some hundred times."""

    folder: Path

    def ssh_command(self, *more_options: str, user: str | None = None) -> list[str]:
        kept = ("-o", "ControlMaster=auto", "-o", f"ControlPath={self.folder}/cm", "-o", "ControlPersist=60")
        found: list[str] = super().ssh_command(*more_options, *kept, user=user)  # type: ignore[misc]
        return found


class Plain(OneConnection, PlainNode):
    pass


class Podman(OneConnection, PodmanNode):
    pass


def plain(bed: Bed) -> PlainNode:
    node = Plain(bed, "conform", gpus=1)
    node.start()
    return node


def podman(bed: Bed, **options: Any) -> PlainNode:
    node = Podman(bed, "conform-podman", gpus=1, **options)
    assert node.gpus
    node.cdi(node.gpus.uuids)
    node.start()
    return node


CONTAINER = {"backend": "container", "container_image": IMAGE, "container_engine": "podman"}
BACKENDS = {
    "process": Entry(plain, promises=frozenset({"job folder", "processes", "limits", "leavings", "sockets"})),
    "container": Entry(podman, CONTAINER, frozenset({"job folder", "processes", "limits", "sockets"})),
    # On a machine of version 1 control groups a rootless Podman can limit nothing.
    "rootless": Entry(partial(podman, rootless=True), CONTAINER, frozenset({"job folder", "processes"})),
}
# One of a package that is installed here, for its author: STOKER_BACKEND=polite pytest tests/conformance -k polite
if added := os.environ.get("STOKER_BACKEND"):
    BACKENDS[added] = Entry(plain, {"backend": added}, BACKENDS["process"].promises)

# What another entry tells nearly as well.
SLOW = ("rootless",)


@pytest.fixture(
    scope="session", params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in BACKENDS]
)
def entry(request: pytest.FixtureRequest) -> Entry:
    return BACKENDS[request.param]


@pytest.fixture(scope="session")
def backend_node(bed: Bed, entry: Entry) -> Iterator[SshNode]:
    node = entry.node(bed)
    yield node
    node.close()


@pytest.fixture(scope="session")
def backend(backend_node: SshNode, entry: Entry) -> Backend:
    """The backend, one for the whole run: tests tell their jobs apart by ``job``."""
    return Backend(NodeSide(backend_node, **entry.request), entry.promises)


@pytest.fixture
def fresh_backend(backend_node: SshNode, entry: Entry) -> Iterator[Backend]:
    """The backend with a state folder of its own, for tests that count all jobs of it."""
    side = NodeSide(backend_node, state_dir=f"{backend_node.state_dir}-{uuid.uuid4().hex[:8]}", **entry.request)
    yield Backend(side, entry.promises)
    live = side.ask("reconcile", observe={"jobs": "live"})["attempts"]
    stops = [{"order": "stop", "job": seen["job"], "attempt": seen["attempt"], "grace_s": 0} for seen in live]
    side.ask("reconcile", orders=stops)


@pytest.fixture
def job(request: pytest.FixtureRequest) -> str:
    """A job id of the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    return f"{name[:50].strip('-')}-{uuid.uuid4().hex[:6]}"
