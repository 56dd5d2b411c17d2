# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rented machines: what comes next, what may be spent, what is bid, and what is nobody's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.pool_settings import Budget, Pool
from stoker.rented import bids, budget, changes, lifecycle, reap
from stoker.rented.lifecycle import Seen, Use
from stoker.store.instance_rows import InstanceRow, IntervalRow, Ledger, ReservationRow

NOW = 1_772_442_000.0  # 2026-03-02, 09:00 UTC
HOUR = 3600.0
POOL = Pool(price=0.5, image="a/b", idle_s=600.0, boot_timeout_s=900.0)
BID = replace(POOL, kind="bid", bid_step=0.05, bid_wait_s=600.0)
READY = InstanceRow(
    id="a" * 12, label=f"stoker/0badcafe/{'a' * 12}", pool="cheap", job="train-9x4c", kind="on-demand", offer={},
    machine_id=1, price=None, gpu_rate=0.3, disk_rate=0.01, disk_gb=20.0, phase="ready", phase_since=NOW - 300.0,
    created_at=NOW - HOUR, expires_at=NOW + HOUR, lease_s=1800.0, provider_id=101, host="h", port=22, node="vast-101",
    project="proj", asked_at=NOW - HOUR, seen_at=NOW, booted_at=NOW - HOUR, ready_at=NOW - 300.0,
    idle_since=NOW - 300.0,
)  # fmt: skip


def seen(phase: str = "running", **more: Any) -> Seen:
    return Seen(NOW, phase, f"actual {phase}", **{"provider_id": 101, "address": ("h", 22), **more})


def row(**more: Any) -> InstanceRow:
    return replace(READY, **more)


def step(instance: InstanceRow, look: Seen | None, use: Use, pool: Pool | None = POOL) -> lifecycle.Step:
    """The next step after what was seen is written down."""
    return lifecycle.next_step(replace(instance, **lifecycle.observed(instance, look, NOW)), look, use, pool, NOW)


BUSY, WANTED, NOTHING, LEFT = Use(busy=True), Use(wanted=True), Use(), Use(unpulled=True)
LOADING = {"phase": "loading", "ready_at": None, "booted_at": NOW - 100.0}
OLD = {"phase": "loading", "ready_at": None, "booted_at": NOW - 901.0}


@pytest.mark.parametrize(
    ("instance", "look", "use", "do", "words"),
    [
        (row(phase="intended", provider_id=None), None, WANTED, "create", "its intent is written down"),
        (row(phase="intended", provider_id=None), None, NOTHING, "destroy", "nothing waits for it"),
        (row(phase="asked", provider_id=None), None, WANTED, "reconcile", "the provider could not be asked"),
        (row(phase="asked", provider_id=None, booted_at=NOW - 9), seen("creating"), WANTED, "wait", "it is loading"),
        (row(phase="asked", provider_id=None), seen("absent"), WANTED, "none", "it is failed"),
        (row(phase="asked", provider_id=None, asked_at=NOW - 60), seen("absent"), WANTED, "reconcile", "by its label"),
        (row(**LOADING), seen("running"), WANTED, "probe", "only an answer of its ssh"),
        (row(**LOADING, host=None), seen("loading", address=None), WANTED, "wait", "it is loading for 100 s"),
        (row(**LOADING), seen("failed"), WANTED, "destroy", "the provider says it is failed"),
        (row(**OLD), seen("loading"), WANTED, "destroy", "it took no job within 900 s: actual loading"),
        (row(**LOADING), seen("running"), NOTHING, "destroy", "nothing waits for it"),
        (row(**LOADING), seen("stopped"), WANTED, "destroy", "it was stopped before it took a job"),
        (row(**LOADING | {"phase": "reachable"}), seen(), WANTED, "provision", "its ssh answers"),
        (row(phase="reachable"), seen(), Use(wanted=True, trouble="pip failed"), "destroy", "pip failed"),
        (READY, seen(), BUSY, "use", "a job is under way"),
        (READY, None, BUSY, "use", "a job is under way"),
        (READY, seen(), NOTHING, "wait", "it has no job for 300 s, and is kept for 300 s more"),
        (row(idle_since=NOW - 600), seen(), NOTHING, "destroy", "it had no job for 600 s"),
        (READY, seen(), LEFT, "pull", "its job is over"),
        (row(phase="pulling"), seen(), NOTHING, "destroy", "its results are fetched"),
        (row(expires_at=NOW - 1), seen(), NOTHING, "destroy", "its time to live is over"),
        (row(expires_at=NOW - 1), seen(), BUSY, "pull", "its time to live is over"),
        (READY, seen(), Use(end="destroy"), "destroy", "somebody asked for it"),
        (READY, seen("offline"), BUSY, "wait", "it is offline since 0 s"),
        (row(problem="offline", problem_since=NOW - 301), seen("offline"), BUSY, "destroy", "offline since 301 s"),
        (READY, seen("exited"), BUSY, "destroy", "the provider says it is exited"),
        (READY, seen("absent"), BUSY, "confirm", "the provider says it is absent"),
        (READY, seen("gone"), BUSY, "none", "it is gone"),
        (READY, seen(address=("h", 23)), BUSY, "probe", "only an answer of its ssh"),
        (row(phase="stopping"), seen(), NOTHING, "stop", "it is not shown stopped yet"),
        (row(phase="stopping", phase_since=NOW - 601), seen(), NOTHING, "destroy", "it does not stop"),
        (row(phase="stopped"), seen("stopped"), WANTED, "start", "a job waits for it"),
        (row(phase="stopped"), seen("stopped"), NOTHING, "wait", "it is stopped, and kept for 86100 s more"),
        (row(phase="stopped", phase_since=NOW - 86400), seen("stopped"), NOTHING, "destroy", "stopped for 86400 s"),
        (row(phase="stopped", problem="taken"), seen("stopped"), WANTED, "destroy", "its GPUs are somebody else's"),
        (row(phase="destroying"), seen(), NOTHING, "destroy", "it is not needed any more"),
        (row(phase="destroying", destroy_asked_at=NOW - 5), seen(), NOTHING, "confirm", "only the provider"),
        (row(phase="destroying", destroy_asked_at=NOW - 31), seen(), NOTHING, "destroy", "it is still there"),
        (row(phase="destroying", destroy_asked_at=NOW - 31), seen("gone"), NOTHING, "none", "it is gone"),
        (row(phase="gone", ended_at=NOW - 9), seen(), NOTHING, "destroy", "it is not needed any more"),
        (row(phase="failed", ended_at=NOW - 9), seen("absent"), NOTHING, "none", "it is failed"),
    ],
)  # fmt: skip
def test_what_comes_next(instance: InstanceRow, look: Seen | None, use: Use, do: str, words: str) -> None:
    found = step(instance, look, use)
    assert (found.do, words in found.why) == (do, True), found


def test_at_the_limit_of_a_budget_a_job_writes_a_checkpoint_is_pulled_and_stopped() -> None:
    pool = replace(POOL, after="stop")
    used_up = Use(busy=True, unpulled=True, limit="the budget of $5.00 for train-9x4c is reached")
    first = step(READY, seen(), used_up, pool)
    assert (first.do, first.drain, first.why) == ("pull", True, used_up.limit)
    pulling = replace(READY, **changes.pulled(READY))
    assert step(pulling, seen(), replace(used_up, busy=False), pool) == replace(first, drain=False)
    assert step(pulling, seen(), Use(limit=used_up.limit), pool).do == "stop"
    # Results that cannot be fetched keep it no longer than a while, and somebody is told.
    late = step(replace(pulling, phase_since=NOW - 1801), seen(), replace(used_up, busy=False), pool)
    assert (late.do, late.alert) == ("stop", "results on vast-101 were not fetched")


def test_what_may_be_billed_unseen_is_told_until_it_is_resolved() -> None:
    lost = row(phase="asked", provider_id=None, asked_at=NOW - 301)
    assert "may be billed" in str(step(lost, None, WANTED).alert)
    stuck = row(phase="destroying", phase_since=NOW - 301, destroy_asked_at=NOW - 5)
    assert "may still be billed: it was to be destroyed 301 s ago" in str(step(stuck, seen(), NOTHING).alert)
    silent = row(seen_at=NOW - 301)
    assert "the provider told nothing of it for 301 s" in str(step(silent, None, BUSY).alert)
    assert step(READY, seen(), BUSY).alert is None


def test_an_instance_of_a_pool_that_is_no_more_is_ended_when_its_job_is_over() -> None:
    assert step(READY, seen(), BUSY, None).do == "use"
    assert step(READY, seen(), NOTHING, None).do == "destroy"


def test_a_price_that_rose_above_the_cap_ends_what_is_idle_and_is_told_of_what_works() -> None:
    rise = seen(gpu_rate=0.6)
    words = "it costs 0.61 dollars per hour now, and pools.cheap.price is 0.5"
    assert step(READY, rise, WANTED) == lifecycle.Step("destroy", words)
    assert step(READY, rise, BUSY) == lifecycle.Step("use", "a job is under way on it", f"vast-101: {words}")
    assert step(READY, rise, LEFT).do == "pull"
    assert step(READY, seen(gpu_rate=0.49), WANTED).do == "use"


def test_what_was_asked_to_go_before_its_number_was_known_goes_when_it_is_known() -> None:
    asked = row(phase="asked", provider_id=None)
    wished = replace(asked, **changes.destroying(asked, NOW))
    assert wished.phase == "asked"
    shown = replace(wished, **lifecycle.observed(wished, seen("creating"), NOW))
    assert (shown.phase, shown.provider_id) == ("destroying", 101)
    assert lifecycle.next_step(shown, seen("creating"), WANTED, POOL, NOW).do == "destroy"


def test_a_machine_that_was_outbid_is_bid_for_again_within_the_cap_waited_for_or_left() -> None:
    outbid = row(kind="bid", price=0.2, phase="stopped", problem="outbid", problem_since=NOW - 10)
    again = step(outbid, seen("outbid", min_bid=0.3), WANTED, BID)
    assert (again.do, again.price) == ("rebid", 0.35)
    assert step(outbid, seen("outbid", min_bid=0.47), WANTED, BID).price == 0.49  # the disk is in the cap
    assert bids.decide(outbid, 0.6, BID, NOW).do == "wait"
    assert bids.decide(outbid, None, BID, NOW).why.startswith("it was outbid at $0.2: what is asked for is not known")
    assert bids.decide(replace(outbid, problem_since=NOW - 601), 0.6, BID, NOW).do == "move"
    assert step(replace(outbid, problem_since=NOW - 601), seen("outbid", min_bid=0.6), WANTED, BID).do == "destroy"
    # Nobody needs it: no dollar is bid for it.
    assert step(outbid, seen("outbid", min_bid=0.3), NOTHING, BID).do == "wait"


def test_a_pool_holds_what_is_needed_and_never_more_than_its_most() -> None:
    pool = replace(POOL, max=3)
    free, held = row(job=None), row()
    assert lifecycle.demand(pool, [], 2) == 2
    assert lifecycle.demand(pool, [], 9) == 3
    assert lifecycle.demand(pool, [free, row(phase="loading")], 2) == 0
    assert lifecycle.demand(pool, [held, row(phase="pulling")], 2) == 1
    # What is to go still counts as held: it may be billed.
    assert lifecycle.demand(pool, [row(phase="destroying"), held], 2) == 1
    assert lifecycle.demand(replace(pool, min=2), [row(phase="stopping")], 0) == 2
    assert (
        lifecycle.lost_for([row(problem="offline"), row(phase="gone", problem="outbid"), row(), row(phase="gone")]) == 2
    )


# ---- budgets ----


def spent(hours: float, instance: str = "b" * 12, since: float = NOW - HOUR, **more: Any) -> IntervalRow:
    fields: dict[str, Any] = {
        "instance": instance, "number": 1, "state": "running", "since": since, "until": since + hours * HOUR,
        "gpu_rate": 1.0, "disk_rate": 0.0, "up_gb": 0.0, "down_gb": 0.0, "job": "train-9x4c", "project": "proj", **more,
    }  # fmt: skip
    return IntervalRow(**fields)


@pytest.mark.accepts("B12")
def test_dollars_are_put_aside_before_a_launch_and_count_once() -> None:
    limits = Budget(per_job=5.0, per_day=10.0, per_project=20.0)
    first = budget.allows(limits, READY, 0.4, POOL, Ledger((), (), ()), NOW, seconds=5 * HOUR)
    assert first == ReservationRow("a" * 12, 2.0, NOW, "train-9x4c", "proj")
    # In all the time that it may live it could cost 9.60: at 5 the job is stopped.
    assert budget.allows(limits, READY, 0.4, POOL, Ledger((), (), ()), NOW).dollars == 5.0  # type: ignore[union-attr]
    other = replace(READY, id="b" * 12, job="eval-81bb")
    aside = ReservationRow("b" * 12, 8.0, NOW, "eval-81bb", "proj")
    # 3 of its 8 dollars are spent: 5 are still put aside.
    ledger = Ledger((other,), (spent(3.0, job="eval-81bb", since=NOW - 3 * HOUR),), (aside,))
    day = next(scope for scope in budget.scopes(limits, "train-9x4c", "proj", ledger, NOW) if scope.name == "per_day")
    assert (day.spent, day.reserved, day.left) == (3, 5, 2)
    refused = budget.allows(limits, READY, 0.4, POOL, ledger, NOW, seconds=8 * HOUR)
    assert refused == (
        "the budget of $10.00 a day has $2.00 left, and $3.20 would be put aside for 8 h at 0.4 dollars per hour: "
        "$3.00 spent, $5.00 put aside"
    )
    # It is over: what it cost counts, and nothing more.
    settled = Ledger((), ledger.intervals, (aside,))
    assert budget.allows(limits, READY, 0.4, POOL, settled, NOW, seconds=8 * HOUR).dollars == 3.2  # type: ignore[union-attr]


@pytest.mark.accepts("B12")
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Budget(per_job=2.0), "the budget of $2.00 for train-9x4c"),
        (Budget(per_day=2.0), "the budget of $2.00 a day"),
        (Budget(per_project=2.0), "the budget of $2.00 for the project proj"),
    ],
)
def test_each_limit_refuses_a_launch_and_ends_what_runs(limits: Budget, words: str) -> None:
    ledger = Ledger((READY,), (spent(1.0), spent(1.0, number=2)), ())
    refused = budget.allows(limits, READY, 0.4, POOL, ledger, NOW)
    assert refused == f"{words} is spent: $2.00 spent, $0.00 put aside"
    assert budget.exceeded(limits, READY, ledger, NOW) == f"{words} is reached: $2.00 spent"
    under = Ledger((READY,), (spent(1.99),), (ReservationRow("c" * 12, 9.0, NOW, "train-9x4c", "proj"),))
    assert budget.exceeded(limits, READY, under, NOW - HOUR + 1.99 * HOUR) is None


def test_of_a_day_counts_what_is_of_that_day() -> None:
    yesterday = spent(2.0, since=NOW - 10 * HOUR)  # from 23:00 on: one of two hours is today's
    assert budget.exceeded(Budget(per_day=1.5), READY, Ledger((), (yesterday,), ()), NOW) is None
    assert budget.exceeded(Budget(per_day=1.0), READY, Ledger((), (yesterday,), ()), NOW) is not None


def test_a_price_above_the_cap_is_refused_in_one_sentence() -> None:
    refused = budget.allows(Budget(), READY, 0.62, POOL, Ledger((), (), ()), NOW)
    assert refused == "it costs 0.62 dollars per hour with its disk, and pools.cheap.price is 0.5"


# ---- what is nobody's ----


def test_what_is_billed_and_nothing_stands_for_is_reaped_and_nobody_elses_is_touched() -> None:
    lost = row(id="b" * 12, label=reap.label("0badcafe", "b" * 12), phase="asked", provider_id=None)
    over = row(id="c" * 12, label=reap.label("0badcafe", "c" * 12), phase="gone", provider_id=103)
    listed = [
        {"id": 101, "label": READY.label}, {"id": 102, "label": lost.label}, {"id": 103, "label": over.label},
        {"id": 104, "label": READY.label}, {"id": 105, "label": reap.label("0badcafe", "d" * 12)},
        {"id": 106, "label": f"stoker/0ther/{'a' * 12}"}, {"id": 107, "label": None},
        {"id": 108, "label": "my-training"},
        {"id": 109, "label": READY.label + " copy"}, {"id": 110, "label": lost.label},
    ]  # fmt: skip
    found = reap.plan(reversed(listed), [READY, lost, over], "0badcafe")
    assert [(each.provider_id, each.what) for each in found] == [
        (101, "known"), (102, "adopt"), (103, "destroy"), (104, "destroy"), (105, "destroy"), (106, "foreign"),
        (107, "foreign"), (108, "foreign"), (109, "foreign"), (110, "destroy"),
    ]  # fmt: skip
    assert all(each.why for each in found)
