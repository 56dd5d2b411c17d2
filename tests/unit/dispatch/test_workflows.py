# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows in whole rounds, on each database: what is made is made once, whoever is killed when."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from made import node, observation, reply

from stoker.dispatch import RoundRequest, begin_round, finish_round
from stoker.dispatch.workflows import advance_workflow, advance_workflows
from stoker.store import PartRow, Store, WorkflowRow, open_store

NODES = (node("n1", "all"), node("n2", "all"))


class Flow:
    """A workflow in the store, and rounds for it."""

    def __init__(self, store: Store, **needs: str) -> None:
        self.store, self.now = store, 10.0
        steps = {key: _step(key, named) for key, named in needs.items()}
        with store.write() as transaction:
            number = transaction.event("workflow.submitted", 1.0)
            body = {"context": {}, "steps": steps}
            row = WorkflowRow("w-2222", number, "w", body, "running", False, 0, 1.0, 1.0, None, None)
            parts = [PartRow("w-2222", key, 0, "waiting", None, None, None, 1.0) for key in steps]
            transaction.workflows.add(row, parts)

    def begin(self, **request: Any) -> list[str]:
        self.now += 1
        requests = begin_round(self.store, NODES, RoundRequest(**request), self.now)
        return sorted(
            order["spec"]["name"] for r in requests.values() for order in r["orders"] if order["order"] == "start"
        )

    def tell(self, step: str, state: str, **fields: Any) -> bool:
        self.now += 1
        job = self.store.job(str(self.part(step).job_id))
        assert job is not None
        answer = {str(job.node): reply(observation(job, state, **fields))}
        return finish_round(self.store, answer, self.now).again

    def part(self, step: str) -> PartRow:
        return next(part for part in self.store.workflows.parts("w-2222") if part.step == step)

    def states(self) -> dict[str, str]:
        return {part.step: part.state for part in self.store.workflows.parts("w-2222")}

    @property
    def row(self) -> WorkflowRow:
        found = self.store.workflows.get("w-2222")
        assert found is not None
        return found


def _step(key: str, needs: str) -> dict[str, Any]:
    spec = {"schema": "stoker.spec/1", "argv": ["true"], "outputs": []}
    plan = {
        "matrix": {}, "spec": spec, "later": [], "name": f"w.{key}", "target": "n1", "retries": 0, "retry_on": None,
        "template": None, "results": None, "queue": None, "priority": 0,
    }  # fmt: skip
    return {
        "needs": needs.split(), "when": None, "judged": [], "allow_failure": False, "max_parallel": None, "many": False,
        "outputs": ["path"], "parts": [plan],
    }  # fmt: skip


@pytest.mark.accepts("C46")
def test_rounds_of_anybody_bring_a_workflow_to_its_end(store: Store) -> None:
    flow = Flow(store, a="", b="a", c="a", d="b c")
    assert flow.begin() == ["w.a"]
    assert flow.tell("a", "succeeded", exit_code=0, outputs={"path": "/x"}, tail="bye\n", elapsed_s=2.0)
    assert flow.states() == {"a": "succeeded", "b": "running", "c": "running", "d": "waiting"}
    assert (flow.part("a").result or {})["outputs"] == {"path": "/x"}
    assert (flow.part("a").result or {})["stdout"] == "bye\n"
    assert flow.begin() == ["w.b", "w.c"]
    job = store.job(str(flow.part("b").job_id))
    assert job is not None
    assert job.spec["labels"] == {"workflow": "w-2222", "step": "b"}
    assert not flow.tell("c", "succeeded", exit_code=0)
    assert flow.tell("b", "succeeded", exit_code=0)
    assert flow.begin() == ["w.d"]
    flow.tell("d", "succeeded", exit_code=0)
    assert (flow.row.state, flow.row.ended_at) == ("succeeded", flow.now)
    store.delete_jobs([row.id for row in store.jobs()])
    assert (flow.part("a").result or {})["elapsed_s"] == 2.0, "what became of it outlives its job"
    kinds = [event.type for event in store.events() if not event.type.startswith(("job.", "node."))]
    assert kinds == ["workflow.submitted", *["step.succeeded"] * 4, "workflow.succeeded"]


def test_a_round_that_only_asks_makes_nothing(store: Store) -> None:
    flow = Flow(store, a="")
    flow.begin(mode="observe")
    begin_round(store, NODES, RoundRequest(), 20.0, dry_run=True)
    assert (flow.states(), store.jobs()) == ({"a": "waiting"}, [])


@pytest.mark.accepts("C46")
def test_a_controller_that_is_killed_while_it_makes_jobs_makes_none_or_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(store, a="", b="", c="")
    plain, made = Store.add_job, list[str]()

    def killed(self: Store, name: str, *args: Any, **more: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(name)
        return plain(self, name, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add_job", killed)
        with pytest.raises(KeyboardInterrupt):
            flow.begin()
    assert len(made) == 2
    assert (set(flow.states().values()), store.jobs()) == ({"waiting"}, [])
    assert flow.begin() == ["w.a", "w.b", "w.c"]
    assert len(store.jobs()) == 3


@pytest.mark.accepts("C46")
def test_controllers_at_once_make_each_job_once(store_url: str) -> None:
    with open_store(store_url) as store:
        flow = Flow(store, **{f"s{n}": "" for n in range(8)})
        wrong: list[Exception] = []

        def rounds() -> None:
            try:
                with open_store(store_url) as own:
                    for _ in range(5):
                        begin_round(own, NODES, RoundRequest(), 20.0)
            except Exception as problem:  # noqa: BLE001  told by the test
                wrong.append(problem)

        threads = [threading.Thread(target=rounds) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert sorted(job.name for job in store.jobs()) == sorted(f"w.s{n}" for n in range(8))
        assert set(flow.states().values()) == {"running"}


def test_a_job_that_cannot_be_made_fails_its_step_and_holds_up_nobody(store: Store) -> None:
    flow = Flow(store, a="", b="a", other="")
    body = dict(flow.row.body)
    body["steps"]["a"]["parts"][0]["spec"]["argv"] = ["echo", "a\0b"]
    with store.write() as transaction:
        transaction.workflows.change("w-2222", {"body": body})
    assert flow.begin() == ["w.other"]
    assert flow.states() == {"a": "failed", "b": "skipped", "other": "running"}
    assert str(flow.part("a").detail).startswith("it could not be begun: the job cannot be stored: ")


def test_a_step_may_stand_in_a_queue(store: Store) -> None:
    flow = Flow(store, a="", b="", c="")
    body = dict(flow.row.body)
    for step in body["steps"].values():
        step["parts"][0]["queue"] = "night"
    body["steps"]["c"]["parts"][0]["priority"] = 5
    with store.write() as transaction:
        transaction.workflows.change("w-2222", {"body": body})
    assert flow.begin() == ["w.c"]
    assert [row.name for row in store.queues.entries("night")] == ["w.c", "w.a", "w.b"]


def test_a_workflow_that_is_cancelled_is_over_when_its_jobs_are(store: Store) -> None:
    flow = Flow(store, a="", b="a")
    flow.begin()
    with store.write() as transaction:
        transaction.workflows.change("w-2222", {"stop_requested": True})
        advance_workflow(store, transaction, replace(flow.row, stop_requested=True), 30.0)
    assert (flow.states(), flow.row.state) == ({"a": "running", "b": "cancelled"}, "running")
    job = store.job(str(flow.part("a").job_id))
    assert job is not None
    assert job.stop_requested == "cancelled"
    flow.tell("a", "cancelled")
    assert flow.row.state == "cancelled"


def test_one_that_waits_in_the_store_is_cancelled_at_once(store: Store) -> None:
    flow = Flow(store, a="", b="a")
    with store.write() as transaction:
        advance_workflows(store, transaction, 2.0)
        transaction.workflows.change("w-2222", {"stop_requested": True})
        advance_workflows(store, transaction, 3.0)
    assert (flow.states(), flow.row.state) == ({"a": "cancelled", "b": "cancelled"}, "cancelled")


def test_a_job_that_somebody_stops_is_no_success(store: Store) -> None:
    flow = Flow(store, a="", b="a")
    with store.write() as transaction:
        advance_workflows(store, transaction, 2.0)
    store.request_stop(str(flow.part("a").job_id), now=3.0)
    flow.begin()
    assert (flow.states(), flow.row.state) == ({"a": "cancelled", "b": "skipped"}, "cancelled")


@pytest.mark.accepts("C50")
def test_workflows_are_counted_chosen_and_paged_by_the_database(store: Store) -> None:
    with store.write() as transaction:
        for number in range(25):
            state = ("running", "failed")[number % 2]
            row = WorkflowRow(f"w-{number:04}", number, f"n{number % 3}", {}, state, False, 0, number, 0.0, None, None)
            part = PartRow(row.id, "a", 0, "waiting", None, None, None, 0.0)
            transaction.workflows.add(row, [part, replace(part, step="b", state="failed")])
    workflows = store.workflows
    assert [row.number for row in workflows.page(limit=3, offset=2)] == [22, 21, 20]
    assert [row.number for row in workflows.page(("failed",), "n1", 6.0)] == [19, 13, 7]
    assert workflows.count(("failed",), "n1", 6.0) == 3
    assert workflows.count() == 25
    assert workflows.counts(["w-0001", "w-0002"])["w-0002"] == {"waiting": 1, "failed": 1}
    assert len(workflows.running()) == 13
