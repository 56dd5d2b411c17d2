# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is lost, late or cut off: a job never runs twice at a time, and goes on once its node answers or is gone.

Controllers and store are the real ones, the nodes are played; what they do about a lease is the nodes' own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made import node, observation, reply

from ansible_collections.stoker.fleet.plugins.module_utils import identity
from ansible_collections.stoker.fleet.plugins.module_utils import leases as on_node
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import NodeError
from stoker.dispatch import NodeResult, RoundRequest, begin_round, finish_round
from stoker.dispatch.leases import DRIFT, MARGIN_S, Clock
from stoker.store import JobRow, Store, open_store

LEASE_S, GRACE_S = 60.0, 10.0
# The longest that a node takes to see that a lease ran out, with the grace, and a little that these tests round off.
ENDING_S = GRACE_S + MARGIN_S - 0.1


@dataclass
class Attempt:
    """One attempt on a played node, with as much of a folder as leases need."""

    number: int
    files: dict[str, Any]
    state: str = "running"

    def finished(self) -> bool:
        return self.state != "running"

    def read(self, name: str) -> Any:
        return self.files.get(name)

    def write(self, name: str, content: Any) -> None:
        self.files[name] = content


@dataclass
class Node:
    """A played node: its clock runs by `rate`, and was `ahead` when the world began."""

    name: str
    rate: float
    ahead: float
    boot: int = 1
    attempts: dict[int, Attempt] = field(default_factory=dict)
    late: list[dict[str, Any]] = field(default_factory=list)

    def clock(self, real: float) -> float:
        return self.ahead + real * self.rate


class World:
    """One job, two nodes, two controllers, and a time that they all see differently."""

    def __init__(self, store: Store, number: int, drifts: list[float]) -> None:
        self.store, self.real = store, 1000.0
        self.nodes = [Node(f"{name}-{number}", 1 + drift, 5e4 * index) for index, (name, drift) in
                      enumerate(zip(("n1", "n2"), drifts[:2], strict=True))]  # fmt: skip
        self.controllers = [("desk", 1 + drifts[2]), ("lab", 1 + drifts[3])]
        self.group = f"g-{number}"
        spec = {"argv": ["true"], "grace_s": GRACE_S, "lease": {"policy": "move", "seconds": LEASE_S}}
        self.id = store.add_job("a", spec, self.group).id

    @property
    def job(self) -> JobRow:
        found = self.store.job(self.id)
        assert found is not None
        return found

    # -- the nodes ---------------------------------------------------------------------------------------------

    def seen_by(self, place: Node) -> None:
        """From now on the nodes' code runs on this one."""
        identity.boottime = lambda: place.clock(self.real)
        identity.boot_identity = lambda: {"boot_id": f"{place.name}/{place.boot}", "init_start": 1}

    def live(self) -> list[tuple[str, int]]:
        return [(place.name, a.number) for place in self.nodes for a in place.attempts.values() if not a.finished()]

    def settled(self) -> bool:
        """Whether nothing is left to do."""
        left = any(row.stop_due for row in self.store.attempts(self.id))
        running = self.live() == [(self.job.node, self.job.attempt)] and self.job.state == "running"
        return not left and (self.job.finished or running)

    def pass_time(self, seconds: float) -> None:
        """Time passes; a node ends what has no lease, as late as it may."""
        self.real += seconds
        for place in self.nodes:
            self.seen_by(place)
            for attempt in place.attempts.values():
                lease = dict(attempt.read("lease.json"))
                lease["until_boot_s"] += ENDING_S
                if attempt.state == "running" and on_node.ran_out(lease):
                    attempt.state = "lost"

    def carry_out(self, place: Node, request: dict[str, Any]) -> NodeResult:
        self.seen_by(place)
        results = [self._order(place, order) for order in request["orders"]]
        states = {number: attempt.state for number, attempt in place.attempts.items()}
        seen = [
            observation(self.job, state, number, reason="expired" if state == "lost" else None)
            for number, state in states.items()
        ]
        facts = {"boot": {"boot_id": f"{place.name}/{place.boot}"}, "clock_s": place.clock(self.real)}
        told = reply(*seen, orders=tuple(results), node=facts)
        return NodeResult(reply=told.reply, request=request)

    def _order(self, place: Node, order: dict[str, Any]) -> dict[str, Any]:
        kind, number = order["order"], order["attempt"]
        told = {"order": kind, "job": self.id, "attempt": number, "ok": True, "changed": False, "error": None}
        attempt = place.attempts.get(number)
        try:
            if kind == "start":
                self._start(place, number, on_node.lease(order["spec"]["lease"], on_node.promised(order)))
            elif attempt is None:
                raise NodeError("unknown_job", "it has no such attempt")
            elif kind == "lease":
                on_node.renew(attempt, on_node.lease(order, on_node.promised(order)))
            else:
                attempt.state = "cancelled" if attempt.state == "running" else attempt.state
        except NodeError as problem:
            told |= {"ok": False, "error": problem.as_dict()}
        return told

    def _start(self, place: Node, number: int, lease: dict[str, Any]) -> None:
        if any(other > number for other in place.attempts):
            raise NodeError("stale_attempt", "a newer one is here")
        if number in place.attempts:
            on_node.renew(place.attempts[number], lease)
            return
        on_node.refuse_late(lease)
        place.attempts[number] = Attempt(number, {"lease.json": lease})
        assert len(self.live()) == 1, f"it runs twice: {self.live()}"

    # -- the controllers ---------------------------------------------------------------------------------------

    def clock(self, who: int) -> Clock:
        name, rate = self.controllers[who]
        return Clock(name, 7e3 + self.real * rate)

    def round(self, who: int, ways: list[str], mode: str = "dispatch") -> None:
        """A round in which each node's connection is as `ways` says; the answers come 2 s later."""
        places = [node(place.name, self.group) for place in self.nodes]
        asked = begin_round(self.store, places, RoundRequest(mode), self.real, clock=self.clock(who))  # type: ignore[arg-type]
        results = {}
        for place, way in zip(self.nodes, ways, strict=True):
            if place.name not in asked:
                continue
            gone = NodeResult(unreachable="timed out", request=asked[place.name])
            if way == "late":
                place.late.append(asked[place.name])
            results[place.name] = gone if way in ("cut", "late") else self.carry_out(place, asked[place.name])
            if way == "mute":
                results[place.name] = gone
        self.pass_time(2.0)
        if "killed" not in ways:
            finish_round(self.store, results, self.real, clock=self.clock(who))

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        if kind == "rounds":
            who, ways, gap, count = rest
            for _ in range(count):
                self.round(who, ways)
                self.pass_time(gap)
        elif kind == "round":
            self.round(*rest)
        elif kind == "wait":
            self.pass_time(rest[0])
        elif kind == "deliver":
            for place in self.nodes:
                while place.late:
                    self.carry_out(place, place.late.pop(0))
        elif kind == "boot":
            self.controllers[rest[0]] = (f"{self.controllers[rest[0]][0]}+", self.controllers[rest[0]][1])
        else:
            for place in self.nodes:
                for attempt in place.attempts.values():
                    attempt.state = "succeeded" if attempt.state == "running" else attempt.state


WAY = st.sampled_from(["well", "well", "cut", "cut", "late", "mute", "killed"])
WAYS = st.one_of(
    st.sampled_from([["well", "well"], ["cut", "well"], ["well", "cut"], ["late", "well"], ["well", "late"]]),
    st.lists(WAY, min_size=2, max_size=2),
)
STEP = st.one_of(
    # The same connections for a while: an absence is rarely one round long.
    st.tuples(st.just("rounds"), st.integers(0, 1), WAYS, st.integers(0, 30), st.integers(1, 12)),
    st.tuples(st.just("rounds"), st.just(0), WAYS, st.integers(0, 30), st.integers(1, 12)),
    st.tuples(st.just("round"), st.integers(0, 1), WAYS, st.just("observe")),
    st.tuples(st.just("wait"), st.integers(1, 100)),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("boot"), st.integers(0, 1)),
    st.tuples(st.just("end")),
)
DRIFTS = st.lists(st.sampled_from([-DRIFT / 2, 0.0, DRIFT / 2]), min_size=4, max_size=4)


Worlds = Callable[[Store, list[float]], World]


@pytest.fixture
def quick_store() -> Iterator[Store]:
    """A store in memory: hundreds of rounds a second."""
    with TemporaryDirectory(dir="/dev/shm") as folder, open_store(f"sqlite:///{folder}/store.db") as store:
        yield store


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Worlds:
    """Worlds on one store, one after the other; what the last one left is cleared away."""
    monkeypatch.setattr(identity, "boottime", identity.boottime)
    monkeypatch.setattr(identity, "boot_identity", identity.boot_identity)
    made: list[World] = []

    def make(store: Store, drifts: list[float]) -> World:
        with store.write() as transaction:
            for world in made[-1:]:
                transaction.remove_job(world.id)
        made.append(World(store, len(made), drifts))
        return made[-1]

    return make


WELL, CUT, MUTE, STEADY = ["well", "well"], ["cut", "well"], ["mute", "well"], [0.0] * 4


@pytest.mark.accepts("B10", "B16", "C61")
# Cut off for good, and asked often: begun elsewhere no sooner than the node has surely ended it.
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 0, 2), ("rounds", 0, CUT, 1, 60)])
# The same when its last answers were lost: it got what it was promised while it seemed to be away.
@example(
    drifts=STEADY, steps=[("rounds", 0, WELL, 0, 2), ("rounds", 0, ["mute", "well"], 1, 15), ("rounds", 0, CUT, 1, 60)]
)
# After it was renewed, by slow and quick clocks, and with a controller that boots and one that comes new.
@example(drifts=[-DRIFT / 2, 0.0, DRIFT / 2, 0.0], steps=[("rounds", 0, WELL, 10, 8), ("rounds", 0, CUT, 1, 60)])
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 10, 8), ("boot", 0), ("rounds", 0, CUT, 1, 60)])
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 10, 8), ("rounds", 1, CUT, 1, 60)])
# An order that is under way while the job goes elsewhere.
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 1, 1), ("rounds", 0, ["late", "well"], 3, 40), ("deliver",)])
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 1, 2), ("rounds", 0, ["late", "well"], 3, 40), ("deliver",)])
# Its end is not known, since the node was cut off just then.
@example(drifts=STEADY, steps=[("rounds", 0, WELL, 1, 2), ("end",), ("rounds", 0, CUT, 1, 60)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drifts=DRIFTS, steps=st.lists(STEP, min_size=3, max_size=8))
def test_a_job_never_runs_twice_at_a_time_and_always_ends(
    worlds: Worlds, quick_store: Store, drifts: list[float], steps: list[tuple[Any, ...]]
) -> None:
    world = worlds(quick_store, drifts)
    for step in steps:
        world.do(step)
        numbers = [row.number for row in world.store.attempts(world.id)]
        assert numbers == list(range(1, len(numbers) + 1))
    # Everything is well again: within a few leases the job runs, alone, and ends.
    world.do(("deliver",))
    for _ in range(30):
        world.round(0, ["well", "well"])
        world.pass_time(10.0)
        if world.settled():
            break
    job = world.job
    if job.state == "running":
        assert world.live() == [(job.node, job.attempt)]
        world.do(("end",))
        world.round(0, ["well", "well"])
        assert world.job.state == "succeeded"
    else:
        assert job.finished, (job.state, job.detail)
        assert world.live() == []
    assert not [row for row in world.store.attempts(world.id) if row.stop_due]


def replayed(world: World, store: Store) -> None:
    before = (world.job, store.attempts(world.id), store.last_event())
    for place in world.nodes:
        finish_round(store, {place.name: world.carry_out(place, {"orders": []})}, world.real, clock=world.clock(0))
    after = (world.job, store.attempts(world.id), store.last_event())
    assert after == before


@pytest.mark.accepts("B10")
def test_an_answer_that_comes_twice_changes_nothing(worlds: Worlds, store: Store) -> None:
    world = worlds(store, [0.0] * 4)
    for _ in range(3):
        world.round(0, ["well", "well"])
    first = world.nodes[0] if world.job.node == world.nodes[0].name else world.nodes[1]
    ways = ["cut" if place is first else "well" for place in world.nodes]
    for _ in range(20):
        world.round(0, ways)
        world.pass_time(10.0)
    assert (world.job.state, world.job.attempt, world.job.node == first.name) == ("running", 2, False)
    for _ in range(3):
        world.round(0, ["well", "well"])
    for _ in range(2):
        finish_round(store, {}, world.real, clock=world.clock(0))
        replayed(world, store)
