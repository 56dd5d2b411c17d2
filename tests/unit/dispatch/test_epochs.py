# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A leader that was stopped and wakes late changes nothing, whatever it has in hand."""

from __future__ import annotations

from typing import Any

import pytest
from made import node, observation, reply

from stoker.dispatch import RoundRequest, begin_round, finish_round
from stoker.store import Store
from stoker.store.dispatchers import SupersededError

NODES = (node("n1", "all"), node("n2", "all"))


def take_over(store: Store, name: str) -> int:
    leader = next((row for row in store.dispatchers.list() if row.leader), None)
    store.dispatchers.write_down(name, "desk", 1, 20.0)
    epoch = store.dispatchers.lead(name, leader, "asked to")
    assert epoch is not None
    return epoch


def everything(store: Store) -> Any:
    return store.jobs(), [store.attempts(job.id) for job in store.jobs()], store.nodes(), store.last_event()


@pytest.mark.accepts("B16")
def test_a_plan_of_an_older_epoch_claims_nothing(store: Store) -> None:
    store.add_job("a", {"argv": ["true"]}, target="n1")
    old = take_over(store, "a-2222")
    new = take_over(store, "b-2222")
    before = everything(store)
    with pytest.raises(SupersededError, match="b-2222 leads"):
        begin_round(store, NODES, RoundRequest(epoch=old), 10.0)
    assert everything(store) == before
    assert list(begin_round(store, NODES, RoundRequest(epoch=new), 10.0)) == ["n1"]


@pytest.mark.accepts("B16")
def test_answers_that_an_older_epoch_brings_late_are_not_written_down(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]}, target="n1", max_retries=1)
    old = take_over(store, "a-2222")
    begin_round(store, NODES, RoundRequest(epoch=old), 10.0)
    new = take_over(store, "b-2222")
    before = everything(store)
    late = {"n1": reply(observation(job, "failed", 1, reason="code", exit_code=1))}
    with pytest.raises(SupersededError, match="came too late"):
        finish_round(store, late, 11.0, request=RoundRequest(epoch=old))
    assert everything(store) == before
    finish_round(store, late, 12.0, request=RoundRequest(epoch=new))
    found = store.job(job.id)
    assert found is not None
    assert (found.state, found.retries_used) == ("queued", 1)


def test_a_round_without_an_epoch_is_made_beside_a_leader(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]}, target="n1")
    take_over(store, "a-2222")
    begin_round(store, NODES, RoundRequest(), 10.0)
    finish_round(store, {"n1": reply(observation(job, "running", 1))}, 11.0)
    found = store.job(job.id)
    assert found is not None
    assert found.state == "running"


def test_an_epoch_that_is_no_number_is_refused() -> None:
    from stoker.errors import UsageError

    with pytest.raises(UsageError, match="epoch"):
        RoundRequest.parse({"epoch": "seven"})
    assert RoundRequest.parse({"epoch": 7}).epoch == 7
