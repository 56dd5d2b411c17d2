# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attempt wrote last is tried for as long as a next attempt waits for it, and a failure is said."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes
from sqlalchemy import insert, update

from stoker.dispatch.model import LAST_PULL_S
from stoker.operations import checkpoint_pulls, submit
from stoker.operations.session import Session
from stoker.store import JobRow, schema

SPEC: dict[str, Any] = {"argv": ["true"], "checkpoints": {"path": "out", "every_s": 60.0, "ask": False}}


def ended(session: Session, *, ago_s: float, state: str = "failed") -> JobRow:
    """A job whose attempt on n1 failed; `queued`: it waits for its next one."""
    job = session.store.add_job("a", {**SPEC, "schema": "stoker.spec/1", "gpus": 0})
    node = None if state == "queued" else "n1"
    at = time.time() - ago_s
    with session.store.write() as transaction:
        values = {"state": state, "attempt": 1, "node": node}
        transaction.change(update(schema.jobs).where(schema.jobs.c.id == job.id).values(**values))
        transaction.change(
            insert(schema.attempts).values(
                job_id=job.id, number=1, node="n1", state="failed", reason="code", claimed_at=at, started_at=at,
                observed_at=at, log_start=0, log_end=0,
            )
        )  # fmt: skip
    found = session.store.job(job.id)
    assert found is not None
    return found


def answer(state: str, refused: str) -> dict[str, Any]:
    return {"checkpoint": {"state": state, "why": refused}, "refused": refused, "fetched": False}


@pytest.mark.accepts("V25")
@pytest.mark.parametrize("state", ["failed", "queued"])
@pytest.mark.parametrize(
    ("found", "ago_s", "open_"),
    [("ready", 1.0, True), ("ready", LAST_PULL_S + 1, False), ("unsteady", 1.0, False)],
)
def test_what_did_not_come_is_tried_again_and_said(
    session: Session, nodes_played: PlayedNodes, state: str, found: str, ago_s: float, open_: bool
) -> None:
    row = ended(session, ago_s=ago_s, state=state)
    nodes_played.answers = lambda *_asked: answer(found, "it did not come whole: rsync failed with code 12")
    problems = checkpoint_pulls.last(session, [row.id])
    assert [each.id for each in session.store.checkpoints.unsettled([row.id])] == ([row.id] if open_ else [])
    assert len(problems) == int(found == "ready"), problems
    (event,) = session.store.events(types=("checkpoint.refused",))
    assert "rsync failed" in event.data["reason"]


def due(session: Session, row: JobRow) -> tuple[float, float]:
    """When a fetch began, and when the next one is due."""
    checkpoint_pulls.pull(session, row, "n1")
    pull = session.store.checkpoints.pulls([row.id])[row.id]
    assert pull.next_at is not None
    assert pull.tried_at is not None
    return pull.tried_at, pull.next_at


@pytest.mark.accepts("V17")
@pytest.mark.parametrize("state", ["ready", "large"])
def test_what_does_not_come_is_read_less_and_less_often(
    session: Session, nodes_played: PlayedNodes, state: str
) -> None:
    row = ended(session, ago_s=1.0, state="running")
    nodes_played.answers = lambda *_asked: answer(state, "it did not come whole: rsync failed with code 12")
    first, second, third = (next_at - began for began, next_at in (due(session, row) for _ in range(3)))
    assert first >= checkpoint_pulls.SOON_S
    assert (second >= 2 * first, third >= 2 * second) == (True, True), (first, second, third)
    for _ in range(3):
        _, next_at = due(session, row)
    assert next_at <= time.time() + SPEC["checkpoints"]["every_s"], "its interval is the longest"
    nodes_played.answers = lambda *_asked: answer("unsteady", "step-30.pt was written to 0.1 s ago")
    _, next_at = due(session, row)
    assert next_at <= time.time() + checkpoint_pulls.SOON_S, "what was only looked at is looked at again soon"


@pytest.mark.accepts("V17")
def test_a_claim_that_ran_out_meanwhile_is_told_as_that(session: Session, nodes_played: PlayedNodes) -> None:
    row = ended(session, ago_s=1.0, state="running")
    store = session.store

    def bring(_playbook: str, _node: str, request: dict[str, Any]) -> dict[str, Any]:
        (Path(request["folder"]) / "out").write_text("x")
        assert store.checkpoints.claim(row.id, now=time.time() + 3600) is not None, "somebody else takes it"
        found = {
            "state": "ready",
            "digest": "d" * 64,
            "mark": "d" * 64,
            "name": "out",
            "step": 7,
            "files": 1,
            "bytes": 1,
        }
        return {"checkpoint": {**found, "written_at": 5.0}, "refused": None, "fetched": True}

    nodes_played.answers = bring
    assert checkpoint_pulls.pull(session, row, "n1").outcome == "busy"
    assert (store.checkpoints.of(row.id), list(store.checkpoints.files.here())) == ([], [])


@pytest.mark.accepts("V18")
def test_a_changed_host_name_leaves_what_is_kept_in_use(
    session: Session, nodes_played: PlayedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, digest = ended(session, ago_s=1.0, state="running"), "e" * 64
    asked: list[dict[str, Any]] = []

    def bring(_playbook: str, _node: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        (Path(request["folder"]) / "out").write_text("x")
        found = {"state": "ready", "digest": digest, "mark": digest, "name": "out", "step": 7, "files": 1, "bytes": 1}
        return {"checkpoint": {**found, "written_at": 5.0}, "refused": None, "fetched": True}

    nodes_played.answers = bring
    assert checkpoint_pulls.pull(session, row, "n1").outcome == "fetched"
    monkeypatch.setattr("platform.node", lambda: "renamed")
    (seen,) = session.store.checkpoints.of(row.id)
    assert not seen.place.startswith("renamed:")
    checkpoint_pulls.pull(session, row, "n1")
    assert (asked[1]["mark"], asked[1]["after"], Path(asked[1]["near"]).is_dir()) == (digest, 5.0, True)


@pytest.mark.accepts("V17")
def test_what_is_older_than_what_another_machine_fetched_is_none(session: Session, nodes_played: PlayedNodes) -> None:
    row, files = ended(session, ago_s=1.0, state="running"), session.store.checkpoints.files
    asked: list[dict[str, Any]] = []
    first, second = "e" * 64, "f" * 64

    def bring(_playbook: str, _node: str, request: dict[str, Any]) -> dict[str, Any]:
        digest = second if asked else first
        asked.append(request)
        (Path(request["folder"]) / "out").write_text(digest)
        found = {"state": "ready", "digest": digest, "mark": digest, "name": "out", "step": 7, "files": 1, "bytes": 1}
        return {"checkpoint": {**found, "written_at": 4.0 + len(asked)}, "refused": None, "fetched": True}

    nodes_played.answers = bring
    for _ in range(2):
        assert checkpoint_pulls.pull(session, row, "n1").outcome == "fetched"
    assert files.here() == {first, second}
    shutil.rmtree(files.root / second)  # as where another machine fetched it
    checkpoint_pulls.pull(session, row, "n1")
    assert (asked[2]["near"], asked[2]["mark"], asked[2]["after"]) == (str(files.tree(first)), first, 6.0)


@pytest.mark.accepts("V18")
def test_what_a_job_wrote_last_is_fetched_before_it_is_written_down_again(
    session: Session, nodes_played: PlayedNodes
) -> None:
    row, digest = ended(session, ago_s=3600), "c" * 64

    def bring(playbook: str, node: str, request: dict[str, Any]) -> dict[str, Any]:
        assert (playbook, node, request["job"]) == ("stoker.fleet.checkpoint", "n1", row.id)
        found = {
            "state": "ready", "digest": digest, "mark": digest, "name": "out", "step": 7, "files": 1, "bytes": 1,
            "written_at": 5.0,
        }  # fmt: skip
        (Path(request["folder"]) / "out").write_text("x")
        return {"checkpoint": found, "refused": None, "fetched": True}

    nodes_played.answers = bring
    (again,), _ = submit.retry_all(session, [row])
    assert [kept.step for kept in session.store.checkpoints.of(again.id)] == [7]
    away = ended(session, ago_s=3600)
    nodes_played.away["n1"] = "Connection refused"
    submit.retry_all(session, [away])
    assert f"n1: the newest checkpoint of {away.id} could not be fetched: Connection refused" in nodes_played.said
