# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on workflows, with nodes that are played."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

from stoker.dispatch.workflows import advance_workflows
from stoker.errors import UsageError
from stoker.marked import ConfigError
from stoker.operations import clean, workflows
from stoker.operations.session import Session

TWO = "name: two\ncontext: {n: 1}\njobs:\n  a: {argv: [x], on: n1}\n  b: {needs: a, argv: [x], on: n1}\n"


@pytest.fixture
def two() -> str:
    Path("two.yml").write_text(TWO)
    return "two.yml"


def end(session: Session, nodes: PlayedNodes, step: str, state: str, **seen: Any) -> None:
    """Let the job of a step be over, and the store hear of it in a round."""
    part = next(part for part in session.store.workflows.parts(name(session)) if part.step == step)
    nodes.show(str(part.job_id), state, **seen)
    with session.store.write() as transaction:
        advance_workflows(session.store, transaction, 1.0)


def name(session: Session) -> str:
    return session.store.workflows.page()[0].id


@pytest.mark.accepts("C46")
def test_a_stream_makes_rounds_for_the_jobs_of_its_workflow_until_it_is_over(
    session: Session, nodes_played: PlayedNodes, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    stream = workflows.run(session, two, context={"n": "2"})
    asked: list[list[str]] = []
    known: list[list[str]] = []

    def on_round(request: dict[str, Any]) -> None:
        asked.append(request["jobs"])
        known.append([node.name for node in session.inventory.nodes])
        nodes_played.join(f"new{len(asked)}")
        end(session, nodes_played, "a" if len(asked) == 1 else "b", "succeeded", exit_code=0, elapsed_s=1.0)

    nodes_played.on_round = on_round
    counts = [report.workflow.counts for report in stream]
    assert counts == [{"queued": 1, "waiting": 1}, {"succeeded": 1, "queued": 1}, {"succeeded": 2}]
    assert [job.rpartition("-")[0] for jobs in asked for job in jobs] == ["two-a", "two-b"]
    assert [names[3:] for names in known] == [[], ["new1"]], "nodes that join meanwhile are seen"
    assert stream.exit_code == 0
    assert stream.last is not None
    assert (stream.last.workflow.context, stream.last.workflow.needs) == ({"n": 2}, {"a": (), "b": ("a",)})


def test_a_failure_is_the_exit_code(session: Session, nodes_played: PlayedNodes, two: str) -> None:
    workflows.submit(session, two)
    end(session, nodes_played, "a", "failed", exit_code=3, reason="code")
    stream = workflows.watch(session, name(session))
    (report,) = stream
    assert (report.workflow.state, stream.exit_code) == ("failed", 1)
    assert [(job.state, job.exit_code) for job in report.workflow.jobs] == [("failed", 3), ("skipped", None)]


def test_data_of_a_step_is_in_its_job(session: Session) -> None:
    text = "name: w\njobs:\n  a: {argv: [x], dataset: '{{ context.data }}'}\ncontext: {data: words.txt}\n"
    Path("w.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"jobs\.a\.dataset: there is no "):
        workflows.submit(session, "w.yml")
    Path("words.txt").write_text("words")
    workflows.submit(session, "w.yml")
    (job,) = session.store.jobs()
    dataset = job.spec["dataset"]
    assert (dataset["folder"], dataset["bytes"]) == (str(Path("words.txt").absolute()), 5)
    assert list((job.wants or {})["data"]) == [f"dataset:{dataset['digest'][:32]}"]


def test_a_snapshot_is_taken_once_and_kept_until_the_workflow_is_over(
    session: Session, nodes_played: PlayedNodes
) -> None:
    Path("train.py").write_text("print(1)\n")
    Path("w.yml").write_text(
        "name: w\njobs:\n  a: {argv: [x], on: n1}\n"
        "  b: {needs: a, snapshot: true, argv: [x], matrix: {n: [1, 2, 3]}}\n"
        "  c: {needs: b, snapshot: true, argv: [x]}\n"
    )
    workflows.validate(session, "w.yml")
    assert session.store.snapshots.here() == frozenset(), "checking takes none"
    workflows.submit(session, "w.yml")
    assert len([line for line in nodes_played.said if "snapshot of" in line]) == 1
    (digest,) = session.store.snapshots.here()
    row = session.store.workflows.get(name(session))
    assert row is not None
    body = row.body
    taken = [plan["spec"]["snapshot"]["digest"] for step in "bc" for plan in body["steps"][step]["parts"]]
    assert taken == [digest] * 4
    os.utime(session.store.snapshots.tree(digest).parent, (0, 0))
    clean.clean(session, older_than=0)
    assert session.store.snapshots.here() == {digest}
    nodes_played.on_round = lambda _: None
    assert workflows.cancel(session, name(session)).workflow.state == "cancelled"
    os.utime(session.store.snapshots.tree(digest).parent, (0, 0))
    clean.clean(session, older_than="10h")
    assert session.store.snapshots.here() == frozenset()


def test_an_unreachable_node_is_told_and_ends_the_waiting(
    session: Session, nodes_played: PlayedNodes, two: str
) -> None:
    workflows.submit(session, two)
    part = session.store.workflows.parts(name(session))[0]
    nodes_played.show(str(part.job_id), "running")
    nodes_played.away["n1"] = "no route"
    done = workflows.cancel(session, name(session))
    assert (done.changed, done.workflow.state, done.workflow.stopping) == (True, "running", True)
    assert done.told.endswith("was told to end and has not yet")
    assert [problem.node for problem in done.problems] == ["n1"]


def test_it_is_drawn_as_it_is_needed(session: Session, nodes_played: PlayedNodes, two: str) -> None:
    assert workflows.draw(session, two).lines == (" 1 ■ a", "   │", " 2 ■ b    ← a")
    workflows.submit(session, two)
    end(session, nodes_played, "a", "failed", exit_code=1)
    assert workflows.draw(session, "two").lines == (" 1 ■ a  failed", "   │", " 2 ■ b  skipped  ← a")
    drawn = workflows.draw(session, "two", mermaid=True).lines
    assert drawn[:4] == (
        "flowchart TD",
        '  a_(["a<br/>failed"]):::failed',
        '  b_(["b<br/>skipped"]):::skipped',
        "  a_ --> b_",
    )


@pytest.mark.accepts("C46", "V34")
def test_a_step_on_several_nodes_is_a_gang(session: Session, nodes_played: PlayedNodes) -> None:
    Path("g.yml").write_text("name: g\njobs:\n  a: {argv: [x], nodes: 2, on: gpus}\n")
    workflow = workflows.submit(session, "g.yml").workflow
    ranks = session.store.gang(str(workflow.jobs[0].job))
    assert [rank.rank for rank in ranks] == [0, 1]
    assert nodes_played.rounds[-1]["jobs"] == [rank.id for rank in ranks]
    nodes_played.show(ranks[0].id, "succeeded", exit_code=0)
    nodes_played.show(ranks[1].id, "running")
    assert workflows.status(session, "g").workflow.jobs[0].state == "running", "rank 1 runs on"
    for nodes, told in (
        ("3", "g.yml:3: jobs.a.nodes: 3: only 2 can be meant"),
        ("0", "jobs.a.nodes: 0 is not a number"),
    ):
        Path("g.yml").write_text(f"name: g\njobs:\n  a: {{argv: [x], nodes: {nodes}, on: gpus}}\n")
        with pytest.raises(ConfigError) as caught:
            workflows.validate(session, "g.yml")
        assert told in caught.value.message


def test_what_is_over_is_cleared_by_age_count_or_name(session: Session, nodes_played: PlayedNodes) -> None:
    for number in range(4):
        Path("c.yml").write_text(f"name: c{number}\njobs:\n  a: {{argv: [x], on: n1}}\n")
        workflows.submit(session, "c.yml")
        if number < 3:
            end(session, nodes_played, "a", "succeeded")  # at second 1 of 1970

    def names() -> list[str]:
        return [row.name for row in session.store.workflows.page()]

    assert [row.name for row in workflows.clear(session, keep_last=1, dry_run=True).removed] == ["c1", "c0"]
    assert names() == ["c3", "c2", "c1", "c0"]
    done = workflows.clear(session, "c1")
    assert ([row.name for row in done.removed], done.kept, names()) == (["c1"], 2, ["c3", "c2", "c0"])
    with pytest.raises(UsageError, match="is running"):
        workflows.clear(session, "c3")
    assert workflows.clear(session, older_than="100000d").removed == ()
    assert [row.counts for row in workflows.clear(session).removed] == [{"succeeded": 1}] * 2
    assert names() == ["c3"], "what runs stays"
    assert workflows.clear(session).removed == ()
