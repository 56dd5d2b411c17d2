# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases: what is promised, when it has surely run out, and what happens then."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made import attempt, job, known, node, observation, refused, reply, taken

from stoker.dispatch import NodeInfo, NodeResult, RoundRequest, RoundSummary, begin_round, decisions, finish_round
from stoker.dispatch.leases import (
    DRIFT,
    MARGIN_S,
    Clock,
    Lease,
    begun,
    kept,
    longest_s,
    read_clock,
    read_words,
    surely_over,
)
from stoker.dispatch.members import decide
from stoker.dispatch.model import State
from stoker.dispatch.renewals import end_orders
from stoker.dispatch.states import MOST_MOVES
from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow, NodeRow, Store

# A node whose clock showed 5000 when this controller's showed 100.
TOLD = {"boot_id": "boot-1", "node_s": 5000.0, "here": "desk", "here_s": 100.0}
RUNNING = job(attempt=1, state="running", node="n1")
OPEN = Lease(60.0, 5060.0, "boot-1", {"desk": 100.0})


def desk(at: float) -> Clock:
    return Clock("desk", at)


def heard(**fields: Any) -> NodeRow:
    return known("n1", clock=TOLD, **fields)


@pytest.mark.parametrize(
    ("said", "policy", "seconds"),
    [("keep", "keep", None), ("move", "move", 600.0), ("move:10m", "move", 600.0), (" Move:90 ", "move", 90.0),
     ("move:1.5h", "move", 5400.0), ("move:1d", "move", 86400.0)],
)  # fmt: skip
def test_what_a_user_writes(said: str, policy: str, seconds: float | None) -> None:
    assert read_words(said, "--lease") == {"policy": policy, "seconds": seconds}


@pytest.mark.parametrize("said", ["", "stay", "move:", "move:-5", "move:soon", "move:1s", "keep:5m", "move:400d"])
def test_what_is_no_lease(said: str) -> None:
    with pytest.raises(UsageError, match="--lease: "):
        read_words(said, "--lease")


@pytest.mark.parametrize(
    ("what", "told", "clock", "until"),
    [
        ("heard just now", TOLD, desk(100.0), 5060.0),
        ("heard a while ago: its clock may run slower", TOLD, desk(1100.0), 5060.0 + 1000.0 * (1 - DRIFT)),
        ("heard so long ago that this would be most of the lease", TOLD, desk(10_000.0), None),
        ("heard by another controller, or before this one booted", TOLD, Clock("lab", 100.0), None),
        ("its clock is not known", None, desk(100.0), None),
        ("this machine's clock is not known", TOLD, None, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_new_attempt_is_promised(what: str, told: Any, clock: Clock | None, until: float | None) -> None:
    lease = begun(60.0, known("n1", clock=told), clock)
    assert (lease.seconds, lease.until) == (60.0, until)
    # Without a moment nothing can be concluded from silence.
    assert dict(lease.since) == ({"desk": clock.at} if until and clock else {})


@pytest.mark.parametrize(
    ("what", "lease", "row", "at", "until", "since"),
    [
        ("more than half is left", OPEN, {}, 129.0, 5060.0, 100.0),
        ("half is left", OPEN, {}, 130.0, 5060.0 + 30 * (1 - DRIFT), 130.0),
        ("the node is away: once more", OPEN, {"unreachable_since": 1.0}, 130.0, 5060.0 + 30 * (1 - DRIFT), 130.0),
        ("the node is away: not twice", dataclasses.replace(OPEN, blind=True), {"unreachable_since": 1.0}, 999.0,
         5060.0, 100.0),
        ("the node is away, and has ended it by now", OPEN, {"unreachable_since": 1.0}, 160.0, 5060.0, 100.0),
        ("it was, and answers", dataclasses.replace(OPEN, blind=True), {}, 130.0, 5060.0 + 30 * (1 - DRIFT), 130.0),
        ("nothing was promised yet", Lease(60.0), {}, 110.0, 5060.0 + 10 * (1 - DRIFT), 110.0),
        ("nothing was promised, and it is away", Lease(60.0), {"unreachable_since": 1.0}, 110.0, None, 110.0),
        ("it never showed its clock", OPEN, {"clock": None}, 150.0, 5060.0, 100.0),
        ("it booted since", OPEN, {"clock": {**TOLD, "boot_id": "boot-2", "node_s": 3.0}}, 130.0,
         63.0 + 30 * (1 - DRIFT), 130.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_when_a_lease_is_renewed(
    what: str, lease: Lease, row: dict[str, Any], at: float, until: float | None, since: float
) -> None:
    found = kept(lease, attempt(RUNNING), known("n1", **{"clock": TOLD, **row}), desk(at))
    assert (found.until, found.since["desk"]) == (until, since)


def test_a_start_that_nobody_confirmed_is_not_counted_without_a_moment() -> None:
    unseen = attempt(RUNNING, state="starting", confirmed_at=None)
    assert kept(Lease(60.0), unseen, heard(), desk(110.0)) == Lease(60.0)
    assert not surely_over(Lease(60.0), RUNNING, desk(1e9))


@pytest.mark.accepts("B10")
def test_another_controller_begins_to_count_anew() -> None:
    lab = Clock("lab", 7.0)
    seen = kept(OPEN, attempt(RUNNING), heard(unreachable_since=1.0), lab)
    assert dict(seen.since) == {"desk": 100.0, "lab": 7.0}
    assert not surely_over(OPEN, RUNNING, Clock("lab", 1e9)), "it never saw the promise"
    longest = longest_s(60.0, RUNNING.spec)
    for clock, over in [(desk(100 + longest), False), (desk(101 + longest), True), (Clock("lab", 8 + longest), True),
                        (Clock("lab", 7 + longest), False), (None, False)]:  # fmt: skip
        assert surely_over(seen, RUNNING, clock) is over, clock
    renewed = kept(seen, attempt(RUNNING), heard(), Clock("lab", 40.0))
    assert dict(renewed.since) == {"desk": 100.0, "lab": 7.0}, "by its own count half of it is not gone"


def test_how_long_an_attempt_may_be_there() -> None:
    assert longest_s(60.0, {"grace_s": 0.0}) == 60.0 * (1 + DRIFT) + MARGIN_S
    assert longest_s(60.0, {}) == longest_s(60.0, {"grace_s": 10.0})
    patient = {"grace_s": 10.0, "checkpoint_signal": "USR1", "checkpoint_grace_s": 40.0}
    assert longest_s(60.0, patient) == longest_s(60.0, {"grace_s": 50.0})


def test_the_clock_of_this_machine() -> None:
    before, after = read_clock(), read_clock()
    assert before is not None
    assert after is not None
    assert (before.name, before.at <= after.at) == (after.name, True)


class Rounds:
    """Rounds of one controller over n1 and n2; `at` is its clock since boot, `wall` what its time is set to."""

    def __init__(self, store: Store, *, lease: str | None = "move:60s", target: str | None = None, **fields: Any):
        self.store = store
        self.nodes: tuple[NodeInfo, ...] = (node("n1", "all"), node("n2", "all"))
        self.at, self.wall, self.name = 100.0, 1.7e9, "desk"
        spec = {"argv": ["true"], **({"lease": read_words(lease, "lease")} if lease else {})}
        for name in ("n1", "n2"):
            finish_round(store, {name: self.answer(name)}, self.wall, clock=self.clock)
        self.id = store.add_job("a", spec, target, **fields).id

    @property
    def clock(self) -> Clock:
        return Clock(self.name, self.at)

    @property
    def job(self) -> JobRow:
        found = self.store.job(self.id)
        assert found is not None
        return found

    @property
    def attempts(self) -> list[AttemptRow]:
        return self.store.attempts(self.id)

    def answer(self, name: str, *seen: dict[str, Any], **fields: Any) -> NodeResult:
        facts = {"hostname": name, "boot": {"boot_id": f"boot-{name}"}, "clock_s": self.at + 1000.0}
        return reply(*seen, node=facts, **fields)

    def round(self, after: float = 0.0, *, silent: tuple[str, ...] = (), **told: NodeResult) -> dict[str, Any]:
        """A round; who is not in `told` says that the newest attempt runs where it was ordered to. Returns requests."""
        self.at += after
        self.wall += after
        requests = begin_round(self.store, self.nodes, RoundRequest(), self.wall, clock=self.clock)
        here = [observation(self.job, "running")] if self.job.node and self.job.attempt else []
        results = {
            name: NodeResult(unreachable="timed out")
            if name in silent
            else told.get(name) or self.answer(name, *(here if self.job.node == name else ()), asked=(self.id,))
            for name in requests
        }
        self.summary: RoundSummary = finish_round(self.store, results, self.wall, clock=self.clock)
        return requests

    def orders(self, requests: dict[str, Any]) -> list[tuple[str, str, int]]:
        return [(name, order["order"], order["attempt"]) for name, asked in requests.items()
                for order in asked["orders"]]  # fmt: skip

    def events(self) -> list[str]:
        return [event.type for event in self.store.events(job_id=self.id)]


def test_a_start_says_until_when_it_may_begin(store: Store) -> None:
    rounds = Rounds(store)
    (order,) = rounds.round()["n1"]["orders"]
    assert (order["until_boot_s"], order["boot_id"]) == (1160.0, "boot-n1")
    assert order["spec"]["lease"] == {"policy": "move", "seconds": 60.0}
    (again,) = rounds.round(10.0)["n1"]["orders"]
    assert (again["order"], again["until_boot_s"]) == ("lease", 1160.0)
    (again,) = rounds.round(25.0)["n1"]["orders"]
    assert again["until_boot_s"] == pytest.approx(1195.0, abs=0.1)


@pytest.mark.accepts("C61", "B10", "B16")
def test_a_job_goes_elsewhere_once_when_its_lease_has_surely_run_out(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    assert (rounds.job.state, rounds.job.node) == ("running", "n1")
    longest = longest_s(60.0, rounds.job.spec)
    # It may have got what it was promised when it was not known to be away, and the one promise since.
    rounds.round(31.0, silent=("n1",))
    rounds.round(31.0, silent=("n1",))
    for _ in range(3):
        requests = rounds.round((longest - 1) / 3, silent=("n1",))
        assert rounds.orders(requests) == [("n1", "lease", 1)]
        assert (rounds.job.state, rounds.job.attempt) == ("running", 1)
    rounds.round(2.0, silent=("n1",))
    assert [change["event"] for change in rounds.summary.changed] == ["job.moved"]
    assert (rounds.job.state, rounds.job.node, rounds.job.retries_used) == ("queued", None, 0)
    assert rounds.job.detail == "attempt 1 lost (expired) on n1; it goes elsewhere"
    requests = rounds.round(1.0, silent=("n1",))
    assert rounds.orders(requests) == [("n1", "stop", 1), ("n2", "start", 2)]
    assert (rounds.job.state, rounds.job.node, rounds.job.attempt) == ("running", "n2", 2)
    first, second = rounds.attempts
    assert (first.state, first.reason, first.stop_due, second.state) == ("lost", "expired", True, "running")
    assert "n1 cannot be asked, and nobody renewed the lease of 60 s for more than 80 s" in str(first.detail)
    rounds.round(500.0, silent=("n1",))
    assert rounds.events().count("job.moved") == 1


@pytest.mark.accepts("C61", "B10", "B16")
@pytest.mark.parametrize("end", ["succeeded", "cancelled", "lost"])
def test_a_node_that_comes_back_ends_the_old_attempt_and_its_result_is_history(store: Store, end: str) -> None:
    rounds = Rounds(store)
    rounds.round()
    rounds.round(61.0, silent=("n1",))
    rounds.round(100.0, silent=("n1",))
    assert rounds.orders(rounds.round(silent=("n1",))) == [("n1", "stop", 1), ("n2", "start", 2)]
    alive = rounds.answer("n1", observation(rounds.job, "running", 1), orders=(taken(rounds.job, "stop", 1),))
    before = rounds.job
    requests = rounds.round(1.0, n1=alive)
    assert rounds.orders(requests) == [("n1", "stop", 1), ("n2", "lease", 2)]
    over = rounds.answer("n1", observation(rounds.job, end, 1, exit_code=0), orders=(taken(rounds.job, "stop", 1),))
    rounds.round(1.0, n1=over)
    assert [change["event"] for change in rounds.summary.changed] == ["attempt.late"]
    assert dataclasses.replace(rounds.job, updated_at=0.0) == dataclasses.replace(before, updated_at=0.0)
    first, _ = rounds.attempts
    assert (first.state, first.reason, (first.observation or {})["state"]) == ("lost", "expired", end)
    assert list(rounds.round(1.0)) == ["n2"], "nothing is left to end"
    (late,) = store.events(types=("attempt.late",))
    assert (late.node, late.attempt, late.data["to"]) == ("n1", 1, end)


@pytest.mark.parametrize(
    ("asked", "named", "unasked", "ended"),
    [
        ((), None, (), 1),
        ((), None, ("n1",), 0),
        ((), ("other",), (), 0),
        ((), ("a-2222",), (), 1),
        (("n1",), ("other",), (), 1),
    ],
)
def test_who_is_asked_to_end_what_is_left(
    asked: tuple[str, ...], named: tuple[str, ...] | None, unasked: tuple[str, ...], ended: int
) -> None:
    left = attempt(RUNNING, state="lost", reason="expired", stop_due=True)
    state = State((), {}, (node("n1"),), left=(left,))
    meant = None if named is None else frozenset(named)
    found = list(end_orders(state, dict.fromkeys(asked, ()), meant, frozenset(unasked)))
    assert [(name, order["order"], order["attempt"]) for name, order in found] == [("n1", "stop", 1)] * ended


def test_a_node_that_never_had_the_attempt_has_nothing_to_end(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round(silent=("n1",))
    rounds.round(61.0, silent=("n1",))
    rounds.round(100.0, silent=("n1",))
    assert rounds.job.state == "queued"
    nothing = rounds.answer("n1", orders=(refused(rounds.job, "unknown_job", kind="stop", number=1),))
    rounds.round(n1=nothing)
    assert [row.stop_due for row in rounds.attempts] == [None, None]


@pytest.mark.accepts("B10")
def test_without_a_lease_an_attempt_is_left_alone_for_ever(store: Store) -> None:
    rounds = Rounds(store, lease=None)
    rounds.round()
    for _ in range(5):
        assert rounds.orders(rounds.round(1e6, silent=("n1",))) == []
    assert (rounds.job.state, rounds.job.attempt, rounds.job.node) == ("running", 1, "n1")
    assert rounds.events() == ["job.queued", "job.starting", "job.running"]


@pytest.mark.accepts("B10")
@pytest.mark.parametrize("jump", [1e9, -1e9])
def test_setting_the_time_of_the_controller_ends_no_lease(store: Store, jump: float) -> None:
    rounds = Rounds(store)
    rounds.round()
    rounds.round(61.0, silent=("n1",))
    rounds.wall += jump
    rounds.round(1.0, silent=("n1",))
    assert (rounds.job.state, rounds.job.attempt) == ("running", 1)


@pytest.mark.accepts("B10")
def test_a_controller_that_booted_counts_from_then_on(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    rounds.round(61.0, silent=("n1",))
    rounds.name, rounds.at = "desk, next boot", 1e6
    rounds.round(0.0, silent=("n1",))
    rounds.round(longest_s(60.0, rounds.job.spec), silent=("n1",))
    assert rounds.job.state == "running"
    rounds.round(1.0, silent=("n1",))
    assert rounds.job.state == "queued"


@pytest.mark.accepts("B10")
def test_a_controller_that_was_away_asks_before_it_concludes(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    done = rounds.answer("n1", observation(rounds.job, "succeeded", exit_code=0), asked=(rounds.id,))
    rounds.round(1e6, n1=done)
    assert (rounds.job.state, len(rounds.attempts)) == ("succeeded", 1)


def test_an_absence_that_is_shorter_than_the_lease_changes_nothing(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    for _ in range(5):
        rounds.round(11.0, silent=("n1",))
    (order,) = rounds.round(4.0)["n1"]["orders"]
    assert order["until_boot_s"] > rounds.at + 1000.0, "it is renewed in the very round in which it is back"
    assert rounds.events() == [
        "job.queued",
        "job.starting",
        "job.running",
    ]
    assert (rounds.job.state, rounds.job.attempt) == ("running", 1)


def test_a_job_with_nowhere_else_to_go_waits_for_its_node(store: Store) -> None:
    rounds = Rounds(store, target="n1")
    rounds.round()
    rounds.round(61.0, silent=("n1",))
    rounds.round(100.0, silent=("n1",))
    assert rounds.orders(rounds.round(1.0, silent=("n1",))) == [("n1", "stop", 1)]
    assert rounds.job.detail == "attempt 1 of it may be alive on n1: it starts when that is known to have ended"
    over = rounds.answer("n1", observation(rounds.job, "lost", 1, reason="expired"))
    rounds.round(1.0, n1=over)
    assert rounds.orders(rounds.round(1.0)) == [("n1", "start", 2)]


def test_what_the_node_itself_ended_for_want_of_a_controller_starts_again(store: Store) -> None:
    rounds = Rounds(store, max_retries=1)
    rounds.round()
    rounds.round(1e4, n1=rounds.answer("n1", observation(rounds.job, "lost", reason="expired"), asked=(rounds.id,)))
    assert (rounds.job.state, rounds.job.moves, rounds.job.retries_used) == ("queued", 1, 0)
    assert rounds.job.not_before is None


def test_a_job_that_takes_every_node_down_does_not_move_for_ever(store: Store) -> None:
    rounds = Rounds(store, max_retries=1)
    ended = 0
    while rounds.job.state != "dead":
        rounds.round(100.0)
        assert rounds.job.attempt == ended + 1
        lost = rounds.answer(str(rounds.job.node), observation(rounds.job, "lost", reason="expired"))
        rounds.round(1.0, **{str(rounds.job.node): lost})
        ended += 1
    assert (ended, rounds.job.moves, rounds.job.retries_used) == (MOST_MOVES + 2, MOST_MOVES, 1)


def test_a_job_that_was_to_stop_is_over_when_its_lease_is(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    rounds.store.request_stop(rounds.id)
    assert rounds.orders(rounds.round(61.0, silent=("n1",))) == [("n1", "stop", 1)]
    rounds.round(30.0, silent=("n1",))
    assert (rounds.job.state, rounds.job.reason) == ("lost", "expired")


def test_a_start_that_came_too_late_is_ordered_again(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round(n1=rounds.answer("n1", orders=(refused(rounds.job, "late_order", number=1),)))
    assert (rounds.job.state, rounds.job.attempt) == ("starting", 1)
    requests = rounds.round(31.0)
    assert rounds.orders(requests) == [("n1", "start", 1)]
    assert requests["n1"]["orders"][0]["until_boot_s"] == pytest.approx(1191.0, abs=0.1)


@pytest.mark.parametrize(
    ("variable", "option", "seconds"), [("move:2m", None, 120.0), ("move:2m", "keep", None), (None, None, None)]
)
def test_the_lease_of_a_node(store: Store, variable: str | None, option: str | None, seconds: float | None) -> None:
    rounds = Rounds(store, lease=option)
    rounds.nodes = tuple(NodeInfo(name, ("all",), {"stoker_lease": variable} if variable else {}) for name in ("n1",))
    rounds.round()
    (row,) = rounds.attempts
    assert (row.lease and row.lease["seconds"]) == seconds
    assert store.shortest_lease_s() == seconds


def test_a_wrong_variable_of_a_node_is_told(store: Store) -> None:
    rounds = Rounds(store, lease=None)
    rounds.nodes = (NodeInfo("n1", ("all",), {"stoker_lease": "movee"}),)
    rounds.round()
    assert (rounds.job.state, rounds.job.detail) == ("queued", "n1: stoker_lease: 'movee' is no lease")


def test_every_round_that_reaches_a_node_renews_what_is_there(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    rounds.at += 31.0
    request = RoundRequest("observe", nodes=("n1",))
    ((order,),) = (
        asked["orders"] for asked in begin_round(store, rounds.nodes, request, 1.0, clock=rounds.clock).values()
    )
    assert (order["order"], order["until_boot_s"]) == ("lease", pytest.approx(1191.0, abs=0.1))
    other = store.add_job("b", {"argv": ["true"]}, "n1").id
    request = RoundRequest(jobs=(other,))
    asked = begin_round(store, rounds.nodes, request, 1.0, clock=rounds.clock)["n1"]
    assert [order["order"] for order in asked["orders"]] == ["start", "lease"]


def test_an_attempt_read_back_from_its_node_is_renewed(store: Store) -> None:
    rounds = Rounds(store)
    rounds.round()
    spec, uid = rounds.job.spec, rounds.job.uid
    with store.write() as transaction:
        transaction.remove_job(rounds.id)
    found = {**observation(job(rounds.id), "running", 1), "uid": uid, "spec": spec}
    finish_round(store, {"n1": rounds.answer("n1", found)}, 1.0, request=RoundRequest("adopt"), clock=rounds.clock)
    assert rounds.attempts[0].lease is None
    (order,) = rounds.round(1.0)["n1"]["orders"]
    assert (order["order"], order["until_boot_s"] is not None) == ("lease", True)


@pytest.mark.parametrize("how", ["removed", "not in the inventory"])
@pytest.mark.parametrize("name", ["desk", "lab"])
def test_a_job_on_a_node_that_nobody_asks_goes_elsewhere_when_its_lease_has_run_out(
    store: Store, how: str, name: str
) -> None:
    """Also by a controller that did not start it: it counts from when it saw that first, and promises nothing."""
    rounds = Rounds(store)
    rounds.round()
    first = rounds.job.node
    assert first == "n1"
    if how == "removed":
        decide(store, first, lambda row, _: decisions.remove(first, row, "inventory", "ada", rounds.wall), rounds.wall)
    else:
        rounds.nodes = tuple(each for each in rounds.nodes if each.name != first)
    rounds.name, promised = name, rounds.attempts[0].lease
    assert rounds.round() == {}
    why = "its node n1 was removed" if how == "removed" else "its node n1 is not in the inventory"
    assert (rounds.job.state, rounds.job.detail) == ("running", why)
    told = rounds.attempts[0].lease
    assert told is not None
    assert promised is not None
    assert (told["until"], sorted(told["since"])) == (promised["until"], sorted({"desk", name}))
    assert rounds.round(longest_s(60.0, rounds.job.spec) - 1.0) == {}
    assert rounds.orders(rounds.round(2.0)) == [("n2", "start", 2)]
    lost = rounds.attempts[0]
    assert (lost.node, lost.state, lost.reason, lost.stop_due) == ("n1", "lost", "expired", True)
    assert "job.moved" in rounds.events()


def test_a_job_that_stays_on_a_node_that_nobody_asks_stays_there(store: Store) -> None:
    rounds = Rounds(store, lease=None)
    rounds.round()
    rounds.nodes = rounds.nodes[1:]
    rounds.round(1e6)
    assert rounds.round(1e6) == {}
    assert (rounds.job.state, rounds.job.node) == ("running", "n1")
