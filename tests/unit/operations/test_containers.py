# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers whose engine or node does not answer: what is unknown is not told as none."""

from __future__ import annotations

from typing import Any

import pytest
from played import PlayedNodes

from stoker.errors import NodeError, UsageError
from stoker.operations import container_images, services
from stoker.operations.session import Session

SILENT = "docker ps failed: Cannot connect to the Docker daemon"


def has_none(nodes: PlayedNodes, unknown: str | None) -> None:
    reply: dict[str, Any] = {"containers": [], "containers_unknown": unknown, "user_id": 0}
    nodes.answers = lambda playbook, node, request: {"reply": reply}


@pytest.mark.accepts("D36")
@pytest.mark.parametrize("to", [None, "25.04-py3"])
def test_an_upgrade_says_why_there_is_no_container(session: Session, nodes_played: PlayedNodes, to: str | None) -> None:
    has_none(nodes_played, None)
    with pytest.raises(UsageError, match="there is no container 'web' on n1"):
        container_images.upgrade(session, "n1", "web", to=to)
    has_none(nodes_played, SILENT)
    with pytest.raises(NodeError, match="whether there is a container 'web' is not known: docker ps failed"):
        container_images.upgrade(session, "n1", "web", to=to)
    nodes_played.away["n1"] = "Connection refused"
    with pytest.raises(NodeError, match="n1: Connection refused"):
        container_images.upgrade(session, "n1", "web", to=to)


@pytest.mark.accepts("D36")
def test_newer_images_of_an_engine_that_is_silent_are_unknown(session: Session, nodes_played: PlayedNodes) -> None:
    has_none(nodes_played, SILENT)
    told = container_images.check_updates(session, "n1")
    assert (told.updates, told.unknown, told.exit_code) == ((), {"n1": SILENT}, 1)
    has_none(nodes_played, None)
    assert container_images.check_updates(session, "n1").exit_code == 0


def test_a_service_is_not_refused_for_a_container_that_may_be_there(
    session: Session, nodes_played: PlayedNodes
) -> None:
    reply = {"services": [], "now": 0.0, "containers": [], "containers_unknown": SILENT, "user_id": 0}
    nodes_played.answers = lambda playbook, node, request: {"reply": reply}
    with pytest.raises(NodeError, match="whether there is a container 'box' is not known: docker ps failed"):
        services.start(session, "n1", "web", ["serve"], health="http://127.0.0.1:1/", container="box")
