# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Membership through whole rounds, on each database: what is written down, and what events tell of it."""

from __future__ import annotations

from typing import Any

import pytest
from made import observation, refused, reply

from stoker.dispatch import NodeInfo, NodeResult, RoundRequest, begin_round, decisions, finish_round
from stoker.dispatch.apply import apply_change
from stoker.dispatch.members import decide
from stoker.dispatch.membership import Rules
from stoker.dispatch.observations import given_up
from stoker.errors import UsageError
from stoker.store import JobRow, MemberRow, Store, open_store

NODES = (NodeInfo("n1", ("all",)), NodeInfo("n2", ("all",)))
FOUND = NodeInfo("n3", ("all",), {"stoker_needs_approval": True})
AWAY = {"n1": NodeResult(unreachable="Connection refused")}


def begin(store: Store, now: float, *more: NodeInfo, **request: Any) -> dict[str, dict[str, Any]]:
    return begin_round(store, (*NODES, *more), RoundRequest(**request), now)


def row_of(store: Store, job: str) -> JobRow:
    found = store.job(job)
    assert found is not None
    return found


def drain(store: Store, deadline: float, now: float, node: str = "n1") -> MemberRow:
    return decide(store, node, lambda row, _: decisions.drain(node, {}, row, "ada", deadline - now, now), now)


def events(store: Store, node: str = "n1") -> list[str]:
    return [event.type for event in store.events(node=node) if event.type.startswith("node.")]


def running(store: Store, **fields: Any) -> str:
    job = store.add_job("a", {"argv": ["true"]}, now=1.0, **{"target": "n1", **fields}).id
    finish_round(store, {"n1": reply()}, 1.5)
    begin(store, 2.0)
    finish_round(store, {"n1": reply(observation(row_of(store, job), "running"))}, 3.0)
    return job


@pytest.mark.accepts("C49")
def test_a_drained_node_gives_its_job_back_and_it_goes_on_elsewhere(store: Store) -> None:
    job = running(store, target="all", max_retries=1)
    finish_round(store, {"n2": reply()}, 4.0)
    assert drain(store, 100.0, 5.0).state == "draining"
    assert begin(store, 99.0)["n1"]["orders"] == [], "it may finish"
    (order,) = begin(store, 100.0)["n1"]["orders"]
    assert (order["order"], order["job"], order["attempt"]) == ("stop", job, 1)
    assert row_of(store, job).put_back == "n1 is drained"
    # Its node is away for a while: nothing changes, and nothing is started elsewhere.
    finish_round(store, AWAY, 101.0)
    before = row_of(store, job)
    assert list(begin(store, 102.0)) == ["n1"]
    assert (row_of(store, job), events(store)[-1]) == (before, "node.unreachable")
    finish_round(store, {"n1": reply(observation(before, "cancelled"))}, 103.0)
    waits = row_of(store, job)
    assert (waits.state, waits.node, waits.attempt, waits.retries_used) == ("queued", None, 1, 0)
    assert waits.detail == "attempt 1 was stopped: n1 is drained"
    assert events(store)[-1] == "node.drained"
    (order,) = begin(store, 104.0)["n2"]["orders"]
    assert (order["order"], order["attempt"]) == ("start", 2)
    told = [event.type for event in store.events(job_id=job)]
    assert told == ["job.queued", "job.starting", "job.running", "job.put_back", "job.requeued", "job.starting"]


@pytest.mark.accepts("C49")
def test_an_order_that_may_never_have_arrived_is_taken_back_first(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]}, now=1.0).id
    finish_round(store, {"n1": reply(), "n2": reply()}, 1.5)
    assert list(begin(store, 2.0)) == ["n1"]
    drain(store, 1000.0, 3.0)
    (order,) = begin(store, 4.0)["n1"]["orders"]
    assert order["order"] == "stop", "not started again"
    unknown = refused(row_of(store, job), "unknown_job", kind="stop")
    finish_round(store, {"n1": reply(orders=(unknown,))}, 5.0)
    assert list(begin(store, 6.0)) == ["n2"]


def test_a_node_without_jobs_is_drained_at_once_and_resumed(store: Store) -> None:
    assert drain(store, 100.0, 5.0).state == "drained"
    waits = store.add_job("a", {"argv": ["true"]}, target="n1").id
    assert begin(store, 6.0) == {}
    assert row_of(store, waits).detail == "n1 is drained: stoker node resume n1"
    decide(store, "n1", lambda row, _: decisions.resume("n1", {}, row, "ada", 7.0), 7.0)
    assert list(begin(store, 8.0)) == ["n1"]
    assert events(store) == ["node.draining", "node.drained", "node.resumed"]


@pytest.mark.accepts("C09")
def test_two_controllers_tell_once_that_a_node_went_and_came(store: Store, store_url: str) -> None:
    finish_round(store, {"n1": reply()}, 1.0)
    with open_store(store_url) as other:
        for now in (20.0, 35.0, 50.0, 65.0):
            finish_round(store, AWAY, now)
            finish_round(other, AWAY, now + 0.1)
        row = store.node("n1")
        assert row is not None
        assert (row.misses, row.offline_since) == (4, 50.0)
        waits = store.add_job("a", {"argv": ["true"]}, target="n1").id
        assert begin(store, 66.0)["n1"]["orders"] == [], "asked whether it is back, and no more"
        assert row_of(store, waits).detail == "n1 is offline"
        assert finish_round(other, {"n1": reply()}, 70.0).again, "a job waited for this"
        finish_round(store, {"n1": reply()}, 71.0)
    assert events(store) == ["node.unreachable", "node.offline", "node.reachable", "node.online"]
    assert next(event.data["offline_s"] for event in store.events(types=["node.online"])) == 20.0
    assert begin(store, 72.0)["n1"]["orders"][0]["order"] == "start"


@pytest.mark.accepts("B10", "C09")
def test_the_jobs_of_an_offline_node_stay_as_they_are(store: Store) -> None:
    job = running(store, max_retries=3)
    before = row_of(store, job)
    for now in (20.0, 40.0, 60.0, 80.0):
        finish_round(store, AWAY, now)
        begin(store, now + 1)
    assert "node.offline" in events(store)
    assert row_of(store, job) == before


@pytest.mark.accepts("C08")
def test_a_host_that_was_found_waits_for_approval_and_its_request_expires(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]}, target="n3").id
    assert begin(store, 10.0, FOUND) == {}
    assert row_of(store, job).detail == "n3 is pending: stoker node approve n3"
    row = store.members.get("n3")
    assert row is not None
    assert (row.state, row.source, row.expires_at) == ("pending", "announced", 310.0)
    for now in (309.0, 310.0, 311.0):
        begin(store, now, FOUND)
    with pytest.raises(UsageError, match="expired 2 s ago"):
        decide(store, "n3", lambda row, _: decisions.approve("n3", FOUND.vars, row, "ada", 312.0), 312.0)
    again = Rules(pending_s=60)
    decide(store, "n3", lambda *_: decisions.ask("n3", "announced", "ada", (), again, 313.0), 313.0)
    decide(store, "n3", lambda row, _: decisions.approve("n3", FOUND.vars, row, "ada", 372.0), 372.0)
    assert list(begin(store, 373.0, FOUND)) == ["n3"]
    assert events(store, "n3") == ["node.pending", "node.expired", "node.pending", "node.approved"]


@pytest.mark.accepts("C07")
def test_a_removed_node_gets_nothing_and_its_history_is_kept(store: Store) -> None:
    job = running(store)
    finish_round(store, {"n1": reply(observation(row_of(store, job), "succeeded"))}, 4.0)
    decide(store, "n1", lambda row, _: decisions.remove("n1", row, "inventory", "ada", 5.0), 5.0)
    waits = store.add_job("b", {"argv": ["true"]}, target="n1").id
    assert begin(store, 6.0, probe=True, nodes=("n1",)).keys() <= {"n2"}
    assert row_of(store, waits).detail == "n1 was removed: stoker node add n1"
    assert row_of(store, job).state == "succeeded"
    assert store.node("n1") is not None
    assert events(store) == ["node.removed"]


def test_a_look_at_what_a_round_would_do_decides_nothing(store: Store) -> None:
    assert begin_round(store, (FOUND,), RoundRequest(probe=True), 1.0, dry_run=True) == {}
    assert (store.members.list(), store.events()) == ([], [])


@pytest.mark.accepts("C49")
def test_what_waited_on_the_node_for_a_gpu_is_back_in_the_queue_with_its_event(store: Store) -> None:
    job = running(store)
    waits = store.add_job("b", {"argv": ["true"], "gpus": 1}, target="n1").id
    begin(store, 4.0)
    finish_round(store, {"n1": reply(observation(row_of(store, waits), "queued"))}, 5.0)
    assert (row_of(store, waits).state, row_of(store, waits).node) == ("queued", "n1")
    drain(store, 1000.0, 6.0)
    orders = [(order["order"], order["job"]) for order in begin(store, 7.0)["n1"]["orders"]]
    assert orders == [("stop", waits)], f"not {job}, which may finish"
    summary = finish_round(store, {"n1": reply(observation(row_of(store, waits), "cancelled"))}, 8.0)
    assert [(change["event"], change["to"]) for change in summary.changed] == [("job.requeued", "queued")]
    assert (row_of(store, waits).state, row_of(store, waits).node) == ("queued", None)


def test_a_node_is_not_drained_while_what_was_given_up_may_be_alive_there(store: Store) -> None:
    job = running(store)
    drain(store, 100.0, 5.0)
    store.request_stop(job, now=6.0)
    with store.write() as transaction:
        row, attempt = row_of(store, job), transaction.attempt(job, 1)
        assert attempt is not None
        apply_change(transaction, given_up(row, attempt, "no route", 7.0), 7.0)
    begin(store, 8.0)
    finish_round(store, AWAY, 9.0)
    assert [row.state for row in store.members.list()] == ["draining"]
    with pytest.raises(UsageError, match="busy"):
        decide(store, "n1", lambda row, busy: _refused(busy), 10.0)
    (order,) = begin(store, 11.0)["n1"]["orders"]
    assert order["order"] == "stop"
    finish_round(store, {"n1": reply(observation(row_of(store, job), "cancelled"))}, 12.0)
    assert [row.state for row in store.members.list()] == ["drained"]


def _refused(busy: frozenset[str]) -> decisions.Decision:
    raise UsageError(f"busy: {', '.join(busy)}" if busy else "nobody is there")
