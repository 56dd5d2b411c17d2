# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What commands may do with nodes that nobody approved, and what `node add` refuses to write down."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations import membership, nodes, submit
from stoker.operations.session import Session
from stoker.store import MemberRow


@pytest.fixture
def found(nodes_played: PlayedNodes) -> PlayedNodes:
    """n2 is one that was found."""
    inventory = nodes_played._inventory
    marked = [replace(n, vars={"stoker_needs_approval": True}) if n.name == "n2" else n for n in inventory.nodes]
    nodes_played._inventory = replace(inventory, nodes=tuple(marked))
    return nodes_played


def decided(session: Session, state: str, name: str = "n2", **fields: Any) -> None:
    with session.store.write() as transaction:
        transaction.put_member(MemberRow(name, state, "announced", 1.0, **fields))
    session.__dict__.pop("inventory", None)


@pytest.mark.accepts("C08")
def test_commands_do_not_see_a_node_that_nobody_approved(session: Session, found: PlayedNodes) -> None:
    assert [node.name for node in session.inventory.nodes] == ["localhost", "n1"]
    assert session.inventory.match("gpus") == ["n1"]
    with pytest.raises(NotFound, match="n2 is pending") as refused:
        nodes.execute(session, "n2", ["true"])
    assert refused.value.next_step == "stoker node approve n2"
    for state, said in (("removed", "n2 was removed"), ("expired", "has expired")):
        decided(session, state)
        with pytest.raises(NotFound, match=said):
            session.inventory.match("n2")
    decided(session, "active")
    assert session.inventory.match("gpus") == ["n1", "n2"]


@pytest.mark.accepts("C08")
def test_a_job_for_it_waits_and_the_list_says_so(session: Session, found: PlayedNodes) -> None:
    assert submit.run(session, ["true"], on="n2").job.target == "n2"
    told = {node.name: node.membership for node in nodes.list_nodes(session).nodes}
    assert told == {"localhost": "active", "n1": "active", "n2": "pending"}
    decided(session, "draining", "n1", drain_deadline=time.time() + 60)
    shown = {member.name: (member.state, member.why_not) for member in membership.members(session).members}
    assert shown == {
        "localhost": ("active", None),
        "n1": ("draining", "n1 is being drained: stoker node resume n1"),
        "n2": ("pending", "n2 is pending: stoker node approve n2"),
    }


def test_attempts_that_were_put_back_are_no_retries(session: Session, nodes_played: PlayedNodes) -> None:
    job = session.store.add_job("a", {"argv": ["true"]}, "n1", 2).id
    nodes_played.show(job, "running", attempt=2)
    from stoker.operations.jobs import get

    assert (get(session, job).job.attempt, get(session, job).job.max_attempts) == (2, 4)


@pytest.mark.accepts("C07")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "where is spark?"),
        ({"host": "h", "port": 0}, "--port: 0"),
        ({"host": "h", "variable": {"ansible_become_password": "x"}}, "a secret does not belong"),
        ({"host": "h", "variable": {"a-b": "x"}}, "is no name for a variable"),
        ({"host": "{{ lookup('pipe', 'id') }}"}, "is not plain text"),
        ({"host": "h", "variable": {"x": "a\nb"}}, "is not plain text"),
        ({"host": "h", "group": ["a-b"]}, "--group"),
    ],
)
def test_what_is_not_added(
    session: Session, nodes_played: PlayedNodes, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    nodes_played.own_file = tmp_path / "stoker-nodes.yml"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=re.escape(said)):
        membership.add(session, "spark", **options)
    assert (session.store.members.list(), nodes_played.own_file.exists()) == ([], False)  # type: ignore[attr-defined]


@pytest.mark.accepts("C07")
def test_members_and_groups_are_not_added_and_jobs_hold_a_node(
    session: Session, nodes_played: PlayedNodes, tmp_path: Path
) -> None:
    nodes_played.own_file = tmp_path / "stoker-nodes.yml"  # type: ignore[attr-defined]
    for node, options, said in (
        ("n1", {}, "n1 is a member already: it is active"),
        ("n1", {"host": "h"}, "n1 is in inventory.yml already"),
        ("gpus", {"host": "h"}, "'gpus' is the name of a group"),
    ):
        with pytest.raises(UsageError, match=said):
            membership.add(session, node, **options)  # type: ignore[arg-type]
    job = session.store.add_job("a", {"argv": ["true"]}, "n1").id
    nodes_played.show(job, "running")
    with pytest.raises(UsageError, match=f"n1 may have jobs under way: {job}"):
        membership.remove(session, "n1")
    with pytest.raises(NotFound, match="Did you mean 'n1'"):
        membership.remove(session, "n11")
    assert session.store.members.list() == []


def test_a_store_that_cannot_be_read_shows_no_node_as_approved(session: Session, found: PlayedNodes) -> None:
    session._store_url = "sqlite:////proc/nope/x.db"
    with pytest.raises(StokerError, match="cannot be used"):
        session.inventory  # noqa: B018
