# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attempt wrote last is tried for as long as a next attempt waits for it, and a failure is said."""

from __future__ import annotations

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

SPEC = {"argv": ["true"], "checkpoints": {"path": "out", "every_s": 60.0, "ask": False}}


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
