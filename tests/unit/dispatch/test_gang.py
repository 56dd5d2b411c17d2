# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gangs: all ranks start or none, and they end together. Whole rounds over a store, on each database."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made import known, node, observation, refused, reply

from stoker.config import Placement
from stoker.dispatch import NodeInfo, NodeResult, RoundRequest, RoundSummary, begin_round, finish_round
from stoker.dispatch.gang import address_of
from stoker.dispatch.leases import Clock, Lease
from stoker.store import GANG_AGAIN, GANG_OVER, JobRow, Store

NODES = (
    NodeInfo("n1", ("gpu",), {"ansible_host": "10.0.0.1", "stoker_address": "192.168.0.1"}),
    NodeInfo("n2", ("gpu",), {"ansible_host": "10.0.0.2"}),
    NodeInfo("n3", ("gpu",), {}),
)


class Gang:
    """A gang of two with a GPU each, on nodes with one GPU each, and rounds at moments of the test's choosing."""

    def __init__(self, store: Store, ranks: int = 2, gpus: int = 1, on: str = "gpu", **fields: Any) -> None:
        self.store = store
        with store.write() as transaction:
            for each in NODES:
                transaction.put_node(known(each.name, 1))
        spec = {"argv": ["true"], "gpus": gpus, "env": {"LR": "1"}}
        self.id = store.add_job("g", spec, on, now=1.0, ranks=ranks, wants={"ranks": ranks}, **fields).id

    @property
    def ranks(self) -> list[JobRow]:
        return self.store.gang(self.id)

    @property
    def states(self) -> list[tuple[str, int, str | None]]:
        return [(job.state, job.attempt, job.node) for job in self.ranks]

    def begin(self, now: float, **request: Any) -> dict[str, list[dict[str, Any]]]:
        asked = begin_round(self.store, NODES, RoundRequest(**request), now)
        return {name: each["orders"] for name, each in asked.items()}

    def tell(self, now: float, rank: int, state: str, **fields: Any) -> RoundSummary:
        job = self.ranks[rank]
        return finish_round(self.store, {str(job.node): reply(observation(job, state, **fields))}, now)

    def run(self) -> None:
        self.begin(10.0)
        for rank in range(len(self.ranks)):
            self.tell(11.0, rank, "running")


@pytest.mark.accepts("V34")
def test_all_ranks_are_claimed_at_once_and_told_of_each_other(store: Store) -> None:
    gang = Gang(store)
    assert [(job.id, job.gang, job.rank) for job in gang.ranks] == [(gang.id, gang.id, 0), (f"{gang.id}-1", gang.id, 1)]
    orders = gang.begin(10.0)
    told = {name: order["spec"]["env"] for name, (order,) in orders.items()}
    port = told["n1"]["MASTER_PORT"]
    assert 20000 <= int(port) < 30000
    common = {"LR": "1", "MASTER_ADDR": "192.168.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
              "LOCAL_RANK": "0", "STOKER_GANG": gang.id}  # fmt: skip
    assert told == {
        "n1": {**common, "RANK": "0", "NODE_RANK": "0"}, "n2": {**common, "RANK": "1", "NODE_RANK": "1"}
    }  # fmt: skip
    assert gang.states == [("starting", 1, "n1"), ("starting", 1, "n2")]
    # Never confirmed: ordered again, with the same words.
    assert gang.begin(11.0) == orders
    assert [job.spec["env"] for job in gang.ranks] == [{"LR": "1"}] * 2


@pytest.mark.accepts("V34")
def test_no_rank_starts_before_all_can(store: Store) -> None:
    other = store.add_job("busy", {"argv": ["true"], "gpus": 1}, "n1", now=0.5)
    gang = Gang(store, ranks=3)
    assert set(gang.begin(10.0)) == {"n1"}, "the other job only"
    assert gang.states == [("queued", 0, None)] * 3
    why = f"needs 3 nodes at once, 2 have room: no GPU free on n1 (1 of 1 held by {other.id})"
    assert {job.detail for job in gang.ranks} == {why}
    finish_round(store, {"n1": reply(observation(store.job(other.id), "succeeded"))}, 11.0)
    gang.begin(12.0)
    assert gang.states == [("starting", 1, "n1"), ("starting", 1, "n2"), ("starting", 1, "n3")]


def test_what_can_never_be_holds_nothing_and_is_told(store: Store) -> None:
    gang = Gang(store, ranks=2, gpus=2)
    gang.begin(10.0)
    assert gang.ranks[0].detail == "needs 2 GPUs: n1 has 1; n2 has 1; n3 has 1"
    four = Gang(store, ranks=4)
    four.begin(11.0)
    assert four.ranks[3].detail is not None
    assert four.ranks[3].detail.startswith("needs 4 nodes at once, only n1, n2, n3 can take it")
    assert (four.ranks[0].passed, four.ranks[0].blocked_since) == (None, None)


@pytest.mark.accepts("V34")
def test_a_gang_waits_on_no_node_and_others_pass_only_so_often(store: Store) -> None:
    """Its nodes are held for it in the end, as for any big job."""
    for name in ("n1", "n2"):
        busy = store.add_job("busy", {"argv": ["true"], "gpus": 1}, name, now=0.5)
    gang = Gang(store, ranks=2)
    rules = {"placement": Placement(pass_limit=1)}
    gang.begin(10.0, **rules)
    late = store.add_job("late", {"argv": ["true"], "gpus": 1}, "n3", now=11.0)
    gang.begin(11.0, **rules)
    found = store.job(late.id)
    assert found is not None
    assert (found.node, gang.ranks[0].passed) == ("n3", 1)
    finish_round(store, {"n3": reply(observation(found, "succeeded"))}, 12.0)
    next_one = store.add_job("late", {"argv": ["true"], "gpus": 1}, "n3", now=12.0)
    gang.begin(12.0, **rules)
    held = store.job(next_one.id)
    assert held is not None
    assert held.detail == f"n3 is held for {gang.id}, which was passed once"
    running = store.job(busy.id)
    assert running is not None
    finish_round(store, {"n2": reply(observation(running, "succeeded"))}, 13.0)
    gang.begin(14.0, **rules)
    assert [job.node for job in gang.ranks] == ["n2", "n3"]


@pytest.mark.accepts("V34")
def test_one_rank_fails_and_all_are_stopped(store: Store) -> None:
    gang = Gang(store)
    gang.run()
    summary = gang.tell(12.0, 1, "failed", reason="code", exit_code=3)
    assert [change["event"] for change in summary.changed] == ["job.failed", "job.stop_requested"]
    (order,) = gang.begin(13.0)["n1"]
    assert (order["order"], order["job"], order["attempt"]) == ("stop", gang.id, 1)
    gang.tell(14.0, 0, "cancelled")
    assert [(job.state, job.reason) for job in gang.ranks] == [("failed", "gang"), ("failed", "code")]
    assert gang.ranks[0].detail == f"stopped: another rank of its gang {gang.id} is over"
    assert gang.begin(15.0) == {}


@pytest.mark.accepts("V34")
@pytest.mark.parametrize("end", ["cancelled", "failed", "succeeded"])
def test_all_ranks_begin_again_with_new_numbers(store: Store, end: str) -> None:
    """Also where the other rank ends by itself before the order reaches it."""
    gang = Gang(store, max_retries=1)
    gang.run()
    gang.tell(12.0, 0, "lost", reason="reboot")
    assert gang.ranks[1].stop_requested == GANG_AGAIN
    assert gang.begin(20.0)["n2"][0]["order"] == "stop"
    assert gang.ranks[0].detail == "waits for rank 1 to end on n2"
    gang.tell(21.0, 1, end, reason="code" if end == "failed" else None)
    assert gang.states == [("queued", 1, None), ("queued", 1, None)]
    assert {job.retries_used for job in gang.ranks} == {1}
    orders = gang.begin(30.0)
    assert [(order["order"], order["attempt"]) for (order,) in orders.values()] == [("start", 2), ("start", 2)]
    for rank in (0, 1):
        gang.tell(31.0, rank, "running")
    gang.tell(32.0, 0, "failed", reason="code", exit_code=1)
    gang.begin(33.0)
    gang.tell(34.0, 1, "cancelled")
    assert [(job.state, job.reason) for job in gang.ranks] == [("dead", "code"), ("failed", "gang")]


def test_a_gang_of_which_a_rank_ended_well_does_not_begin_again(store: Store) -> None:
    gang = Gang(store, max_retries=3)
    gang.run()
    gang.tell(12.0, 0, "succeeded")
    gang.tell(13.0, 1, "failed", reason="code", exit_code=4)
    rank = gang.ranks[1]
    assert (rank.state, rank.reason, rank.exit_code, rank.node, rank.retries_used) == ("failed", "code", 4, "n2", 0)
    assert rank.detail == "another rank is over already, so that it does not begin again"
    assert gang.begin(60.0) == {}


@pytest.mark.accepts("V34")
def test_a_rank_that_does_not_begin_in_time_lets_go_of_what_the_others_hold(store: Store) -> None:
    """Somebody whom the store does not know has the GPU of n2: rank 0 gives its own back, and they begin again."""
    gang = Gang(store)
    gang.begin(10.0)
    gang.tell(11.0, 0, "running")
    gang.tell(11.0, 1, "queued", waiting={"needs": 1, "free": 0, "held_by": ["another user"]})
    assert [len(orders) for orders in gang.begin(610.0).values()] == [0, 0]
    gang.begin(611.0)
    assert {job.stop_requested for job in gang.ranks} == {GANG_AGAIN}
    orders = gang.begin(612.0)
    assert [order["order"] for (order,) in orders.values()] == ["stop", "stop"]
    for rank in (0, 1):
        gang.tell(613.0, rank, "cancelled")
    assert [(job.state, job.retries_used, job.node) for job in gang.ranks] == [("queued", 0, None)] * 2
    assert [order["attempt"] for (order,) in gang.begin(700.0).values()] == [2, 2]


@pytest.mark.accepts("V34")
@pytest.mark.parametrize("over", [0, 1])
def test_a_late_gang_of_which_a_rank_ended_well_is_over(store: Store, over: int) -> None:
    """It cannot begin again, and would hold what it has for ever."""
    gang = Gang(store)
    gang.begin(10.0)
    gang.tell(11.0, over, "running")
    gang.tell(12.0, over, "succeeded")
    gang.tell(12.0, 1 - over, "queued", waiting={"needs": 1, "free": 0, "held_by": ["another user"]})
    gang.begin(611.0)
    assert gang.ranks[1 - over].stop_requested == GANG_OVER
    ((order,),) = gang.begin(612.0).values()
    assert order["order"] == "stop"
    gang.tell(613.0, 1 - over, "cancelled")
    rank = gang.ranks[1 - over]
    assert (rank.state, rank.reason) == ("failed", "gang")
    assert gang.begin(700.0) == {}


@pytest.mark.accepts("V34")
def test_a_gang_does_not_begin_again_while_a_rank_may_be_alive(store: Store) -> None:
    """The folder of rank 1 is gone when it is to be stopped: nobody can say that it has ended."""
    gang = Gang(store, ranks=3, max_retries=3)
    gang.run()
    gang.tell(12.0, 0, "lost", reason="reboot")
    gang.begin(13.0)
    assert [job.stop_requested for job in gang.ranks] == [None, GANG_AGAIN, GANG_AGAIN]
    lost = {"order": "stop", "job": gang.ranks[1].id, "attempt": 1, "ok": False, "error": {"code": "unknown_job"}}
    finish_round(store, {"n2": reply(orders=(lost,))}, 14.0)
    states = [(job.state, job.reason, job.stop_requested) for job in gang.ranks]
    assert states == [("failed", "gang", None), ("lost", None, GANG_AGAIN), ("running", None, GANG_OVER)]
    gang.begin(15.0)
    gang.tell(16.0, 2, "cancelled")
    assert [(job.state, job.reason) for job in gang.ranks] == [("failed", "gang"), ("lost", None), ("failed", "gang")]
    assert gang.begin(100.0) == {}


def test_a_rank_that_its_node_refuses_ends_the_gang(store: Store) -> None:
    gang = Gang(store)
    gang.begin(10.0)
    gang.tell(11.0, 0, "running")
    finish_round(store, {"n2": reply(orders=(refused(gang.ranks[1], "no_space"),))}, 12.0)
    gang.begin(13.0)
    gang.tell(14.0, 0, "cancelled")
    assert [(job.state, job.reason) for job in gang.ranks] == [("failed", "gang"), ("failed", "start")]


@pytest.mark.accepts("V34")
def test_who_stops_one_stops_all_also_while_they_begin_again(store: Store) -> None:
    gang = Gang(store, max_retries=5)
    gang.run()
    gang.tell(12.0, 0, "failed", reason="code", exit_code=1)
    store.request_stop(f"{gang.id}-1", now=13.0)
    assert [(job.state, job.stop_requested) for job in gang.ranks] == [
        ("cancelled", "cancelled"), ("running", "cancelled")
    ]  # fmt: skip
    gang.begin(14.0)
    gang.tell(15.0, 1, "cancelled")
    assert [job.state for job in gang.ranks] == ["cancelled", "cancelled"]
    assert gang.begin(60.0) == {}


def test_a_round_for_one_rank_is_for_all(store: Store) -> None:
    gang = Gang(store)
    assert set(gang.begin(10.0, jobs=(f"{gang.id}-1",))) == {"n1", "n2"}
    assert gang.states == [("starting", 1, "n1"), ("starting", 1, "n2")]


def test_gangs_on_one_first_node_get_a_port_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one round, and those under way."""
    monkeypatch.setattr("stoker.dispatch.gang.PORTS", 3)
    gangs = [Gang(store, gpus=0, on="n1:n2"), Gang(store, gpus=0, on="n1:n2")]
    gangs[0].begin(10.0)
    gangs.append(Gang(store, gpus=0, on="n1:n2"))
    gangs[0].begin(11.0)
    told = [(rank.node, (rank.rank_env or {})["MASTER_PORT"]) for each in gangs for rank in each.ranks[:1]]
    assert {node for node, _ in told} == {"n1"}
    assert len({*told}) == 3
    assert {port for _, port in told} <= {"20000", "20001", "20002"}


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"stoker_address": "10.1.1.1", "ansible_host": "10.0.0.1"}, "10.1.1.1"),
        ({"ansible_host": "10.0.0.1"}, "10.0.0.1"),
        ({"ansible_host": "{{ ip }}"}, "n1"),
        ({}, "n1"),
    ],
)
def test_the_address_of_the_first_rank(variables: dict[str, str], address: str) -> None:
    assert address_of(dataclasses.replace(node("n1"), vars=variables)) == address


def test_what_somebody_gives_as_the_address_wins(store: Store) -> None:
    gang = Gang(store)
    other = store.add_job(
        "h", {"argv": ["true"], "env": {"MASTER_ADDR": "proxy", "MASTER_PORT": "1234"}}, "gpu", ranks=2,
        wants={"ranks": 2}, now=2.0,
    )  # fmt: skip
    orders = [order for orders in gang.begin(10.0).values() for order in orders]
    told = [order["spec"]["env"] for order in orders if order["spec"]["job"].startswith(other.id)]
    assert [(env["MASTER_ADDR"], env["MASTER_PORT"]) for env in told] == [("proxy", "1234")] * 2


@pytest.mark.accepts("V34")
@pytest.mark.parametrize("end", ["put back", "expired", "silent"])
def test_a_rank_that_leaves_its_node_takes_the_others_along(store: Store, end: str) -> None:
    """A node is drained, or a lease ran out (it says so, or is silent): no retry is used up; all begin again."""
    gang = Gang(store)
    gang.run()
    if end == "put back":
        with store.write() as transaction:
            transaction.change_job(gang.ranks[1], {"put_back": "n2 is drained"})
        assert [order["order"] for order in gang.begin(12.0)["n2"]] == ["stop"]
        gang.tell(13.0, 1, "cancelled")
    elif end == "expired":
        gang.tell(13.0, 1, "lost", reason="expired")
    else:
        with store.write() as transaction:
            lease = Lease(60.0, 1060.0, "boot-1", {"desk": 0.0}).row()
            transaction.change_attempt(gang.ranks[1].id, 1, {"lease": lease})
        gang.begin(12.0)
        silent = {"n1": reply(observation(gang.ranks[0], "running")), "n2": NodeResult(unreachable="no route")}
        summary = finish_round(store, silent, 13.0, clock=Clock("desk", 500.0))
        assert [each["event"] for each in summary.changed] == ["job.moved", "job.stop_requested"]
    assert gang.ranks[0].stop_requested == GANG_AGAIN
    gang.begin(14.0)
    gang.tell(15.0, 0, "cancelled")
    assert [(job.state, job.retries_used, job.put_back) for job in gang.ranks] == [("queued", 0, None)] * 2
    orders = [order for orders in gang.begin(100.0).values() for order in orders]
    assert [order["attempt"] for order in orders if order["order"] == "start"] == [2, 2]


@pytest.mark.parametrize("retries", [0, 3])
def test_a_rank_that_is_to_end_says_because_of_whom_until_it_has(store: Store, retries: int) -> None:
    """Its node sees a running job that is told to stop, and knows nothing of the other ranks."""
    gang = Gang(store, max_retries=retries)
    gang.run()
    gang.tell(12.0, 0, "failed", reason="code", exit_code=1)
    assert gang.ranks[1].detail == "rank 0 failed"
    gang.begin(13.0)
    gang.tell(14.0, 1, "running", detail=None)
    assert (gang.ranks[1].state, gang.ranks[1].detail) == ("running", "rank 0 failed")
    gang.tell(15.0, 1, "running", detail="process 7 does not end, not even by SIGKILL")
    assert gang.ranks[1].detail == "process 7 does not end, not even by SIGKILL"
