# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gangs that stand in a queue, or are a step of a workflow. Whole rounds over a store, on each database."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made import known, node, observation, reply

from stoker.dispatch import RoundRequest, begin_round, finish_round
from stoker.dispatch.workflows import advance_workflow, ask_end
from stoker.store import JobRow, PartRow, Store, WorkflowRow

NODES = (node("n1", "gpu"), node("n2", "gpu"), node("n3", "gpu"))


class Fleet:
    """Three nodes with a GPU each, and rounds."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, 10.0
        with store.write() as transaction:
            for each in NODES:
                transaction.put_node(known(each.name, 1))

    def add(self, name: str, ranks: int = 1, **fields: Any) -> str:
        wants = {"ranks": ranks} if ranks > 1 else None
        spec = {"argv": ["true"], "gpus": 1}
        return self.store.add_job(
            name, spec, "gpu", now=self.now, ranks=ranks, wants=wants, **{"queue": "q", **fields}
        ).id

    def round(self) -> list[str]:
        """The jobs that it starts, each rank of a gang for itself."""
        self.now += 1
        asked = begin_round(self.store, NODES, RoundRequest(), self.now)
        orders = [order for each in asked.values() for order in each["orders"] if order["order"] == "start"]
        return sorted(order["spec"]["job"] for order in orders)

    def tell(self, job: str, state: str, **fields: Any) -> None:
        self.now += 1
        row = self.job(job)
        finish_round(self.store, {str(row.node): reply(observation(row, state, **fields))}, self.now)

    def job(self, job: str) -> JobRow:
        row = self.store.job(job)
        assert row is not None
        return row

    def run(self, *jobs: str) -> None:
        for job in jobs:
            self.tell(job, "running")

    def end(self, *jobs: str, state: str = "succeeded", **fields: Any) -> None:
        for job in jobs:
            self.tell(job, state, **{"exit_code": 0, **fields})


def both(gang: str) -> list[str]:
    return [gang, f"{gang}-1"]


@pytest.mark.accepts("V34", "D21")
def test_a_gang_takes_its_turn_and_nobody_behind_it_passes(store: Store) -> None:
    """One slot a GPU and node: two are taken, so the gang waits for one of them; the last one is not given away."""
    fleet = Fleet(store)
    store.queues.change("q", stop_on_failure=True)  # so that nothing is handed to a node ahead of its time
    first, second = fleet.add("first"), fleet.add("second")
    gang, behind = fleet.add("gang", 2), fleet.add("behind")
    assert fleet.round() == sorted([first, second])
    fleet.run(first, second)
    assert fleet.round() == []
    assert f"{gang} comes first on" in str(fleet.job(behind).detail)
    fleet.end(first)
    assert fleet.round() == both(gang)
    fleet.run(*both(gang))
    assert fleet.round() == [], "its ranks are in the slots of their nodes"
    fleet.end(second)
    assert fleet.round() == [behind]


@pytest.mark.accepts("V34", "D21")
@pytest.mark.parametrize("most", [1, 2])
def test_each_rank_counts_where_a_queue_counts_jobs(store: Store, most: int) -> None:
    """Also where fewer jobs may run than it has ranks: then it runs alone."""
    fleet = Fleet(store)
    store.queues.change("q", max_running=most)
    first, gang, behind = fleet.add("first"), fleet.add("gang", 2), fleet.add("behind")
    assert fleet.round() == [first]
    fleet.run(first)
    assert fleet.round() == [], "one more would be allowed with two, and nobody passes"
    assert f"queue q runs {most} at a time ({first})" in str(fleet.job(gang).detail)
    if most == 2:
        assert fleet.job(behind).detail == f"{gang} comes first in queue q"
    fleet.end(first)
    assert fleet.round() == both(gang)
    fleet.run(*both(gang))
    assert fleet.round() == []
    fleet.end(*both(gang))
    assert fleet.round() == [behind]


@pytest.mark.accepts("V34")
def test_a_paused_queue_keeps_its_gangs_and_one_that_fails_pauses_it(store: Store) -> None:
    fleet = Fleet(store)
    store.queues.change("q", stop_on_failure=True)
    store.queues.pause("q", "by ann")
    gang = fleet.add("gang", 2)
    assert fleet.round() == []
    assert fleet.job(gang).detail == "queue q is paused: by ann"
    store.queues.resume("q")
    assert fleet.round() == both(gang)
    fleet.run(*both(gang))
    fleet.end(f"{gang}-1", state="failed", exit_code=3)
    assert [queue.paused_reason for queue in store.queues.list()] == [f"{gang}-1 failed"]


@pytest.mark.accepts("D21")
def test_the_ranks_of_a_gang_move_together(store: Store) -> None:
    fleet = Fleet(store)
    a, gang, b, other = fleet.add("a"), fleet.add("gang", 2), fleet.add("b"), fleet.add("other", 2)

    def order() -> list[str]:
        return [row.id for row in store.queues.entries("q")]

    assert store.queues.move(f"{gang}-1", last=True) == 5
    assert order() == [a, b, *both(other), *both(gang)]
    assert store.queues.move(gang, before=f"{other}-1") == 3
    assert order() == [a, b, *both(gang), *both(other)]
    assert store.queues.move(b) == 1
    assert order() == [b, a, *both(gang), *both(other)]


@pytest.fixture
def flow(store: Store) -> Fleet:
    """A workflow of a gang and a step that needs it."""
    fleet = Fleet(store)
    spec = {"schema": "stoker.spec/1", "argv": ["true"], "outputs": []}
    plan = {
        "matrix": {}, "spec": spec, "later": [], "name": "w", "target": "gpu", "retries": 0, "retry_on": None,
        "template": None, "results": None, "queue": None, "priority": 0,
    }  # fmt: skip
    step: dict[str, Any] = {
        "needs": [], "when": None, "judged": [], "allow_failure": False, "max_parallel": None, "many": False,
        "outputs": ["path"], "parts": [{**plan, "wants": {"ranks": 2}}],
    }  # fmt: skip
    steps = {"gang": step, "next": {**step, "needs": ["gang"], "parts": [plan]}}
    with store.write() as transaction:
        number = transaction.event("workflow.submitted", 1.0)
        row = WorkflowRow(
            "w-2", number, "w", {"context": {}, "steps": steps}, "running", False, 0, 1.0, 1.0, None, None
        )
        transaction.workflows.add(row, [PartRow("w-2", key, 0, "waiting", None, None, None, 1.0) for key in steps])
        advance_workflow(store, transaction, row, 1.0)
    return fleet


def part(store: Store, step: str) -> PartRow:
    return next(part for part in store.workflows.parts("w-2") if part.step == step)


@pytest.mark.accepts("C46", "V34")
def test_a_step_is_over_when_all_its_ranks_are(store: Store, flow: Fleet) -> None:
    gang = str(part(store, "gang").job_id)
    assert flow.round() == both(gang)
    flow.run(*both(gang))
    flow.end(gang, outputs={"path": "/x"})
    assert part(store, "gang").state == "running", "rank 1 runs on"
    flow.end(f"{gang}-1", outputs={"path": "/y"})
    done = part(store, "gang")
    assert (done.state, (done.result or {})["outputs"]) == ("succeeded", {"path": "/x"})
    assert flow.round() == [part(store, "next").job_id]


@pytest.mark.accepts("C46", "V34")
def test_a_step_fails_with_the_rank_that_failed(store: Store, flow: Fleet) -> None:
    gang = str(part(store, "gang").job_id)
    flow.round()
    flow.run(*both(gang))
    flow.end(f"{gang}-1", state="failed", exit_code=7)
    assert part(store, "gang").state == "running", "rank 0 is yet to be stopped"
    flow.tell(gang, "cancelled")
    done = part(store, "gang")
    assert (done.state, (done.result or {})["exit_code"]) == ("failed", 7)
    assert part(store, "next").state == "skipped"


@pytest.mark.accepts("C47", "V34")
def test_a_cancel_stops_the_ranks_that_are_left(store: Store, flow: Fleet) -> None:
    gang = str(part(store, "gang").job_id)
    flow.round()
    flow.run(*both(gang))
    flow.end(gang)
    assert ask_end(store, "w-2", flow.now)
    assert [rank.stop_requested for rank in store.gang(gang)] == [None, "cancelled"]
    flow.tell(f"{gang}-1", "cancelled")
    assert (part(store, "gang").state, part(store, "next").state) == ("cancelled", "cancelled")


def test_a_workflow_that_is_over_can_be_removed(store: Store, flow: Fleet) -> None:
    gang = str(part(store, "gang").job_id)
    assert store.workflows.remove(["w-2", "nobody"], 99.0) == [], "it runs"
    flow.round()
    ask_end(store, "w-2", flow.now)
    for rank in both(gang):
        flow.tell(rank, "cancelled")
    assert store.workflows.remove(["w-2"], 99.0) == ["w-2"]
    assert (store.workflows.parts("w-2"), store.workflows.get("w-2")) == ([], None)
    assert [event.data["workflow"] for event in store.events(types=["workflow.removed"])] == ["w-2"]
    assert dataclasses.is_dataclass(store.job(gang)), "its jobs stay"
