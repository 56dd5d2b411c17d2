# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole lives of jobs under whatever nodes and networks do: orders lost, answers lost, late, twice, reboots, stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from made import node
from simulated import Ledger, SimulatedNode

from stoker.dispatch import NodeResult
from stoker.dispatch.membership import Rules
from stoker.dispatch.nodes import missed
from stoker.store import FINISHED_STATES, QueueRow

NAMES = ("n1", "n2", "n3")
INVENTORY = tuple(node(name, "all", "gpu") for name in NAMES)
FATES = ("answers", "answers late", "answer lost", "order lost", "order late")


class Fleet(RuleBasedStateMachine):
    """Real planner, real rules; nodes and store as values."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now = 1000.0
        self.late: list[tuple[str, NodeResult]] = []
        self.orders: list[tuple[str, Any, list[str]]] = []
        self.stopped: set[str] = set()

    @initialize(gpus=st.tuples(*[st.integers(0, 3)] * 3), most=st.none() | st.integers(1, 3), stop=st.booleans())
    def begin(self, gpus: tuple[int, int, int], most: int | None, stop: bool) -> None:
        self.nodes = {name: SimulatedNode(name, count) for name, count in zip(NAMES, gpus, strict=True)}
        self.ledger.queues["q"] = QueueRow("q", most, stop, None, None, 0.0)

    @rule(
        where=st.sampled_from([None, "gpu", *NAMES]), gpus=st.integers(0, 3), retries=st.integers(0, 2),
        priority=st.integers(0, 1), queue=st.sampled_from([None, "q"]),
    )  # fmt: skip
    def add(self, where: str | None, gpus: int, retries: int, priority: int, queue: str | None) -> None:
        if where in NAMES:
            gpus = min(gpus, self.nodes[where].gpus)  # it would wait there for ever, and fill its queue
        number = len(self.ledger.jobs) + 1
        self.ledger.add(number, target=where, gpus=gpus, max_retries=retries, priority=priority, queue=queue)

    @rule(data=st.data())
    def round(self, data: st.DataObject) -> None:
        made = self.ledger.planned(INVENTORY, self.now)
        for name, jobs in made.observe.items():
            orders = list(made.orders.get(name, ()))
            self.asked(name, orders, list(jobs), data.draw(st.sampled_from(FATES), label=name))

    def asked(self, name: str, orders: list[Any], jobs: list[str], fate: str) -> None:
        if fate in ("order lost", "order late"):
            if fate == "order late":
                self.orders.append((name, orders, jobs))
            self.ledger.nodes[name] = missed(self.ledger.nodes.get(name), name, "no answer", self.now, Rules())
            return
        result = self.nodes[name].ask(orders, jobs)
        if fate == "answers":
            self.record(name, result)
        elif fate == "answers late":
            self.late.append((name, result))

    def record(self, name: str, result: NodeResult) -> None:
        self.ledger.record(name, result, self.now)
        after = self.ledger.everything()
        self.ledger.record(name, result, self.now)
        events = after[2]
        assert self.ledger.everything()[2] == events, "the same answer twice told something twice"
        assert states(self.ledger.everything()) == states(after), "the same answer twice changed something twice"

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def a_late_answer_comes(self, data: st.DataObject) -> None:
        self.record(*self.late[data.draw(st.integers(0, len(self.late) - 1))])

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def a_late_order_comes(self, data: st.DataObject) -> None:
        """From a controller that was stopped in the middle of a round, and woke."""
        name, orders, jobs = self.orders.pop(data.draw(st.integers(0, len(self.orders) - 1)))
        # A stop that was carried out closes the attempt on the node (see the conformance suite).
        open_ones = [order for order in orders if not self.closed(name, order)]
        self.late.append((name, self.nodes[name].ask(open_ones, jobs)))

    def closed(self, name: str, order: Any) -> bool:
        if order["order"] != "start":
            return False
        row = self.ledger.jobs[order["spec"]["job"]]
        return row.state == "cancelled" and (row.id, order["attempt"]) not in self.nodes[name].processes

    @rule(data=st.data(), code=st.sampled_from([0, 0, 1]))
    def a_command_ends(self, data: st.DataObject, code: int) -> None:
        running = [(n, key) for n in self.nodes.values() for key, p in n.processes.items() if p.state == "running"]
        if running:
            where, key = data.draw(st.sampled_from(running))
            where.end(key, code)
            where.settle()

    @rule(name=st.sampled_from(NAMES))
    def reboot(self, name: str) -> None:
        self.nodes[name].reboot()

    @rule(seconds=st.sampled_from([1.0, 3.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        rows = self.ledger.unfinished
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        self.stopped.add(row.id)
        if row.state == "queued" and row.node is None:
            self.ledger.change_job(row, {"state": "cancelled", "stop_requested": "cancelled"})
        else:
            self.ledger.change_job(row, {"stop_requested": "cancelled"})

    @invariant()
    def no_job_has_two_live_attempts(self) -> None:
        for row in self.ledger.jobs.values():
            live = [n for (of, n), found in self.ledger.attempts.items() if of == row.id and found.live]
            assert live in ([], [row.attempt]), f"{row.id}: {live}"
            if row.state in FINISHED_STATES:
                assert not live

    @invariant()
    def no_job_runs_twice_at_the_same_time(self) -> None:
        running: dict[str, list[str]] = {}
        for name, simulated in getattr(self, "nodes", {}).items():
            assert simulated.used <= simulated.gpus
            for (job, _), process in simulated.processes.items():
                if process.live:
                    running.setdefault(job, []).append(name)
        assert all(len(names) == 1 for names in running.values()), running

    @invariant()
    def no_node_is_promised_more_gpus_than_it_has(self) -> None:
        for row in self.ledger.unfinished:
            if row.node is not None and row.target not in NAMES:
                known = self.ledger.nodes.get(row.node)
                if known is not None and "gpus" in known.facts:
                    assert row.spec["gpus"] <= self.nodes[row.node].gpus

    @invariant()
    def every_attempt_was_told_of(self) -> None:
        claims = [(job, attempt) for kind, job, attempt in self.ledger.events if kind == "job.starting"]
        # The claim and what a node shows of it later have the same name.
        assert set(claims) >= set(self.ledger.attempts)

    def teardown(self) -> None:
        """Calm weather: every node answers, every command ends well. Every job ends, or says what it waits for."""
        if not hasattr(self, "nodes"):
            return
        for _ in range(6 * len(self.ledger.jobs) + 6):
            self.ledger.queues["q"] = replace(self.ledger.queues["q"], paused_at=None)
            self.now += 100.0
            made = self.ledger.planned(INVENTORY, self.now)
            for name, jobs in made.observe.items():
                self.asked(name, list(made.orders.get(name, ())), list(jobs), "answers")
            for simulated in self.nodes.values():
                for key, process in list(simulated.processes.items()):
                    if process.state == "running":
                        simulated.end(key, 0)
                simulated.settle()
            self.no_job_has_two_live_attempts()
            self.no_job_runs_twice_at_the_same_time()
        for row in self.ledger.unfinished:
            can = [n for n in self.nodes.values() if row.target in (None, "gpu", n.name) and n.gpus >= row.spec["gpus"]]
            assert not can, f"{row.id} could run on {can[0].name} and does not: {row.state}, {row.detail}"
            assert row.detail, f"{row.id} waits and does not say for what"


Fleet.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def states(everything: Any) -> Any:
    jobs, attempts, _, queues = everything
    plain = {id_: replace(row, updated_at=0.0) for id_, row in jobs.items()}
    seen = {key: (row.state, row.reason, row.exit_code) for key, row in attempts.items()}
    return plain, seen, {name: queue.paused for name, queue in queues.items()}


@pytest.mark.accepts("B10", "C11")
class TestFleet(Fleet.TestCase):  # type: ignore[misc,name-defined]
    pass
