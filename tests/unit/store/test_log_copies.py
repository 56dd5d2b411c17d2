# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of logs: always a true, unbroken piece of the node's log, however the pieces come."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.store import LIVE_STATES, Store
from stoker.store.logs import LogCopies

LOG = bytes(range(256)) * 8


@given(
    pieces=st.lists(st.tuples(st.integers(0, len(LOG) - 1), st.integers(1, 700)), min_size=1, max_size=8),
    keep=st.integers(0, 900),
)
@settings(max_examples=60, deadline=None)
def test_a_copy_is_a_piece_of_the_log(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], keep: int
) -> None:
    copies = LogCopies(tmp_path_factory.mktemp("logs") / "logs")
    reached = 0
    for offset, length in pieces:
        data = LOG[offset : offset + length]
        start, end = copies.extend("a.b-2222", 1, offset, data, keep)
        assert copies.read("a.b-2222", 1) == (start, LOG[start:end])
        assert end - start <= keep
        reached = max(reached, offset + len(data))
        assert end == reached


def test_pieces_that_follow_each_other_are_kept_up_to_the_limit(tmp_path: Path) -> None:
    copies = LogCopies(tmp_path / "logs")
    for offset in range(0, 1000, 100):
        copies.extend("a-2222", 1, offset, LOG[offset : offset + 100], 250)
    assert copies.read("a-2222", 1) == (750, LOG[750:1000])
    assert copies.ranges() == {("a-2222", 1): (750, 1000)}
    (file,) = (tmp_path / "logs").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


def test_after_a_gap_the_copy_begins_anew(tmp_path: Path) -> None:
    copies = LogCopies(tmp_path / "logs")
    copies.extend("a-2222", 1, 0, b"abc", 100)
    assert copies.extend("a-2222", 1, 10, b"xyz", 100) == (10, 13)
    assert copies.read("a-2222", 1) == (10, b"xyz")


@pytest.mark.accepts("D08")
def test_the_copy_of_an_attempt_is_read_back_and_goes_with_its_job(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]})
    with store.write() as transaction:
        transaction.change_job(job, {"attempt": 1, "state": "running", "node": "n1"})
        transaction.add_attempt(
            {
                "job_id": job.id,
                "number": 1,
                "node": "n1",
                "state": "running",
                "claimed_at": 1.0,
                "log_start": 0,
                "log_end": 0,
            }
        )
    store.write_log_copy(job.id, 1, 0, b"hello ", 100)
    store.write_log_copy(job.id, 1, 6, b"world", 8)
    assert store.read_log_copy(job.id, 1) == (3, b"lo world")
    (attempt,) = store.newest_attempts([job.id])
    assert (attempt.log_start, attempt.log_end) == (3, 11)
    with store.write() as transaction:
        (running,) = transaction.jobs(LIVE_STATES)
        transaction.change_job(running, {"state": "succeeded"})
    assert store.delete_jobs([job.id]) == 1
    assert store.read_log_copy(job.id, 1) == (0, b"")


def test_a_copy_of_an_attempt_that_the_store_does_not_know_is_not_written(store: Store, state_home: Path) -> None:
    store.write_log_copy("../../evil", 1, 0, b"x", 100)
    assert not (state_home / "logs").exists()
    assert store.read_log_copy("never-2222", 1) == (0, b"")
