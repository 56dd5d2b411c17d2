# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Submitting, listing, stopping, clearing away: what is written down and what is answered."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

from stoker.config import Lease
from stoker.dispatch import decisions
from stoker.dispatch.members import decide
from stoker.errors import NotFound, UsageError
from stoker.operations import clean, dispatch, jobs, submit
from stoker.operations.session import Session
from stoker.operations.values import RoundReport


def test_a_job_is_written_down_as_it_was_given(session: Session, nodes_played: PlayedNodes) -> None:
    nodes_played.on_round = lambda request: nodes_played.show(request["jobs"][0], "running", elapsed_s=0.4) and None
    argv = ["-x", "", "a b", "$HOME", "`id`", "new\nline", "{{ x }}", "ünï"]
    done = submit.run(
        session, argv, on="n1", gpus=2, env={"A": "1"}, timeout="2h", memory="8G", retries=3, name="Train it"
    )
    row = session.store.job(done.job.id)
    assert row is not None
    assert row.spec["argv"] == argv
    assert (row.spec["gpus"], row.spec["env"], row.spec["timeout_s"], row.spec["memory_bytes"]) == (
        2,
        {"A": "1"},
        7200,
        8 << 30,
    )
    assert (row.target, row.max_retries, done.job.state, done.job.node) == ("n1", 3, "running", "n1")
    assert row.id.startswith("train-it-")


def test_the_folder_is_this_one_only_where_the_job_runs_here(session: Session) -> None:
    assert submit.run(session, ["true"], on="localhost").job.workdir == str(Path.cwd())
    assert submit.run(session, ["true"], on="localhost", workdir="sub").job.workdir == str(Path.cwd() / "sub")
    assert submit.run(session, ["true"], on="n1").job.workdir is None
    assert submit.run(session, ["true"], on="n1", workdir="sub").job.workdir == "sub"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "nothing to run"),
        ({"argv": ["a"], "script": "b"}, "either a command or a script"),
        ({"argv": ["a"], "secret": ["TOKEN_THAT_IS_NOT_SET"]}, "no TOKEN_THAT_IS_NOT_SET in the environment"),
        ({"argv": ["a"], "secret": ["TOKEN=hunter2"]}, "takes a name, not a value"),
        ({"argv": ["a"], "retries": -1}, "--retries"),
        ({"argv": ["a"], "metric": {"loss": "(("}}, "metrics"),
        ({"argv": ["a"], "checkpoint_signal": "USR9"}, "--checkpoint-signal"),
        ({"argv": ["a"], "env": {"1A": "x"}}, "env"),
        ({"argv": ["a\0b"]}, "argv"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    session: Session, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as told:
        submit.run(session, arguments.pop("argv", ()), **arguments)
    assert "hunter2" not in str(told.value)
    assert session.store.jobs() == []


def test_an_unknown_node_is_told_with_a_near_name(session: Session) -> None:
    with pytest.raises(UsageError, match="Did you mean 'gpus'"):
        submit.run(session, ["true"], on="gpu")


@pytest.mark.accepts("D12")
def test_again_is_the_same_job_with_a_link_to_the_old_one(session: Session, nodes_played: PlayedNodes) -> None:
    first = submit.run(session, ["a", "b c"], on="n1", gpus=1, env={"A": "1", "B": "2"}, workdir="/srv", timeout=60).job
    nodes_played.show(first.id, "failed", reason="code", exit_code=7)
    again = submit.retry(session, first.id, env={"B": "3"}).job
    old, new = session.store.job(first.id), session.store.job(again.id)
    assert old is not None
    assert new is not None
    assert again.retry_of == first.id
    assert again.id != first.id
    assert new.spec["env"] == {"A": "1", "B": "3"}
    different = {"job", "uid", "env"}
    assert {k: v for k, v in new.spec.items() if k not in different} == {
        k: v for k, v in old.spec.items() if k not in different
    }
    assert new.target == old.target


@pytest.mark.accepts("D12")
@pytest.mark.parametrize("state", ["queued", "starting", "running"])
def test_a_job_that_is_not_over_is_not_run_again(session: Session, nodes_played: PlayedNodes, state: str) -> None:
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, state)
    with pytest.raises(UsageError, match=f"is {state}: it cannot be run again"):
        submit.retry(session, job.id)
    assert len(session.store.jobs()) == 1


@pytest.mark.accepts("D10")
@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_elapsed_is_the_nodes_own_count_whatever_its_clock_says(
    session: Session, nodes_played: PlayedNodes, skew: int
) -> None:
    job = submit.run(session, ["a"], on="n1").job
    now = time.time()
    nodes_played.show(job.id, "running", elapsed_s=100.0, started_at=now + skew - 100, observed_at=now - 20)
    seen = jobs.get(session, job.id).job
    assert seen.elapsed_s == pytest.approx(120, abs=2)
    nodes_played.show(job.id, "succeeded", elapsed_s=130.5, exit_code=0)
    assert jobs.get(session, job.id).job.elapsed_s == 130.5


@pytest.mark.accepts("B10")
def test_a_node_that_is_away_changes_no_state_and_stops_no_clock_forward(
    session: Session, nodes_played: PlayedNodes
) -> None:
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, "running", elapsed_s=100.0, observed_at=time.time() - 50)
    nodes_played.know("n1", unreachable_since=time.time() - 40, unreachable_message="No route to host")
    seen = jobs.list_jobs(session).jobs[0]
    assert (seen.state, seen.elapsed_s) == ("running", 100.0)
    assert time.time() - (seen.unreachable_since or 0) == pytest.approx(40, abs=2)


def test_listing_asks_no_node_unless_told_to(session: Session, nodes_played: PlayedNodes) -> None:
    submit.run(session, ["a"], on="n1")
    nodes_played.rounds.clear()
    assert jobs.list_jobs(session).freshness.source == "stored"
    assert nodes_played.rounds == []
    assert jobs.list_jobs(session, live=True).freshness.source == "live"
    assert [r["mode"] for r in nodes_played.rounds] == ["observe"]


def test_the_beginning_of_an_id_is_enough_and_a_wrong_one_gets_a_suggestion(session: Session) -> None:
    job = submit.run(session, ["a"], name="train").job
    assert jobs.get(session, job.id[:-1]).job.id == job.id
    with pytest.raises(NotFound, match=f"Did you mean '{job.id}'"):
        jobs.get(session, job.id[:-1] + "!")


@pytest.mark.accepts("D09")
def test_stopping_what_is_over_is_said_and_changes_nothing(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, "succeeded", exit_code=0)
    nodes_played.rounds.clear()
    stopped = jobs.stop(session, job.id).stopped[0]
    assert (stopped.outcome, stopped.job.state) == ("already_over", "succeeded")
    assert "nothing to stop" in stopped.message
    assert nodes_played.rounds == []


@pytest.mark.accepts("C51")
def test_a_stop_is_not_told_before_the_node_has_shown_it(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, "running")
    calls: list[str] = []

    def shows_it_in_the_second_round(request: dict[str, Any]) -> None:
        calls.append(request["mode"])
        if len(calls) == 2:
            nodes_played.show(job.id, "cancelled")

    nodes_played.on_round = shows_it_in_the_second_round
    stopped = jobs.stop(session, job.id, grace=3).stopped[0]
    assert (stopped.outcome, stopped.job.state, len(calls)) == ("stopped", "cancelled", 2)


def test_a_stop_that_cannot_reach_the_node_says_so(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, "running")
    nodes_played.know("n1", unreachable_since=time.time(), unreachable_message="no route")
    nodes_played.away["n1"] = "no route"
    done = jobs.stop(session, job.id)
    assert (done.stopped[0].outcome, done.stopped[0].job.state) == ("unreachable", "running")
    assert done.problems[0].message == "no route"


def test_what_runs_on_a_node_that_was_removed_can_be_given_up(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1").job.id
    nodes_played.show(job, "running")
    nodes_played.know("n1")
    decide(
        session.store, "n1", lambda row, _: decisions.remove("n1", row, "inventory", "ada", time.time()), time.time()
    )
    (told,) = jobs.stop(session, job).stopped
    assert (told.outcome, told.job.state) == ("unreachable", "running")
    assert "n1 is not asked any more (it was removed)" in told.message
    (gone,) = jobs.stop(session, job, give_up=True).stopped
    assert (gone.outcome, gone.job.state) == ("given_up", "lost")
    assert "n1 cannot be asked (it was removed)" in gone.message


@pytest.mark.accepts("B10")
def test_what_is_given_up_is_lost_without_proof_and_ended_when_its_node_is_back(
    session: Session, nodes_played: PlayedNodes
) -> None:
    gone, here = (submit.run(session, ["a"], on=node).job.id for node in ("n1", "n2"))
    row = nodes_played.show(gone, "running")
    with session.store.write() as transaction:
        seen = {"state": "running", "evidence": "its lock is held"}
        transaction.change_attempt(row.id, 1, {"observation": seen})
    nodes_played.show(here, "running", node="n2")
    nodes_played.know("n1", unreachable_since=time.time(), unreachable_message="no route")
    nodes_played.know("n2")
    nodes_played.away["n1"] = "no route"
    one, other = jobs.stop(session, gone, here, give_up=True).stopped
    assert (one.outcome, one.job.state, one.job.reason) == ("given_up", "lost", None)
    assert str(one.job.evidence).startswith("given up: "), "not what its node said last"
    what = "n1 cannot be asked (no route), and what became of it there is not known"
    assert one.message == f"{gone} given up: {what}; when n1 answers, what is left of it is ended"
    assert (other.outcome, other.job.state) == ("stopping", "running"), "its node answers"
    (attempt,) = session.store.attempts(gone)
    assert (attempt.state, attempt.stop_due) == ("lost", True)
    assert [event.type for event in session.store.events(job_id=gone)][-1] == "job.lost"


@pytest.mark.parametrize(
    ("option", "setting", "lease"),
    [
        (None, {}, None),
        ("move:1m", {}, {"policy": "move", "seconds": 60.0}),
        (None, {"policy": "move", "seconds": 90.0}, {"policy": "move", "seconds": 90.0}),
        ("keep", {"policy": "move"}, {"policy": "keep", "seconds": None}),
    ],
)
def test_which_lease_a_job_gets(
    session: Session, nodes_played: PlayedNodes, option: str | None, setting: dict[str, Any], lease: Any
) -> None:
    session.config = replace(session.config, lease=Lease(**setting))  # cached: it was read once
    job = submit.run(session, ["a"], on="n1", **({"lease": option} if option else {})).job
    row = session.store.job(job.id)
    assert row is not None
    assert row.spec.get("lease") == lease
    assert job.lease_s == (lease["seconds"] if lease else None)


def test_a_loop_makes_three_rounds_while_half_of_the_shortest_lease_passes(session: Session) -> None:
    rounds = dispatch.RoundStream(session, 10.0)
    report = RoundReport((), 0, 0, 0.1, ())
    assert rounds._pause_s(report, 10.0) == 10.0
    job = submit.run(session, ["a"], on="n1").job.id
    with session.store.write() as transaction:
        values = {"job_id": job, "number": 1, "node": "n1", "state": "running", "claimed_at": 1.0, "log_start": 0}
        lease = {"seconds": 30.0, "until": None, "boot_id": None, "since": {}, "blind": False}
        transaction.add_attempt({**values, "log_end": 0, "lease": lease})
    assert rounds._pause_s(report, 10.0) == 5.0


@pytest.mark.accepts("D13")
def test_clean_reports_what_the_node_deleted_and_keeps_the_rest(session: Session, nodes_played: PlayedNodes) -> None:
    old = [submit.run(session, ["a"], on="n1", name=f"old{i}").job.id for i in range(3)]
    for job in old:
        nodes_played.show(job, "succeeded", exit_code=0)
    running = submit.run(session, ["a"], on="n1", name="busy").job.id
    nodes_played.show(running, "running")

    def deletes_all_but_the_first(playbook: str, node: str, request: dict[str, Any]) -> dict[str, Any]:
        assert running not in request["jobs"]
        gone = [{"job": job, "attempt": 1, "bytes": 10} for job in request["jobs"] if job != old[0]]
        return {"reply": {"removed": gone, "kept": len(request["jobs"]) - len(gone)}}

    nodes_played.answers = deletes_all_but_the_first
    assert clean.clean(session, older_than="24h").removed == ()
    kept_one = clean.clean(session, older_than=0, keep_last=1, dry_run=True)
    assert {r.job for r in kept_one.removed} == {old[1]}
    assert len(session.store.jobs()) == 4
    report = clean.clean(session, older_than=0)
    assert {r.job for r in report.removed} == {old[1], old[2]}
    assert sum(r.bytes for r in report.removed) == 20
    assert {row.id for row in session.store.jobs()} == {old[0], running}


@pytest.mark.accepts("D13")
def test_clean_keeps_the_jobs_of_a_node_that_does_not_answer(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1").job.id
    nodes_played.show(job, "failed", reason="code", exit_code=1)
    nodes_played.away["n1"] = "timed out"
    report = clean.clean(session, older_than=0)
    assert (report.removed, report.kept, report.problems[0].kind) == ((), 1, "unreachable")
    assert session.store.job(job) is not None


def test_waiting_goes_on_over_a_node_that_is_away_until_the_job_is_over(
    session: Session, nodes_played: PlayedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    job = submit.run(session, ["a"], on="n1").job
    nodes_played.show(job.id, "running")
    seen: list[int] = []

    def third_time_it_is_over(request: dict[str, Any]) -> None:
        seen.append(1)
        nodes_played.away = {"n1": "no route"} if len(seen) < 3 else {}
        if len(seen) == 3:
            nodes_played.show(job.id, "failed", reason="code", exit_code=7)

    nodes_played.on_round = third_time_it_is_over
    ended = jobs.wait(session, job.id)
    assert (ended.job.state, ended.job.exit_code, ended.timed_out, len(seen)) == ("failed", 7, False, 3)
    other = submit.run(session, ["a"], on="n1").job
    assert jobs.wait(session, other.id, timeout=0).timed_out
