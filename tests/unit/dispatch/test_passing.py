# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small jobs pass a big one that waits for room, but only so often; everybody starts in the end."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fleet_play import STEP_S, Fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from made import attempt, job, known, node

from stoker.config import Placement
from stoker.dispatch import RoundRequest
from stoker.dispatch.model import Plan, State
from stoker.dispatch.plan import plan
from stoker.store import JobRow

NOW = 10_000.0
BIG = job("big-2222", number=1, gpus=4)
SMALL = job("small-2222", number=2, gpus=1)
BUSY = [job(f"busy-{name}", number=0, gpus=2, attempt=1, state="running", node=name) for name in ("n1", "n2")]


def planned(jobs: list[JobRow], only: tuple[str, ...] | None = None, gpus: int = 4, **rules: Any) -> Plan:
    rows = {name: known(name, gpus) for name in ("n1", "n2")}
    attempts = {each.id: attempt(each) for each in jobs if each.node is not None}
    request = RoundRequest(jobs=only, placement=Placement(**rules))
    return plan(State(tuple(jobs), attempts, (node("n1"), node("n2")), rows, request), NOW)


def rows_of(found: Plan, name: str) -> dict[str, Any]:
    return {key: value for change in found.changes if change.seen.id == name for key, value in change.values.items()}


@pytest.mark.accepts("C11")
def test_a_small_job_passes_and_that_is_counted() -> None:
    found = planned([BIG, SMALL, *BUSY])
    assert rows_of(found, "small-2222")["node"] == "n1"
    told = rows_of(found, "big-2222")
    assert (told["passed"], told["blocked_since"]) == (1, NOW)
    assert told["detail"] == (
        "needs 4 GPUs, 2 of 4 free on n1 (held by busy-n1); needs 4 GPUs, 2 of 4 free on n2 (held by busy-n2)"
    )


@pytest.mark.accepts("C11", "D21")
@pytest.mark.parametrize(
    ("what", "passed", "since", "rules", "node_of_small"),
    [
        ("once more", 9, NOW - 60, {}, "n1"),
        ("as often as it may", 10, NOW - 60, {}, "n2"),
        ("for as long as it may", 1, NOW - 1800, {}, "n2"),
        ("long, but nobody passed it", 0, NOW - 9999, {}, "n1"),
        ("never, by the settings", 0, NOW, {"pass_limit": 0}, "n2"),
        ("a few seconds, by the settings", 1, NOW - 60, {"pass_s": 60.0}, "n2"),
    ],
)
def test_how_often_it_is_passed(
    what: str, passed: int, since: float, rules: dict[str, Any], node_of_small: str
) -> None:
    """When it was passed often enough n1, where it has room first (by name), is held for it; n2 is not."""
    big = dataclasses.replace(BIG, passed=passed, blocked_since=since)
    found = planned([big, SMALL, *BUSY], **rules)
    assert rows_of(found, "small-2222")["node"] == node_of_small


def test_who_is_held_up_is_told_for_whom() -> None:
    big = dataclasses.replace(BIG, passed=10, blocked_since=NOW - 1)
    small = dataclasses.replace(SMALL, target="n1")
    found = planned([big, small, *BUSY])
    assert found.waiting["small-2222"] == "n1 is held for big-2222, which was passed 10 times"
    assert "passed" not in rows_of(found, "big-2222")
    before = dataclasses.replace(small, priority=1)
    assert rows_of(planned([big, before, *BUSY]), "small-2222")["node"] == "n1"


def test_the_place_that_is_free_first_is_held() -> None:
    big = dataclasses.replace(BIG, passed=10, blocked_since=NOW - 1)
    busier = dataclasses.replace(BUSY[0], spec={**BUSY[0].spec, "gpus": 3})
    assert rows_of(planned([big, SMALL, busier, BUSY[1]]), "small-2222")["node"] == "n1"


def test_a_round_for_a_later_job_looks_at_the_one_that_waits_before_it() -> None:
    big = dataclasses.replace(BIG, passed=10, blocked_since=NOW - 1)
    small = dataclasses.replace(SMALL, target="n1")
    assert planned([big, small, *BUSY], only=("small-2222",)).waiting["small-2222"].startswith("n1 is held for")
    assert rows_of(planned([big, small, BUSY[1]], only=("small-2222",)), "big-2222")["node"] == "n1"


def test_a_claim_forgets_who_passed() -> None:
    found = planned([dataclasses.replace(BIG, passed=3, blocked_since=NOW - 1), BUSY[0]])
    told = rows_of(found, "big-2222")
    assert (told["node"], told["passed"], told["blocked_since"]) == ("n2", None, None)


def test_what_no_node_can_ever_take_holds_nothing() -> None:
    huge = dataclasses.replace(job("huge-2222", number=1, gpus=5), passed=99, blocked_since=1.0)
    assert set(planned([huge, SMALL, *BUSY]).waiting) == {"huge-2222"}


@given(
    st.integers(1, 3), st.integers(0, 3), st.integers(2, 4),
    st.lists(st.integers(1, 4), min_size=30, max_size=30),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_stream_of_small_jobs_does_not_starve_a_big_one(
    small: int, limit: int, nodes: int, lengths: list[int]
) -> None:
    """Two small jobs a node come each round, for ever; the big one starts, passed no oftener than it may be."""
    fleet = Fleet({f"n{index}": 4 for index in range(nodes)}, [], pass_limit=limit, pass_s=1e9)
    for step in range(4):
        fleet.play(*[(job(f"w{step}-{i}", number=i, gpus=1), 3) for i in range(nodes)])
    big = job("big-2222", number=100, gpus=4)
    fleet.play((big, 1))
    most = 0
    for step, length in enumerate(lengths * 4):
        fleet.play(*[(job(f"s{step}-{i}", number=101 + step, gpus=small), length) for i in range(2 * nodes)])
        if "big-2222" in fleet.began:
            break
        most = max(most, fleet.jobs["big-2222"].passed or 0)
    assert "big-2222" in fleet.began
    # The round in which the limit is reached may place several.
    assert most <= limit + 6 * nodes


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    gpus = {f"n{index}": draw(st.integers(1, 4)) for index in range(draw(st.integers(1, 3)))}
    most = max(gpus.values())
    jobs: list[tuple[JobRow, int]] = []
    for index in range(draw(st.integers(1, 14))):
        ranks = draw(st.sampled_from([1, 1, 1, 2, 3]))
        ranks = min(ranks, len(gpus))
        need = draw(st.integers(0, sorted(gpus.values())[-ranks] if ranks > 1 else most))
        length, target = draw(st.integers(1, 5)), None
        if ranks == 1:
            target = draw(st.sampled_from([None, *(name for name, count in gpus.items() if count >= need)]))
        for rank in range(ranks):
            first = f"j{index}-2222"
            made = job(
                first if rank == 0 else f"{first}-{rank}", number=10 * index + rank, gpus=need, target=target,
                priority=draw(st.integers(0, 1)) if ranks == 1 else 0,
                **({"gang": first, "rank": rank, "wants": {"ranks": ranks}} if ranks > 1 else {}),
            )  # fmt: skip
            jobs.append((made, length))
    rules = {"pass_limit": draw(st.integers(0, 3)), "pass_s": draw(st.sampled_from([STEP_S, 1e9]))}
    return Fleet(gpus, jobs, **rules)


@pytest.mark.accepts("C11", "V34")
@given(fleets())
@settings(max_examples=250, deadline=None)
def test_every_job_starts_in_the_end(fleet: Fleet) -> None:
    """Whatever waits for whatever, gangs among it: no job waits for ever, and none is refused what its node has."""
    everybody, longest = set(fleet.jobs), sum(fleet.left.values())
    for _ in range(longest + 3 * len(everybody)):
        fleet.play()
        if not fleet.jobs:
            break
    assert set(fleet.began) == everybody
