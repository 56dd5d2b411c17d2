# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes jobs, who is asked, when a node is offline and what leaves it: tables, and what holds whatever is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import attempt, job, known

from stoker.dispatch import NodeInfo, RoundRequest, decisions
from stoker.dispatch.membership import Rules, leaves, needs_approval, standing
from stoker.dispatch.model import Plan, State
from stoker.dispatch.nodes import heard, missed
from stoker.dispatch.plan import plan
from stoker.dispatch.states import after_end
from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow, MemberRow, NodeRow

NOW = 1000.0
# How long an example takes says how busy the machine is.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FOUND = {"stoker_needs_approval": True}
LET_IN = {"stoker_needs_approval": False}
STATES = ("pending", "expired", "active", "draining", "drained", "removed")


def member(name: str, state: str, **fields: Any) -> MemberRow:
    return MemberRow(name, state, "added", 1.0, **fields)


def announced(state: str, **fields: Any) -> MemberRow:
    return MemberRow("n1", state, "announced", 1.0, **fields)


def planned(
    jobs: list[JobRow], members: list[MemberRow], *, attempts: list[AttemptRow] | None = None,
    rows: list[NodeRow] | None = None, found: tuple[str, ...] = (), **request: Any,
) -> Plan:  # fmt: skip
    nodes = tuple(NodeInfo(name, ("all",), FOUND if name in found else {}) for name in ("n1", "n2"))
    state = State(
        tuple(jobs), {row.job_id: row for row in attempts or []}, nodes, {row.name: row for row in rows or []},
        RoundRequest(**request), members={row.name: row for row in members},
    )  # fmt: skip
    return plan(state, NOW)


@pytest.mark.accepts("C08")
@pytest.mark.parametrize(
    ("variables", "row", "state"),
    [
        ({}, None, "active"),
        (FOUND, None, "pending"),
        ({"stoker_needs_approval": "no"}, None, "active"),
        ({"stoker_needs_approval": "{{ x }}"}, None, "pending"),
        (FOUND, member("n1", "active"), "active"),
        (FOUND, member("n1", "pending", expires_at=NOW + 1), "pending"),
        (FOUND, member("n1", "pending", expires_at=NOW), "expired"),
        (LET_IN, announced("pending", expires_at=NOW + 1), "active"),
        (LET_IN, announced("pending", expires_at=NOW), "active"),
        (LET_IN, announced("expired"), "active"),
        ({}, announced("expired"), "expired"),
        (LET_IN, announced("removed"), "removed"),
        (LET_IN, announced("drained"), "drained"),
        (LET_IN, member("n1", "pending", expires_at=NOW + 1), "pending"),
        ({}, member("n1", "removed"), "removed"),
        ({}, member("n1", "draining"), "draining"),
    ],
)
def test_how_a_node_stands(variables: dict[str, Any], row: MemberRow | None, state: str) -> None:
    assert standing(variables, row, NOW) == state


@pytest.mark.parametrize(
    ("row", "rows", "reason"),
    [
        (member("n1", "pending", expires_at=NOW + 60), [], "n1 is pending: stoker node approve n1"),
        (member("n1", "pending", expires_at=NOW - 1), [], "the request of n1 to join has expired: stoker node add n1"),
        (member("n1", "draining"), [], "n1 is being drained: stoker node resume n1"),
        (member("n1", "drained"), [], "n1 is drained: stoker node resume n1"),
        (member("n1", "removed"), [], "n1 was removed: stoker node add n1"),
        (member("n1", "active"), [known("n1", unreachable_since=1.0, offline_since=2.0)], "n1 is offline"),
    ],
)
@pytest.mark.accepts("C08", "C09", "C49")
def test_why_a_job_waits_for_its_node(row: MemberRow, rows: list[NodeRow], reason: str) -> None:
    found = planned([job(target="n1")], [row], rows=rows)
    assert (found.waiting, dict(found.orders)) == ({"a-2222": reason}, {})
    # One that is offline is asked whether it is back; the others are left alone.
    assert list(found.observe) == (["n1"] if reason == "n1 is offline" else [])
    elsewhere = planned([job()], [row], rows=[*rows, known("n2")])
    assert list(elsewhere.orders) == ["n2"]


def test_a_node_that_is_not_approved_closes_no_other() -> None:
    jobs = [job("a-2222", number=1, target="n1", queue="q"), job("b-2222", number=2, queue="q")]
    found = planned(jobs, [member("n1", "drained")], rows=[known("n1"), known("n2")])
    assert list(found.orders) == ["n2"]


@pytest.mark.parametrize("mode", ["dispatch", "observe", "adopt"])
@pytest.mark.parametrize("row", [None, member("n1", "pending"), member("n1", "expired"), member("n1", "removed")])
@pytest.mark.accepts("C07")
def test_nobody_asks_a_node_that_is_not_approved(mode: str, row: MemberRow | None) -> None:
    found = planned([], [row] if row else [], found=("n1",), mode=mode, nodes=("n1", "n2"), probe=True)
    assert set(found.observe) == {"n2"}


@pytest.mark.accepts("C07")
def test_a_node_that_was_removed_by_force_is_left_alone_with_its_jobs() -> None:
    busy = job(attempt=1, state="running", node="n1", stop_requested="cancelled")
    found = planned([busy], [member("n1", "removed")], attempts=[attempt(busy)])
    assert (dict(found.observe), dict(found.orders)) == ({}, {})
    assert [change.values["detail"] for change in found.changes] == ["its node n1 was removed"]
    assert found.waiting == {"a-2222": "its node n1 was removed"}


@pytest.mark.accepts("C09")
def test_who_is_probed() -> None:
    assert set(planned([], []).observe) == set()
    assert set(planned([], [], probe=True).observe) == {"n1", "n2"}
    fresh = [known("n1", last_seen=NOW - 14), known("n2", last_seen=NOW - 15)]
    assert set(planned([], [], rows=fresh, probe=True).observe) == {"n2"}
    away = [known("n1", misses=1, missed_at=NOW - 5, unreachable_since=5.0), known("n2", last_seen=NOW)]
    assert set(planned([], [], rows=away, probe=True).observe) == set()
    rules = Rules(probe_s=5)
    assert set(planned([], [], rows=away, probe=True, membership=rules).observe) == {"n1"}


@pytest.mark.accepts("C09")
def test_three_misses_one_in_each_interval() -> None:
    row = None
    moments = [(0, 1, None), (5, 1, None), (14.9, 1, None), (15, 2, None), (29, 2, None), (30, 3, 30.0), (60, 4, 30.0)]
    for at, misses, since in moments:
        row = missed(row, "n1", "Connection refused", float(at), Rules())
        assert (row.misses, row.offline_since, row.unreachable_since) == (misses, since, 0.0), at
    back = heard(row, "n1", {}, 70.0)
    assert (back.misses, back.missed_at, back.offline_since, back.unreachable_since) == (0, None, None, None)


@unhurried
@given(st.lists(st.tuples(st.floats(0.1, 40), st.booleans()), max_size=30), st.integers(1, 5))
@pytest.mark.accepts("C09", "B10")
def test_a_node_is_offline_after_so_many_misses_running_and_never_sooner(
    looks: list[tuple[float, bool]], many: int
) -> None:
    rules, row, now = Rules(misses=many), None, 0.0
    silent_since: float | None = None
    for pause, answers in looks:
        now += pause
        row = heard(row, "n1", {}, now) if answers else missed(row, "n1", "no", now, rules)
        silent_since = None if answers else now if silent_since is None else silent_since
        assert (row.offline_since is not None) == (row.misses >= many)
        if row.offline_since is not None:
            assert silent_since is not None
            assert row.offline_since - silent_since >= (many - 1) * rules.probe_s - 1e-6


RUNS = {"attempt": 1, "state": "running", "node": "n1"}


@pytest.mark.accepts("C49")
@pytest.mark.parametrize(
    ("row", "of_job", "of_attempt", "stops"),
    [
        ("runs, time left", {}, {}, False),
        ("runs, time over", {}, {}, True),
        ("waits there for a GPU, time left", {"state": "queued"}, {"state": "queued"}, True),
        ("never confirmed, time left", {"state": "starting"}, {"state": "starting", "confirmed_at": None}, True),
        ("starts there, time left", {"state": "starting"}, {"state": "starting"}, False),
    ],
)
def test_what_leaves_a_node_that_is_drained(
    row: str, of_job: dict[str, Any], of_attempt: dict[str, Any], stops: bool
) -> None:
    one = job(**{**RUNS, **of_job})
    left = -1.0 if "time over" in row else 60.0
    found = planned([one], [member("n1", "draining", drain_deadline=NOW + left)], attempts=[attempt(one, **of_attempt)])
    orders = [order["order"] for order in found.orders.get("n1", ())]
    assert orders == (["stop"] if stops else [])
    assert [(change.event, change.values.get("put_back")) for change in found.changes] == (
        [("job.put_back", "n1 is drained")] if stops else []
    )


def test_a_job_that_somebody_stops_is_not_put_back() -> None:
    one = job(**RUNS, stop_requested="cancelled")
    assert leaves(member("n1", "draining", drain_deadline=0.0), one, attempt(one), NOW) is None
    stopped = job(**RUNS, put_back="x", stop_requested="cancelled")
    assert after_end(stopped, "cancelled", None, NOW)[0] == "job.cancelled"


@pytest.mark.accepts("C49")
@pytest.mark.parametrize("retries", [0, 2])
def test_a_job_that_was_put_back_uses_up_no_retry(retries: int) -> None:
    one = job(**RUNS, put_back="n1 is drained", max_retries=retries, retries_used=retries)
    event, values = after_end(one, "cancelled", None, NOW)
    assert (event, values["state"], values["node"], values["put_back"]) == ("job.requeued", "queued", None, None)
    assert "retries_used" not in values
    # What ended by itself meanwhile ended.
    assert after_end(one, "succeeded", None, NOW)[0] == "job.succeeded"
    assert after_end(one, "failed", "code", NOW, exit_code=1)[0] == ("job.dead" if retries else "job.failed")


@unhurried
@given(
    st.lists(st.tuples(st.sampled_from(STATES), st.booleans(), st.booleans()), min_size=2, max_size=2),
    st.lists(st.sampled_from([None, "n1", "n2", "all"]), min_size=1, max_size=6),
)
@pytest.mark.accepts("C08", "C09", "C49")
def test_nothing_new_ever_starts_on_a_node_that_takes_none(
    nodes: list[tuple[str, bool, bool]], targets: list[str | None]
) -> None:
    names = ("n1", "n2")
    members = [member(n, state, drain_deadline=NOW + 9) for n, (state, _, _) in zip(names, nodes, strict=True)]
    rows = [
        known(n, unreachable_since=1.0 if off else None, offline_since=2.0 if off else None)
        for n, (_, off, _) in zip(names, nodes, strict=True)
    ]
    open_nodes = {n for n, (state, off, _) in zip(names, nodes, strict=True) if state == "active" and not off}
    jobs = [job(f"{'abcdef'[i]}-2222", number=i, target=target) for i, target in enumerate(targets)]
    found = planned(jobs, members, rows=rows, probe=nodes[0][2])
    assert set(found.orders) <= open_nodes
    for one in jobs:
        may = open_nodes & ({one.target} if one.target in names else set(names))
        assert (one.id in found.waiting) == (not may)
        assert found.waiting.get(one.id) != ""


@pytest.mark.accepts("C08")
def test_who_asks_to_join_and_whose_request_expires() -> None:
    nodes = (NodeInfo("n1", ("all", "tag_gpu"), FOUND), NodeInfo("n2", ("all",), FOUND), NodeInfo("own", ("all",)))

    def follows(members: list[MemberRow], **rules: Any) -> list[tuple[str, str]]:
        request = RoundRequest(membership=Rules(**rules))
        state = State((), {}, nodes, request=request, members={row.name: row for row in members})
        return [(one.member.name, one.event) for one in decisions.by_themselves(state, NOW)]

    assert follows([]) == [("n1", "node.pending"), ("n2", "node.pending")]
    assert follows([], auto_approve=("tag_gpu",)) == [("n1", "node.approved"), ("n2", "node.pending")]
    late = [member("n1", "pending", expires_at=NOW), member("n2", "pending", expires_at=NOW + 1)]
    assert follows(late) == [("n1", "node.expired")]
    assert follows([member("n1", "expired"), member("n2", "removed")]) == []
    nodes = (NodeInfo("n1", ("all",), LET_IN),)
    assert follows([announced("pending", expires_at=NOW)]) == [], "the inventory let it in meanwhile"
    asked = decisions.ask("n1", "added", "ada", (), Rules(pending_s=7), NOW)
    assert (asked.member.state, asked.member.expires_at) == ("pending", NOW + 7)


def approve(row: MemberRow | None) -> object:
    return decisions.approve("n1", {}, row, "ada", NOW)


def resume(row: MemberRow | None) -> object:
    return decisions.resume("n1", {}, row, "ada", NOW)


def drain(row: MemberRow | None) -> object:
    return decisions.drain("n1", {}, row, "ada", 0.0, NOW)


@pytest.mark.parametrize(
    ("row", "longest", "deadline"),
    [
        (None, None, NOW + 1800),
        (None, 60.0, NOW + 60),
        (member("n1", "draining", drain_deadline=NOW + 7200), None, NOW + 7200),
        (member("n1", "draining", drain_deadline=NOW + 7200), 0.0, NOW),
        (member("n1", "drained", drain_deadline=NOW - 7200), None, NOW + 1800),
    ],
)
@pytest.mark.accepts("C49")
def test_until_when_jobs_may_finish(row: MemberRow | None, longest: float | None, deadline: float) -> None:
    assert decisions.drain("n1", {}, row, "ada", longest, NOW).member.drain_deadline == deadline


def remove(row: MemberRow | None) -> object:
    return decisions.remove("n1", row, "inventory", "ada", NOW)


@pytest.mark.parametrize(
    ("decide", "row", "refused"),
    [
        (approve, None, "needs no approval: it is active"),
        (approve, member("n1", "pending", expires_at=NOW - 61), "expired 61 s ago"),
        (approve, member("n1", "removed"), "n1 was removed"),
        (resume, None, "n1 is not drained: it is active"),
        (drain, member("n1", "pending", expires_at=NOW + 9), "n1 is pending"),
        (remove, member("n1", "removed"), "n1 was removed before"),
    ],
)
def test_what_cannot_be_decided(
    decide: Callable[[MemberRow | None], object], row: MemberRow | None, refused: str
) -> None:
    with pytest.raises(UsageError, match=refused):
        decide(row)


def test_rules_from_outside() -> None:
    assert Rules.of({"misses": 0, "auto_approve": ["a"]}) == Rules(misses=1, auto_approve=("a",))
    assert RoundRequest.parse({"probe": True, "membership": {"probe_s": 3}}).membership.probe_s == 3
    for wrong in ({"misses": "x"}, {"probes": 1}):
        with pytest.raises(UsageError, match=r"stoker_round\.membership"):
            Rules.of(wrong)
    assert needs_approval({}) is False
