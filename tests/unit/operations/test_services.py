# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that wait for their node."""

from __future__ import annotations

import pytest
from played import PlayedNodes

from stoker.errors import NodeError, NotFound, StokerError
from stoker.operations import services
from stoker.operations.session import Session


@pytest.fixture
def waiting(session: Session, nodes_played: PlayedNodes) -> str:
    """The job of a service `web` that was submitted and has not reached n1."""
    nodes_played.answers = lambda playbook, node, request: {"reply": {"services": [], "now": 0.0}}
    with pytest.raises(StokerError, match="web has not reached n1"):
        services.start(session, "n1", "web", ["serve"], health="http://127.0.0.1:1/")
    with pytest.raises(StokerError, match="and waits for n1") as told:
        services.start(session, "n1", "web", ["serve"], health="http://127.0.0.1:1/")
    assert told.value.next_step is not None
    assert "stoker service stop n1 web takes it back" in told.value.next_step
    return session.store.jobs()[0].id


@pytest.mark.accepts("D38")
def test_one_that_waits_is_taken_back_and_that_is_well(session: Session, waiting: str) -> None:
    stopped = services.stop(session, "n1", "web")
    assert (stopped.exit_code, stopped.changed) == (0, True)
    assert (stopped.service.state, stopped.service.job) == ("stopped", waiting)
    row = session.store.job(waiting)
    assert row is not None
    assert row.state == "cancelled"
    with pytest.raises(NotFound, match="there is no service 'web' on n1"):
        services.stop(session, "n1", "web")


def test_what_a_node_that_is_away_has_is_not_known(session: Session, nodes_played: PlayedNodes, waiting: str) -> None:
    nodes_played.away["n1"] = "no route"
    with pytest.raises(NodeError, match="no route"):
        services.stop(session, "n1", "web")
    row = session.store.job(waiting)
    assert row is not None
    assert row.state == "cancelled"
