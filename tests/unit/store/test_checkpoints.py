# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints in the store: one fetches at a time, two are kept, and a job that is run again goes on from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from stoker.store import JobRow, Store, schema
from stoker.store.checkpoints import LEASE_S, mark_damaged

SPEC = {"argv": ["true"], "checkpoints": {"path": "out", "every_s": 60.0, "ask": False}}


def job_in(store: Store, state: str, attempt: int = 1) -> JobRow:
    job = store.add_job("a", SPEC, now=1.0)
    with store.write() as transaction:
        values = {"state": state, "attempt": attempt, "node": "n1" if state == "running" else None}
        transaction.change(update(schema.jobs).where(schema.jobs.c.id == job.id).values(**values))
    found = store.job(job.id)
    assert found is not None
    return found


def checkpoint(job: JobRow, digest: str, **more: Any) -> dict[str, Any]:
    return {
        "of_job": job.id, "attempt": 1, "node": "n1", "digest": digest * 64, "mark": digest * 64, "name": "out",
        "step": 1, "files": 1, "bytes": 3, "written_at": 5.0, **more,
    }  # fmt: skip


def keep(store: Store, job: JobRow, digest: str, **more: Any) -> list[str] | None:
    claimed = store.checkpoints.claim(job.id, now=10.0)
    assert claimed is not None
    return store.checkpoints.keep(claimed, checkpoint(job, digest), next_at=70.0, now=10.0, **more)


@pytest.mark.accepts("V17")
def test_one_fetches_at_a_time_and_who_came_late_changes_nothing(store: Store) -> None:
    job = job_in(store, "running")
    assert [row.id for row in store.checkpoints.due(10.0)] == [job.id]
    first = store.checkpoints.claim(job.id, now=10.0)
    assert first is not None
    assert store.checkpoints.claim(job.id, now=10.0 + LEASE_S - 1) is None
    assert store.checkpoints.due(10.0) == [], "it is being fetched"
    assert store.checkpoints.renew(first, now=10.0 + LEASE_S - 1)
    second = store.checkpoints.claim(job.id, now=10.0 + 2 * LEASE_S)
    assert second is not None
    assert not store.checkpoints.renew(first)
    assert store.checkpoints.keep(first, checkpoint(job, "a"), next_at=None) is None
    assert not store.checkpoints.end(first, next_at=None)
    assert store.checkpoints.of(job.id) == []
    assert store.checkpoints.keep(second, checkpoint(job, "b"), next_at=500.0) == []
    assert [row.digest[0] for row in store.checkpoints.of(job.id)] == ["b"]
    assert (store.checkpoints.due(499.0), len(store.checkpoints.due(500.0))) == ([], 1)


@pytest.mark.accepts("V17")
def test_the_last_two_are_kept_and_a_damaged_one_pushes_none_out(store: Store) -> None:
    job = job_in(store, "running")
    assert [keep(store, job, digest) for digest in "aab"] == [[], [], []], "the same again is no new one"
    assert keep(store, job, "c") == ["a" * 64]
    with store.write() as transaction:
        mark_damaged(transaction, job.id, "c" * 64, "it is cut", "n1", 11.0)
    assert keep(store, job, "d") == ["c" * 64]
    assert [row.digest[0] for row in store.checkpoints.of(job.id)] == ["d", "b"]
    told = [event.data.get("reason") for event in store.events(types=("checkpoint.damaged",))]
    assert told == ["it is cut"]
    assert len(store.events(types=("checkpoint.pulled",))) == 4


@pytest.mark.accepts("V18")
def test_what_an_attempt_wrote_last_is_due_at_once_and_once(store: Store) -> None:
    job = job_in(store, "running")
    keep(store, job, "a")
    with store.write() as transaction:
        transaction.change(update(schema.jobs).values(state="queued", node=None))
    assert [row.id for row in store.checkpoints.due(11.0)] == [job.id], "whatever its interval"
    assert [row.id for row in store.checkpoints.unsettled([job.id])] == [job.id]
    keep(store, job, "b", settled=1)
    assert (store.checkpoints.due(999.0), store.checkpoints.unsettled([job.id])) == ([], [])
    ended = job_in(store, "succeeded")
    assert store.checkpoints.due(999.0) == [], "what succeeded has its results"
    assert ended.attempt == 1


@pytest.mark.accepts("V18")
def test_a_job_that_is_run_again_takes_over_what_is_of_use(store: Store) -> None:
    job = job_in(store, "failed")
    for digest in "ab":
        keep(store, job, digest)
    with store.write() as transaction:
        mark_damaged(transaction, job.id, "a" * 64, "gone", None, 11.0)
    again = store.add_job("a", SPEC, retry_of=job.id)
    assert [(row.digest[0], row.of_job) for row in store.checkpoints.of(again.id)] == [("b", job.id)]
    fresh = store.add_job("a", SPEC, retry_of=job.id, fresh=True)
    assert store.checkpoints.of(fresh.id) == []
    assert store.delete_jobs([job.id]) == 1
    assert (store.checkpoints.of(job.id), len(store.checkpoints.of(again.id))) == ([], 1)


def test_files_go_with_the_last_job_that_needs_them(store: Store, tmp_path: Path) -> None:
    files, digest = store.checkpoints.files, "c" * 64
    with files.draft(store.url, "a-1") as draft:
        assert draft is not None
        (draft / "out").write_text("x")
        with files.draft(store.url, "a-1") as other:
            assert other is None, "one process has it"
        files.name(draft, digest, store.url, "a-1")
    files.use(digest, store.url, "a-2")
    files.release(digest, store.url, "a-1")
    assert (files.tree(digest) / "out").read_text() == "x"
    files.release(digest, store.url, "a-2")
    assert files.here() == frozenset()
