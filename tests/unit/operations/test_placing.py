# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a caller asks of a job's place: what is written down of it, and what is answered of gangs."""

from __future__ import annotations

from typing import Any

import pytest
from played import PlayedNodes

from stoker.cli.render_placement import lines
from stoker.config import Placement
from stoker.errors import UsageError
from stoker.operations import jobs, submit, templates
from stoker.operations.session import Session

WISHES: dict[str, Any] = {"apart": "seed", "data": ("imagenet",), "disk": "2G", "nodes": 2}
WANTS = {"apart": "seed", "data": {"imagenet": 1}, "disk_bytes": 2 << 30}


def wants(session: Session, job: str) -> dict[str, Any]:
    row = session.store.job(job)
    assert row is not None
    return {name: value for name, value in (row.wants or {}).items() if name != "schema"}


@pytest.mark.accepts("C11", "V34")
def test_what_is_asked_of_the_place_is_written_down(session: Session) -> None:
    job = submit.run(session, ["true"], on="gpus", **WISHES).job
    assert wants(session, job.id) == {**WANTS, "ranks": 2}
    assert (job.gang, job.rank, job.ranks) == (job.id, 0, 2)
    assert [row.id for row in session.store.gang(job.id)] == [job.id, f"{job.id}-1"]
    plain = submit.run(session, ["true"], on="gpus").job
    assert (wants(session, plain.id), plain.gang, plain.ranks) == ({}, None, None)


def test_a_template_keeps_it_and_what_is_named_goes_before(session: Session) -> None:
    templates.save(session, "t", ["true"], apart="seed", disk="1G", on="gpus")
    job = templates.run(session, "t", disk="2G", data=["imagenet"]).job
    assert wants(session, job.id) == WANTS
    gang = submit.run(session, ["true"], on="gpus", **WISHES).job
    templates.save(session, "u", from_=gang.id)
    assert wants(session, templates.run(session, "u").job.id) == WANTS


@pytest.mark.accepts("V34")
def test_a_gang_again_is_a_gang(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["true"], on="gpus", nodes=2).job
    for rank in (job.id, f"{job.id}-1"):
        nodes_played.show(rank, "failed", exit_code=1)
    again = submit.retry(session, f"{job.id}-1").job
    assert (again.gang, again.ranks, again.retry_of) == (again.id, 2, f"{job.id}-1")
    assert len(session.store.gang(again.id)) == 2


def test_nodes_that_were_asked_what_they_have_get_it_in_the_next_round(
    session: Session, nodes_played: PlayedNodes
) -> None:
    def rounds(request: dict[str, Any]) -> None:
        (job,) = request["jobs"]
        if len(nodes_played.rounds) == 1:
            row = session.store.job(job)
            assert row is not None
            with session.store.write() as transaction:
                transaction.change_job(row, {"detail": "asking n1, n2 for their GPUs"})
        else:
            nodes_played.show(job, "running")

    nodes_played.on_round = rounds
    assert submit.run(session, ["true"], on="gpus", gpus=1).job.state == "running"
    assert len(nodes_played.rounds) == 2


@pytest.mark.accepts("V34")
def test_stopping_one_rank_and_waiting_for_one_is_about_all(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["true"], on="gpus", nodes=2).job
    other = f"{job.id}-1"
    nodes_played.show(job.id, "succeeded", exit_code=0)
    nodes_played.show(other, "running")
    nodes_played.on_round = lambda request: nodes_played.show(other, "failed", exit_code=3) and None
    ended = jobs.wait(session, job.id, timeout=120)
    assert (ended.job.id, ended.job.state) == (other, "failed")
    assert nodes_played.rounds[-1]["jobs"] == [job.id, other]
    nodes_played.on_round = lambda request: None
    second = submit.run(session, ["true"], on="gpus", nodes=2).job
    stopped = jobs.stop(session, f"{second.id}-1")
    assert [result.job.state for result in stopped.stopped] == ["cancelled", "cancelled"]
    shown = jobs.get(session, second.id)
    assert [rank.id for rank in shown.gang] == [second.id, f"{second.id}-1"]


def test_the_settings_go_with_a_round_only_where_they_are_not_the_defaults(
    session: Session, nodes_played: PlayedNodes
) -> None:
    submit.run(session, ["true"], on="n1")
    assert "placement" not in nodes_played.rounds[-1]
    object.__setattr__(session.config, "placement", Placement(pass_limit=3, group_limits={"gpus": 2}))
    submit.run(session, ["true"], on="n1")
    told = nodes_played.rounds[-1]["placement"]
    assert (told["pass_limit"], told["group_limits"], told["weights"]["jobs"]) == (3, {"gpus": 2}, 3.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 3}, "--nodes 3: only 2 can be meant"),
        ({"nodes": 0}, "--nodes: 0"),
        ({"where": ["stoker_x=1"]}, "no node has the variable stoker_x"),
        ({"where": ["x=1"]}, "begin with stoker_"),
        ({"disk": "0"}, "--disk"),
        ({"data": ["a b"]}, "--data: 'a b' is no name"),
    ],
)
def test_what_no_node_could_take_is_refused_before_anything_is_written(
    session: Session, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        submit.run(session, ["true"], on="gpus", **options)
    assert session.store.jobs() == []


@pytest.mark.accepts("C11")
def test_why_a_node_was_chosen_in_words() -> None:
    part = {"cpu": {"value": 0.8, "why": "CPU 20% used"}, "disk": {"value": None, "why": "emptiest disk unknown"}}
    first = {"node": "n1", "score": 0.8269, "sample_age_s": 5.0, "parts": part}
    told = {"why": "score", "chosen": first, "others": [{**first, "node": "n2", "score": 0.5, "sample_age_s": None}]}
    said = "CPU 20% used, emptiest disk unknown"
    assert list(lines(told)) == [
        "the highest score", f"n1 0.83: {said}; sample of 5.0 s ago", f"n2 0.50: {said}; no sample that is new enough"
    ]  # fmt: skip
    assert list(lines({"why": "named"})) == ["it names its node"]
