# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner's rules as tables, and what must hold whatever it is given."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import attempt, checkpoint, job, known, node

from stoker.dispatch.model import Plan, RoundRequest, State
from stoker.dispatch.plan import plan
from stoker.store import AttemptRow, JobRow, NodeRow, QueueRow

NOW = 1000.0


def planned(
    jobs: list[JobRow],
    nodes: tuple[str, ...] = ("n1", "n2"),
    attempts: list[AttemptRow] | None = None,
    rows: list[NodeRow] | None = None,
    only: tuple[str, ...] | None = None,
    **request: Any,
) -> Plan:
    state = State(
        tuple(jobs), {row.job_id: row for row in attempts or []}, tuple(node(name, "all", "gpu") for name in nodes),
        {row.name: row for row in rows or []}, RoundRequest(jobs=only, **request),
    )  # fmt: skip
    return plan(state, NOW)


def started(found: Plan) -> dict[str, str]:
    return {
        str(order["spec"]["job"]): name
        for name, orders in found.orders.items()
        for order in orders
        if order["order"] == "start"
    }


BUSY = job("b-2222", attempt=1, state="running", node="n1", gpus=1)


@pytest.mark.parametrize(
    ("what", "waits", "rows", "where"),
    [
        ("a named node, never met", job(target="n2"), [], "n2"),
        ("a named node, unreachable", job(target="n2"), [known("n2", unreachable_since=1.0)], "n2"),
        ("a named node, GPUs unknown", job(target="n2", gpus=4), [known("n2")], "n2"),
        ("any node: the fewest jobs", job(), [known("n1"), known("n2")], "n2"),
        ("any node: not the unreachable one", job(), [known("n1"), known("n2", unreachable_since=1.0)], "n1"),
        ("a group", job(target="gpu"), [known("n1"), known("n2")], "n2"),
        ("GPUs: the node that has enough", job(gpus=2), [known("n1", 3), known("n2", 1)], "n1"),
        ("GPUs: the node with free ones", job(gpus=1), [known("n1", 1), known("n2", 1)], "n2"),
        ("GPUs: all busy, wait on the node", job(gpus=1), [known("n1", 1), known("n2", 0)], "n1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_a_job_goes(what: str, waits: JobRow, rows: list[NodeRow], where: str) -> None:
    assert started(planned([waits, BUSY], attempts=[attempt(BUSY)], rows=rows)) == {waits.id: where}


@pytest.mark.parametrize(
    ("waits", "rows", "reason", "asked"),
    [
        (job(gpus=1), [], "asking n1, n2 for their GPUs", {"n1", "n2"}),
        (job(gpus=1), [known("n1", 0), known("n2")], "asking n2 for their GPUs", {"n2"}),
        (job(gpus=2), [known("n1", 1), known("n2", 0)], "needs 2 GPUs: n1 has 1; n2 has none", {"n1", "n2"}),
        (
            job(gpus=1), [known("n1", 0), known("n2", facts={"gpus": None, "gpus_unknown": "there is no nvidia-smi"})],
            "needs 1 GPU: n1 has none; n2 does not know its GPUs (there is no nvidia-smi)", {"n1", "n2"},
        ),
        (job(), [], "asking n1, n2 whether they answer", {"n1", "n2"}),
        (
            job(), [known("n1", unreachable_since=1.0), known("n2", unreachable_since=1.0)],
            "n1, n2 cannot be reached", {"n1", "n2"},
        ),
        (
            job(),
            [known("n1", facts={"misdescribed": "stoker_scratch is not a text"}), known("n2", unreachable_since=1.0)],
            "n2 cannot be reached; n1: stoker_scratch is not a text", {"n1", "n2"},
        ),
        (
            job(gpus=2), [known("n1", 1), known("n2", 4, facts={"misdescribed": "stoker_rungs: no list"})],
            "needs 2 GPUs: n1 has 1; n2: stoker_rungs: no list", {"n1", "n2"},
        ),
        (
            job(gpus=2), [known("n1", 1), known("n2", 4, unreachable_since=1.0)],
            "needs 2 GPUs: n1 has 1; n2 cannot be reached", {"n1", "n2"},
        ),
        (job(target="spark"), [], "there is no node or group 'spark' in the inventory", set()),
    ],
)  # fmt: skip
def test_why_a_job_waits_and_who_is_asked(waits: JobRow, rows: list[NodeRow], reason: str, asked: set[str]) -> None:
    found = planned([waits], rows=rows)
    assert found.waiting == {waits.id: reason}
    assert found.gpus == asked == set(found.observe)
    assert not found.orders
    assert [(change.values["detail"], change.event) for change in found.changes] == [(reason, None)]


def test_a_node_wins_over_a_group_of_the_same_name() -> None:
    state = State((job(target="gpu"),), {}, (node("n1", "gpu"), node("gpu", "all")))
    assert started(plan(state, NOW)) == {"a-2222": "gpu"}


def test_the_only_node_is_not_asked_first() -> None:
    assert started(planned([job(gpus=1)], nodes=("n1",))) == {"a-2222": "n1"}


def test_jobs_go_by_priority_then_by_their_order() -> None:
    jobs = [job("a-2222", number=1), job("b-2222", number=2, priority=1), job("c-2222", number=3)]
    found = planned(jobs, nodes=("n1",))
    assert list(started(found)) == ["b-2222", "a-2222", "c-2222"]


@pytest.mark.accepts("C11")
def test_a_burst_of_one_gpu_jobs_lands_on_as_many_gpus() -> None:
    jobs = [job(f"{name}-2222", number=index, gpus=1) for index, name in enumerate("abcde")]
    placed = started(planned(jobs, rows=[known("n1", 4), known("n2", 1)]))
    assert sorted(placed.values()) == ["n1"] * 4 + ["n2"]


def test_a_job_that_waits_for_its_next_attempt_is_left_until_then() -> None:
    waits = job(attempt=1, not_before=NOW + 4)
    assert planned([waits], nodes=("n1",)).waiting == {"a-2222": "waits 4 s for its next attempt"}
    found = planned(
        [dataclasses.replace(waits, not_before=NOW)], nodes=("n1",), attempts=[attempt(waits, state="failed")]
    )
    assert [order["attempt"] for order in found.orders["n1"]] == [2]


@pytest.mark.accepts("B10")
def test_a_start_that_was_never_confirmed_is_ordered_again_under_the_same_number() -> None:
    lost = job(attempt=1, state="starting", node="n1")
    found = planned(
        [lost], attempts=[attempt(lost, state="starting", confirmed_at=None)], rows=[known("n1", unreachable_since=1.0)]
    )
    assert [(order["order"], order["attempt"]) for order in found.orders["n1"]] == [("start", 1)]
    assert not found.changes


def test_a_stop_is_ordered_with_its_grace_once() -> None:
    stopping = job(attempt=1, state="running", node="n1", stop_requested="cancelled", stop_grace_s=7.0)
    (order,) = planned([stopping], attempts=[attempt(stopping)], wait_s=3.0).orders["n1"]
    assert order == {
        "order": "stop",
        "job": "a-2222",
        "uid": "uid-a-2222",
        "attempt": 1,
        "grace_s": 7.0,
        "reason": "cancelled",
        "wait_s": 3.0,
    }
    ordered = dataclasses.replace(stopping, stop_ordered_at=1.0)
    (again,) = planned([ordered], attempts=[attempt(ordered)]).orders["n1"]
    assert again["grace_s"] is None


def test_observing_orders_nothing() -> None:
    found = planned([job(), BUSY], attempts=[attempt(BUSY)], mode="observe")
    assert (found.observe, found.orders, found.changes) == ({"n1": ["b-2222"]}, {}, ())
    named = plan(State((), {}, (node("n1"), node("n2")), {}, RoundRequest("observe", ("n2",))), NOW)
    assert (dict(named.observe), named.gpus) == ({"n2": []}, {"n2"})


def test_a_round_for_one_job_leaves_the_others_alone() -> None:
    other = job("c-2222", target="n2")
    found = planned([job(target="n1"), other, BUSY], attempts=[attempt(BUSY)], only=("c-2222",))
    assert (started(found), dict(found.observe)) == ({"c-2222": "n2"}, {"n2": ["c-2222"]})


def test_nodes_hold_their_answers_only_when_few_are_asked() -> None:
    jobs = [job(f"{name}-2222", attempt=1, state="running", node=f"n{name}") for name in "abcde"]
    rows = [attempt(row) for row in jobs]
    names = tuple(f"n{name}" for name in "abcde")
    assert planned(jobs, names, rows, wait_s=9.0).wait_s == 0.0
    assert planned(jobs[:4], names, rows, wait_s=9.0).wait_s == 9.0


def test_a_job_whose_node_left_the_inventory_is_told() -> None:
    gone = job(attempt=1, state="running", node="old")
    assert planned([gone], attempts=[attempt(gone)]).waiting == {"a-2222": "its node old is not in the inventory"}


NAMES = ("n1", "n2", "n3")


@st.composite
def states(draw: st.DrawFn) -> State:
    jobs, attempts = [], {}
    for index in range(draw(st.integers(0, 8))):
        number = draw(st.integers(0, 3))
        live = number > 0 and draw(st.booleans())
        row = job(
            f"j{index}-2222", number=index, attempt=number, gpus=draw(st.integers(0, 3)),
            priority=draw(st.integers(-1, 1)),
            state=draw(st.sampled_from(["queued", "starting", "running"])) if live else "queued",
            node=draw(st.sampled_from([*NAMES, "old"])) if live else None,
            target=draw(st.sampled_from([None, "gpu", "n1", "n3", "nowhere"])),
            not_before=draw(st.sampled_from([None, NOW - 1, NOW + 1])) if number and not live else None,
            stop_requested=draw(st.sampled_from([None, "cancelled"])) if live else None,
        )  # fmt: skip
        jobs.append(row)
        if number:
            confirmed = draw(st.sampled_from([None, 1.0]))
            attempts[row.id] = attempt(row, state=row.state if live else "failed", confirmed_at=confirmed)
    rows = {
        name: known(name, draw(st.sampled_from([None, 0, 1, 4])), unreachable_since=draw(st.sampled_from([None, 5.0])))
        for name in draw(st.sets(st.sampled_from(NAMES)))
    }
    nodes = tuple(node(name, "all", "gpu") for name in draw(st.sets(st.sampled_from(NAMES))))
    wanted = draw(st.sampled_from([None, ("j0-2222", "j1-2222")]))
    mode = draw(st.sampled_from(["dispatch", "observe", "adopt"]))
    return State(tuple(jobs), attempts, nodes, rows, RoundRequest(mode, None, wanted))


@given(states())
@settings(max_examples=300, deadline=None)
def test_what_holds_for_every_plan(state: State) -> None:
    found = plan(state, NOW)
    assert plan(state, NOW) == found
    inventory = {each.name for each in state.nodes}
    claims = {change.seen.id: change for change in found.changes if change.claim}
    assert len(claims) == sum(change.claim for change in found.changes)
    assert set(found.observe) <= inventory
    assert set(found.orders) <= set(found.observe)
    ordered: dict[str, int] = {}
    for name, orders in found.orders.items():
        for order in orders:
            job_id = order["spec"]["job"] if order["order"] == "start" else order["job"]
            ordered[job_id] = ordered.get(job_id, 0) + 1
            row = next(each for each in state.jobs if each.id == job_id)
            live = state.live_attempt(row)
            assert job_id in found.observe[name]
            if live is not None:
                # What may be under way is never started anywhere else, nor under another number.
                assert (live.node, live.number) == (name, order["attempt"])
                assert order["order"] == ("stop" if row.stop_requested else "start")
                assert job_id not in claims
            else:
                assert (order["order"], order["attempt"]) == ("start", row.attempt + 1)
                assert claims[job_id].values["node"] == name
                assert row.not_before is None or row.not_before <= NOW
    assert all(count == 1 for count in ordered.values())
    for row in state.jobs:
        wanted = state.request.jobs is None or row.id in state.request.jobs
        if state.request.mode == "dispatch" and wanted and state.live_attempt(row) is None:
            assert (row.id in claims) != (row.id in found.waiting)
    if state.request.mode != "dispatch":
        assert (found.orders, found.changes) == ({}, ())


# ---- queues ----


def line(name: str = "night", **more: Any) -> QueueRow:
    return QueueRow(**{"name": name, "max_running": None, "stop_on_failure": False, "paused_at": None,
                       "paused_reason": None, "created_at": 0.0, **more})  # fmt: skip


def in_line(name: str, number: int, **more: Any) -> JobRow:
    return job(f"{name}-2222", number=number, queue="night", **{"target": "n1", **more})


def planned_in(jobs: list[JobRow], queue: QueueRow, rows: list[NodeRow], only: tuple[str, ...] | None = None) -> Plan:
    attempts = {row.id: attempt(row) for row in jobs if row.node is not None}
    nodes = tuple(node(name, "all", "gpu") for name in ("n1", "n2"))
    state = State(
        tuple(jobs),
        attempts,
        nodes,
        {row.name: row for row in rows},
        RoundRequest(jobs=only),
        queues={queue.name: queue},
    )
    return plan(state, NOW)


ONE, TWO, THREE, FOUR, FIVE = ({"name": name, "number": number} for number, name in enumerate("abcde", 1))
ON_N1: dict[str, Any] = {"attempt": 1, "state": "running", "node": "n1"}


@pytest.mark.accepts("D20", "D22")
@pytest.mark.parametrize(
    ("what", "jobs", "queue", "rows", "starts"),
    [
        ("one at a time without GPUs", [in_line(**ONE), in_line(**TWO)], line(), [known("n1", 0)], ["a"]),
        ("one at a time on a node never met", [in_line(**ONE), in_line(**TWO)], line(), [], ["a"]),
        ("as many as GPUs", [in_line(**n) for n in (ONE, TWO, THREE)], line(), [known("n1", 2)], ["a", "b"]),
        ("not while one is under way", [in_line(**ONE, **ON_N1), in_line(**TWO)], line(), [known("n1", 0)], []),
        ("two more wait on the node for its GPUs", [in_line(**n, gpus=1) for n in (ONE, TWO, THREE, FOUR, FIVE)],
         line(), [known("n1", 1)], ["a", "b", "c"]),
        ("none ahead where a failure stops it", [in_line(**n, gpus=1) for n in (ONE, TWO, THREE)],
         line(stop_on_failure=True), [known("n1", 2)], ["a", "b"]),
        ("nobody passes a bigger one", [in_line(**ONE, gpus=1), in_line(**TWO, gpus=2), in_line(**THREE, gpus=1)],
         line(stop_on_failure=True), [known("n1", 2)], ["a"]),
        ("another node is not held up", [in_line(**ONE), in_line(**TWO), in_line(**THREE, target="n2")], line(),
         [known("n1", 0), known("n2", 0)], ["a", "c"]),
        ("a limit over all nodes", [in_line(**ONE), in_line(**TWO, target="n2"), in_line(**THREE, target="n2")],
         line(max_running=2), [known("n1", 8), known("n2", 8)], ["a", "b"]),
        ("a group spreads", [in_line(**n, target="gpu") for n in (ONE, TWO, THREE)], line(),
         [known("n1", 0), known("n2", 0)], ["a", "b"]),
        ("paused", [in_line(**ONE)], line(paused_at=1.0, paused_reason="by ann"), [known("n1", 0)], []),
        ("moved to the front", [in_line(**ONE), in_line(**TWO, place=0.5)], line(), [known("n1", 0)], ["b"]),
        ("a priority", [in_line(**ONE), in_line(**TWO, priority=1)], line(), [known("n1", 0)], ["b"]),
        ("who waits for its next attempt holds nobody up", [in_line(**ONE, attempt=1, not_before=NOW + 9),
         in_line(**TWO)], line(), [known("n1", 0)], ["b"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_who_of_a_queue_starts(
    what: str, jobs: list[JobRow], queue: QueueRow, rows: list[NodeRow], starts: list[str]
) -> None:
    assert [job_id[0] for job_id in started(planned_in(jobs, queue, rows))] == starts


@pytest.mark.accepts("D21")
@pytest.mark.parametrize(
    ("jobs", "queue", "reasons"),
    [
        ([in_line(**ONE, **ON_N1), in_line(**TWO), in_line(**THREE)], line(),
         {"b-2222": "queue night has one job at a time on n1 (held by a-2222)",
          "c-2222": "b-2222 comes first on n1"}),
        ([in_line(**ONE, **ON_N1), in_line(**TWO)], line(max_running=1),
         {"b-2222": "queue night runs 1 at a time (a-2222)"}),
        ([in_line(**ONE)], line(paused_at=1.0, paused_reason="by ann"),
         {"a-2222": "queue night is paused: by ann"}),
    ],
)  # fmt: skip
def test_why_a_job_of_a_queue_waits(jobs: list[JobRow], queue: QueueRow, reasons: dict[str, str]) -> None:
    found = planned_in(jobs, queue, [known("n1", 0)])
    assert found.waiting == reasons
    assert {change.seen.id: change.values["detail"] for change in found.changes} == reasons


def test_a_round_for_one_job_starts_those_before_it_in_its_queue() -> None:
    jobs = [in_line(**ONE), in_line(**TWO), in_line(**THREE, target="n2")]
    found = planned_in(jobs, line(), [known("n1", 0), known("n2", 0)], only=("b-2222",))
    assert started(found) == {"a-2222": "n1"}


@given(
    st.lists(st.tuples(st.sampled_from(["n1", "n2", "gpu"]), st.integers(0, 3), st.integers(-1, 1)), max_size=12),
    st.integers(0, 3), st.none() | st.integers(1, 4), st.booleans(),
)  # fmt: skip
@settings(max_examples=200)
def test_a_queue_keeps_its_order_and_its_limits_to_its_end(
    wanted: list[tuple[str, int, int]], gpus: int, most: int | None, stop: bool
) -> None:
    """Whoever is under way ends, round after round: every job that a node can hold gets its turn, none passes."""
    jobs = [
        in_line(chr(97 + i), i + 1, target=target, gpus=min(need, gpus), priority=priority)
        for i, (target, need, priority) in enumerate(wanted)
    ]
    queue, rows = line(max_running=most, stop_on_failure=stop), [known("n1", gpus), known("n2", gpus)]
    waiting, order = {row.id: row for row in jobs}, []
    for _ in range(len(jobs) + 1):
        new = started(planned_in(list(waiting.values()), queue, rows))
        assert most is None or len(new) <= most
        for name in ("n1", "n2"):
            here = [waiting[job_id] for job_id, at in new.items() if at == name]
            assert most is not None or len(here) <= max(1, gpus) + (0 if stop else 2)
        order += [waiting.pop(job_id) for job_id in new]
    assert not waiting
    for name in ("n1", "n2"):
        turns = [row.turn for row in order if row.target == name]
        assert turns == sorted(turns)


WITH_FILES = job("f-2222", target="n1")
WITH_FILES = dataclasses.replace(WITH_FILES, spec={**WITH_FILES.spec, "snapshot": {"digest": "a" * 64, "host": "desk"}})


def with_snapshots(waiting: JobRow, here: set[str], rows: list[AttemptRow]) -> Plan:
    attempts = {row.job_id: row for row in rows}
    return plan(State((waiting,), attempts, (node("n1"),), {}, RoundRequest(), frozenset(here)), NOW)


@pytest.mark.accepts("B20")
def test_a_job_starts_only_where_its_files_are() -> None:
    lacking = with_snapshots(WITH_FILES, {"b" * 64}, [])
    assert (started(lacking), list(lacking.observe)) == ({}, [])
    why = "its snapshot aaaaaaaaaaaa is not on this machine but on desk, where it was submitted: dispatch there"
    assert (lacking.waiting["f-2222"], lacking.changes[0].values["detail"]) == (why, why)
    assert started(with_snapshots(WITH_FILES, {"a" * 64}, [])) == {"f-2222": "n1"}


@pytest.mark.accepts("B20")
@pytest.mark.parametrize(("here", "ordered"), [(set(), {}), ({"a" * 64}, {"f-2222": "n1"})])
def test_a_start_that_was_not_confirmed_is_ordered_again_only_with_its_files(
    here: set[str], ordered: dict[str, str]
) -> None:
    claimed = dataclasses.replace(WITH_FILES, state="starting", attempt=1, node="n1")
    found = with_snapshots(claimed, here, [attempt(claimed, state="starting", confirmed_at=None)])
    # It is asked about in any case: the node may have it.
    assert (started(found), found.observe) == (ordered, {"n1": ["f-2222"]})


@pytest.mark.parametrize(
    ("ended", "rows", "begins"),
    [
        ({"reason": "code"}, "ba", "a"), ({"reason": "signal"}, "b", None), ({"reason": "code"}, "cb", "c"),
        ({"reason": "oom"}, "ba", "b"), ({"state": "lost", "reason": "reboot"}, "ba", "b"),
    ],
)  # fmt: skip
def test_what_an_attempt_began_from_and_failed_at_once_is_passed_over(
    ended: dict[str, Any], rows: str, begins: str | None
) -> None:
    waits = job(attempt=2)
    last = attempt(waits, resume={"digest": "b" * 64}, **{"state": "failed", **ended})
    kept = [checkpoint(waits, letter) for letter in rows]
    found = State((waits,), {waits.id: last}, (), checkpoints={waits.id: kept}).newest_checkpoint(waits)
    assert (found and found.digest[0]) == begins
