# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of a pool: which nodes they get, what they are told while there is none, and what a provider's word proves."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made import attempt, job, known

from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.dispatch.model import Plan, State
from stoker.dispatch.place import targeted
from stoker.dispatch.plan import plan
from stoker.dispatch.provider import Word, proven_lost, take_word
from stoker.store import JobRow, Store

NOW = 1000.0
TOLD = "cheap: renting (1 of 2, loading for 3 min)"
OWN, ALIEN = NodeInfo("spark", ("gpu",)), NodeInfo("vast-9", ("pool_dear",), {"stoker_pool": "dear"})
NODES = (OWN, NodeInfo("vast-1", ("pool_cheap",), {"stoker_pool": "cheap"}),
         NodeInfo("vast-2", ("pool_cheap",), {"stoker_pool": "cheap"}), ALIEN)  # fmt: skip


def planned(*jobs: JobRow, nodes: tuple[NodeInfo, ...] = NODES) -> Plan:
    attempts = {each.id: attempt(each) for each in jobs if each.node is not None}
    rows = {each.name: known(each.name, 1) for each in nodes}
    return plan(State(jobs, attempts, nodes, rows, RoundRequest(pools={"cheap": TOLD})), NOW)


def where_to(found: Plan) -> dict[str, Any]:
    return {change.seen.id: change.values["node"] for change in found.changes if change.claim}


def test_what_a_target_means() -> None:
    assert targeted("pool:cheap", NODES) == ["vast-1", "vast-2"]
    # A machine that is paid by the hour is not simply taken.
    assert targeted(None, NODES) == ["spark"]
    assert targeted("pool:none", NODES) == []
    assert targeted("vast-1", NODES) == ["vast-1"]
    # What is only kept for its results takes no job of the pool.
    fetching = NodeInfo("vast-3", (), {"stoker_pool": ""})
    assert targeted("pool:cheap", (fetching,)) == targeted(None, (fetching,)) == []


def test_each_node_of_a_pool_gets_one_job() -> None:
    jobs = [job(f"a-{index}", number=index, target="pool:cheap") for index in range(3)]
    found = planned(*jobs)
    assert where_to(found) == {"a-0": "vast-1", "a-1": "vast-2"}
    assert found.waiting == {"a-2": TOLD}
    running = job("b", attempt=1, state="running", node="vast-1", target="pool:cheap")
    assert where_to(planned(running, jobs[0])) == {"a-0": "vast-2"}


def test_what_a_job_is_told_while_there_is_no_node() -> None:
    found = planned(job(target="pool:cheap"), nodes=(OWN, ALIEN))
    assert found.waiting == {"a-2222": TOLD}
    assert [change.values["detail"] for change in found.changes] == [TOLD]
    other = planned(job(target="pool:other"))
    assert other.waiting == {"a-2222": "pool other: nobody makes rounds that rent: stoker dispatch --loop"}


WORD = Word("vast-1", 500.0, "the provider says: outbid", gone=False, moves=2)
LOST = job(attempt=1, state="running", node="vast-1", target="pool:cheap")


@pytest.mark.parametrize(
    ("what", "changed", "word", "proof"),
    [
        ("began before", {}, WORD, True),
        ("claimed while the provider was asked", {"claimed_at": 500.0}, WORD, False),
        ("on another node", {"node": "vast-2"}, WORD, False),
        ("over already", {"state": "succeeded"}, WORD, False),
        ("of an older number", {"number": 0}, WORD, False),
    ],
)
def test_when_a_word_is_proof(what: str, changed: dict[str, Any], word: Word, proof: bool) -> None:
    assert (proven_lost(LOST, attempt(LOST, **changed), word, NOW) is not None) == proof


def test_a_loss_costs_no_retry_until_there_were_too_many() -> None:
    first = proven_lost(LOST, attempt(LOST), WORD, NOW)
    assert first is not None
    assert (first.event, first.values["state"], first.values["moves"]) == ("job.moved", "queued", 1)
    assert (first.attempt_values["state"], first.attempt_values["detail"]) == ("lost", WORD.told)
    # What is started again must not go on with it; what is gone cannot.
    assert first.attempt_values["stop_due"] is True
    gone = proven_lost(LOST, attempt(LOST), dataclasses.replace(WORD, gone=True), NOW)
    assert gone is not None
    assert "stop_due" not in gone.attempt_values
    spent = dataclasses.replace(LOST, moves=2)
    last = proven_lost(spent, attempt(spent), WORD, NOW)
    assert last is not None
    assert (last.event, last.values["state"], last.values["reason"]) == ("job.lost", "lost", "provider")
    retried = dataclasses.replace(spent, max_retries=1)
    again = proven_lost(retried, attempt(retried), WORD, NOW)
    assert again is not None
    assert (again.event, again.values["retries_used"]) == ("job.retry", 1)
    stopped = proven_lost(dataclasses.replace(LOST, stop_requested="cancelled"), attempt(LOST), WORD, NOW)
    assert stopped is not None
    assert stopped.values["state"] == "lost"


def running_on(store: Store, node: str, *nodes: NodeInfo) -> JobRow:
    row = store.add_job("train", {"argv": ["true"]}, "pool:cheap")
    requests = begin_round(store, list(nodes), RoundRequest(jobs=(row.id,)), 100.0)
    assert [order["order"] for order in requests[node]["orders"]] == ["start"]
    return row


def test_a_word_moves_the_job_elsewhere_at_once(store: Store) -> None:
    first, second = NODES[1], NODES[2]
    row = running_on(store, "vast-1", first)
    with store.write() as transaction:
        transaction.put_node(known("vast-1", 1))
    with store.write() as transaction:
        assert [change.event for change in take_word(transaction, WORD, 501.0)] == ["job.moved"]
        assert take_word(transaction, WORD, 502.0) == []
    after = store.job(row.id)
    assert after is not None
    assert (after.state, after.node, after.moves, after.retries_used) == ("queued", None, 1, 0)
    away = store.node("vast-1")
    assert away is not None
    assert (away.unreachable_message, away.offline_since) == (WORD.told, 501.0)
    # Not where it was, which may be back any time: elsewhere.
    requests = begin_round(store, [first, second], RoundRequest(), 510.0)
    assert [order["order"] for order in requests["vast-2"]["orders"]] == ["start"]
    attempts = store.attempts(row.id)
    assert [(each.number, each.node, each.state) for each in attempts] == [
        (1, "vast-1", "lost"), (2, "vast-2", "starting"),
    ]  # fmt: skip
    # Once it is gone nothing has to be ended there any more.
    with store.write() as transaction:
        take_word(transaction, dataclasses.replace(WORD, gone=True, told="gone"), 520.0)
        assert transaction.attempts_to_end() == []
