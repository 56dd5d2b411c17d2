# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rounds over a store: what the nodes say becomes what the store holds, and nothing else does."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from made import node, observation, refused, reply, taken

from stoker.dispatch import NodeResult, RoundRequest, RoundSummary, begin_round, finish_round
from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow, Store

SPEC = {"argv": ["true"]}
NODES = (node("n1", "all"), node("n2", "all"))


class Rounds:
    """A job on n1, and rounds at moments of the test's choosing."""

    def __init__(self, store: Store, **fields: Any) -> None:
        self.store = store
        self.id = store.add_job("a", SPEC, target="n1", now=1.0, **fields).id

    @property
    def job(self) -> JobRow:
        found = self.store.job(self.id)
        assert found is not None
        return found

    @property
    def attempts(self) -> list[AttemptRow]:
        return self.store.attempts(self.id)

    def begin(self, now: float, **request: Any) -> dict[str, dict[str, Any]]:
        return begin_round(self.store, NODES, RoundRequest(**request), now)

    def tell(self, now: float, state: str, number: int | None = None, where: str = "n1", **fields: Any) -> RoundSummary:
        return finish_round(self.store, {where: reply(observation(self.job, state, number, **fields))}, now)

    def events(self) -> list[str]:
        return [event.type for event in self.store.events(job_id=self.id)]


@pytest.fixture
def rounds(store: Store) -> Rounds:
    return Rounds(store)


def test_a_job_from_its_claim_to_its_end(rounds: Rounds) -> None:
    request = rounds.begin(10.0)["n1"]
    (order,) = request["orders"]
    assert (order["order"], order["attempt"], order["spec"]) == ("start", 1, rounds.job.spec)
    assert request["observe"]["log_from"] == {f"{rounds.id}/1": 0}
    assert (rounds.job.state, rounds.job.attempt, rounds.job.node) == ("starting", 1, "n1")

    summary = rounds.tell(11.0, "running", started_at=10.5, elapsed_s=0.5, last_line="epoch 1")
    assert [(change["from"], change["to"]) for change in summary.changed] == [("starting", "running")]
    assert rounds.tell(12.0, "running", started_at=10.5, elapsed_s=1.5, last_line="epoch 2").changed == []
    (attempt,) = rounds.attempts
    assert attempt.observation is not None
    assert (attempt.observation["last_line"], attempt.observed_at, attempt.confirmed_at) == ("epoch 2", 12.0, 11.0)

    rounds.tell(13.0, "failed", reason="oom", exit_code=137, signal=9, oom=True, ended_at=12.5, elapsed_s=2.0)
    job, (attempt,) = rounds.job, rounds.attempts
    assert (job.state, job.reason, job.exit_code, job.signal, job.elapsed_s) == ("failed", "oom", 137, 9, 2.0)
    assert (attempt.state, attempt.oom, attempt.ended_at) == ("failed", True, 12.5)
    assert rounds.events() == ["job.queued", "job.starting", "job.running", "job.failed"]
    assert rounds.begin(14.0) == {}


def test_a_job_that_waits_on_its_node_says_for_what(rounds: Rounds) -> None:
    rounds.begin(10.0)
    waiting = {"position": 1, "needs": 2, "free": 0, "held_by": ["train-9x2a"]}
    rounds.tell(11.0, "queued", waiting=waiting)
    assert (rounds.job.state, rounds.job.node) == ("queued", "n1")
    assert rounds.job.detail == "waits on n1 for 2 GPUs, held by train-9x2a"
    assert rounds.begin(12.0)["n1"]["orders"] == []
    assert rounds.store.request_stop(rounds.id).state == "queued"
    assert [order["order"] for order in rounds.begin(13.0)["n1"]["orders"]] == ["stop"]


def test_failed_attempts_are_followed_by_others_until_they_are_spent(store: Store) -> None:
    rounds = Rounds(store, max_retries=2)
    for number, (now, pause) in enumerate([(10.0, 1.0), (20.0, 2.0)], start=1):
        (order,) = rounds.begin(now)["n1"]["orders"]
        assert order["attempt"] == number
        rounds.tell(now, "failed", reason="code", exit_code=7)
        assert (rounds.job.state, rounds.job.node) == ("queued", None)
        assert now + pause <= (rounds.job.not_before or 0.0) <= now + pause * 1.1
        assert rounds.begin(now + pause - 0.1) == {}
    rounds.begin(30.0)
    rounds.tell(30.0, "lost", reason="reboot")
    assert (rounds.job.state, rounds.job.reason) == ("dead", "reboot")
    assert [(a.state, a.exit_code) for a in rounds.attempts] == [("failed", 7), ("failed", 7), ("lost", None)]
    assert [name for name in rounds.events() if name in ("job.retry", "job.dead")] == [
        "job.retry",
        "job.retry",
        "job.dead",
    ]


@pytest.mark.accepts("B10")
def test_late_news_of_an_older_attempt_is_history(store: Store) -> None:
    rounds = Rounds(store, max_retries=1)
    rounds.begin(10.0)
    rounds.tell(11.0, "lost", reason="killed")
    rounds.begin(20.0)
    rounds.tell(21.0, "running", 2)
    before = rounds.job
    for _ in range(2):
        assert [c["event"] for c in rounds.tell(22.0, "succeeded", 1, exit_code=0).changed] in (["attempt.late"], [])
    assert rounds.job == before
    first, second = rounds.attempts
    assert (first.state, (first.observation or {})["state"], second.state) == ("lost", "succeeded", "running")
    assert rounds.events().count("attempt.late") == 1


def test_an_answer_that_a_newer_one_has_overtaken_changes_nothing(rounds: Rounds) -> None:
    rounds.begin(10.0)
    rounds.tell(11.0, "running")
    before = rounds.job, rounds.attempts
    assert rounds.tell(12.0, "starting").changed == []
    assert (rounds.job, rounds.attempts) == before


@pytest.mark.parametrize("other", [{"where": "n2"}, {"uid": "somebody-else"}])
def test_what_is_not_this_attempt_changes_nothing(rounds: Rounds, other: dict[str, Any]) -> None:
    rounds.begin(10.0)
    before = rounds.job
    rounds.tell(11.0, "succeeded", **other)
    assert rounds.job == before


@pytest.mark.accepts("B10")
def test_an_unreachable_node_changes_no_job(rounds: Rounds) -> None:
    rounds.begin(10.0)
    rounds.tell(11.0, "running")
    before = rounds.job
    for now in (12.0, 30.0):
        assert list(rounds.begin(now)) == ["n1"]
        summary = finish_round(rounds.store, {"n1": NodeResult(unreachable="Connection refused")}, now)
        assert summary.unreachable == {"n1": "Connection refused"}
    assert rounds.job == before
    row = rounds.store.node("n1")
    assert row is not None
    assert (row.unreachable_since, row.misses, row.unreachable_message, row.last_seen) == (
        12.0,
        2,
        "Connection refused",
        11.0,
    )
    rounds.tell(14.0, "running")
    row = rounds.store.node("n1")
    assert row is not None
    assert (row.unreachable_since, row.misses) == (None, 0)
    told = [event.type for event in rounds.store.events() if event.node == "n1" and event.type.startswith("node.")]
    assert told == ["node.unreachable", "node.reachable"]


@pytest.mark.accepts("B10")
def test_a_start_whose_answer_was_lost_is_the_same_attempt_when_it_is_ordered_again(rounds: Rounds) -> None:
    rounds.begin(10.0)
    finish_round(rounds.store, {"n1": NodeResult(unreachable="timed out")}, 11.0)
    (order,) = rounds.begin(12.0)["n1"]["orders"]
    assert (order["order"], order["attempt"]) == ("start", 1)
    finish_round(rounds.store, {"n1": reply(orders=(taken(rounds.job),))}, 13.0)
    assert rounds.begin(14.0)["n1"]["orders"] == []
    assert len(rounds.attempts) == 1


@pytest.mark.parametrize("code", ["conflict", "no_space", "read_only", "not_supported", "bad_request"])
def test_a_refused_start_fails_in_the_nodes_own_words_and_is_not_tried_again(store: Store, code: str) -> None:
    rounds = Rounds(store, max_retries=3)
    rounds.begin(10.0)
    finish_round(store, {"n1": reply(orders=(refused(rounds.job, code, "no space left in /home"),))}, 11.0)
    assert (rounds.job.state, rounds.job.reason) == ("dead", "start")
    assert rounds.job.detail == "n1 refused to start it: no space left in /home"


def test_stopping_a_running_job(rounds: Rounds) -> None:
    rounds.begin(10.0)
    rounds.tell(11.0, "running")
    assert rounds.store.request_stop(rounds.id, "cancelled", 5.0).state == "running"
    (order,) = rounds.begin(12.0)["n1"]["orders"]
    assert (order["order"], order["grace_s"]) == ("stop", 5.0)
    finish_round(
        rounds.store,
        {"n1": reply(observation(rounds.job, "running", stopping=True), orders=(taken(rounds.job, "stop"),))},
        12.0,
    )
    assert rounds.begin(13.0)["n1"]["orders"][0]["grace_s"] is None
    rounds.store.request_stop(rounds.id, "cancelled", 0.0)
    assert rounds.begin(14.0)["n1"]["orders"][0]["grace_s"] == 0.0
    rounds.tell(15.0, "cancelled")
    assert rounds.job.state == "cancelled"


def test_stopping_what_the_node_never_had(rounds: Rounds) -> None:
    rounds.begin(10.0)
    rounds.store.request_stop(rounds.id)
    finish_round(rounds.store, {"n1": reply(orders=(refused(rounds.job, "unknown_job", kind="stop"),))}, 11.0)
    assert (rounds.job.state, rounds.job.detail) == ("cancelled", "stopped before it began on n1")


def test_a_folder_that_is_gone_proves_nothing_unless_the_node_booted(rounds: Rounds) -> None:
    rounds.begin(10.0)
    rounds.tell(11.0, "running")
    finish_round(rounds.store, {"n1": reply()}, 12.0)
    assert (rounds.job.state, rounds.job.detail) == ("running", None)
    for _ in range(2):
        finish_round(rounds.store, {"n1": reply(asked=(rounds.id,))}, 13.0)
        assert rounds.job.state == "running"
        assert rounds.job.detail == "n1 has no folder of it any more: whether it still runs cannot be known"
    assert rounds.events().count("job.forgotten") == 1
    finish_round(rounds.store, {"n1": reply(asked=(rounds.id,), boot="boot-2")}, 14.0)
    assert (rounds.job.state, rounds.job.reason) == ("lost", "reboot")


@pytest.mark.accepts("D08")
def test_the_last_bytes_of_a_log_are_kept(rounds: Rounds) -> None:
    def told(state: str, offset: int, data: bytes) -> NodeResult:
        packed = base64.b64encode(zlib.compress(data)).decode()
        chunk = {"offset": offset, "next": offset + len(data), "size": 99, "data": packed, "eof": False}
        return reply(observation(rounds.job, state), logs={f"{rounds.id}/1": chunk})

    rounds.begin(10.0)
    finish_round(rounds.store, {"n1": told("running", 0, b"one\n")}, 11.0)
    assert rounds.begin(12.0)["n1"]["observe"]["log_from"] == {f"{rounds.id}/1": 4}
    finish_round(rounds.store, {"n1": told("succeeded", 4, b"two\n")}, 12.0, request=RoundRequest(log_keep_bytes=6))
    assert rounds.store.read_log_copy(rounds.id, 1) == (2, b"e\ntwo\n")


@pytest.mark.accepts("C02")
@pytest.mark.parametrize(
    "broken",
    [
        {"schema": "stoker.reply/2"},
        {"attempts": [{"schema": "stoker.observation/2", "job": "x", "attempt": 1, "state": "running"}]},
        {"attempts": [{"schema": "stoker.observation/1", "job": "x", "attempt": 1, "state": "dancing"}]},
        {"attempts": ["?"]},
        {"node": "?"},
        {"ok": False, "error": {"code": "read_only", "message": "the disk is read-only"}},
    ],
)
def test_an_answer_that_cannot_be_used_does_not_hold_up_the_others(rounds: Rounds, broken: dict[str, Any]) -> None:
    rounds.begin(10.0)
    good = reply(observation(rounds.job, "running"))
    summary = finish_round(rounds.store, {"n1": good, "n2": reply(**broken)}, 11.0)
    assert list(summary.failed) == ["n2"]
    assert rounds.job.state == "running"


def test_a_plan_without_effect(rounds: Rounds) -> None:
    before = rounds.job
    assert list(begin_round(rounds.store, NODES, RoundRequest(), 10.0, dry_run=True)) == ["n1"]
    assert (rounds.job, rounds.attempts) == (before, [])


def test_a_round_for_a_node_that_does_not_exist(rounds: Rounds) -> None:
    with pytest.raises(UsageError, match="there is no node 'spark'"):
        rounds.begin(10.0, nodes=("spark",))


@pytest.mark.parametrize("asked", [{"mode": "dance"}, {"nodes": "n1"}, {"wait_s": "long"}, {"speed": 1}])
def test_a_request_that_is_not_understood(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="stoker_round"):
        RoundRequest.parse(asked)


def test_another_round_is_worth_while_when_a_waiting_job_learned_something(store: Store) -> None:
    store.add_job("a", {**SPEC, "gpus": 1})
    requests = begin_round(store, NODES, RoundRequest(), 10.0)
    assert [request["gpus"] for request in requests.values()] == [True, True]
    told = {name: reply(node={"gpus": [{"uuid": "GPU-1"}]}) for name in ("n1", "n2")}
    assert finish_round(store, told, 11.0).again
    assert list(begin_round(store, NODES, RoundRequest(), 12.0)) == ["n1"]
    assert not finish_round(store, told, 13.0).again


class TestAdopting:
    """A store that was lost gets its jobs back."""

    def lost(self, store: Store) -> JobRow:
        job = store.add_job("a", SPEC)
        store.request_stop(job.id)
        store.delete_jobs([job.id])
        return job

    def adopt(self, store: Store, *observations: dict[str, Any], where: str = "n1") -> RoundSummary:
        request = RoundRequest("adopt")
        assert {r["observe"]["jobs"] for r in begin_round(store, NODES, request, 20.0).values()} == {"all"}
        return finish_round(store, {where: reply(*observations)}, 21.0, request=request)

    def test_a_job_with_all_its_attempts(self, store: Store) -> None:
        job = self.lost(store)
        first = observation(job, "failed", 1, reason="code", exit_code=7, spec=job.spec, queued_at=5.0)
        second = observation(job, "running", 2, started_at=8.0, spec=job.spec)
        assert self.adopt(store, second, first).adopted == [job.id]
        found = store.job(job.id)
        assert found is not None
        assert (found.uid, found.spec, found.state, found.attempt, found.node) == (
            job.uid,
            job.spec,
            "running",
            2,
            "n1",
        )
        assert (found.created_at, found.started_at) == (5.0, 8.0)
        assert [(a.number, a.state, a.exit_code) for a in store.attempts(job.id)] == [
            (1, "failed", 7),
            (2, "running", None),
        ]
        assert self.adopt(store, second, first).adopted == []
        assert begin_round(store, NODES, RoundRequest(), 30.0)["n1"]["observe"]["jobs"] == [job.id]

    def test_another_job_of_the_same_id_is_left_alone(self, store: Store) -> None:
        job = store.add_job("a", SPEC)
        summary = self.adopt(store, {**observation(job, "running", 1, spec=job.spec), "uid": "other"})
        assert summary.conflicts == {job.id: f"the store has another job called {job.id}, not the one on n1"}
        assert store.job(job.id) == job

    def test_a_spec_that_carries_secrets_is_not_taken(self, store: Store) -> None:
        job = self.lost(store)
        summary = self.adopt(store, observation(job, "running", 1, spec={**job.spec, "secrets": {"A": "b"}}))
        assert list(summary.conflicts) == [job.id]
        assert store.jobs() == []
