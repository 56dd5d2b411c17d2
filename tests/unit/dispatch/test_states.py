# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of states, and what becomes of a job when its attempt ends."""

from __future__ import annotations

import pytest
from made import job

from stoker.dispatch.states import (
    ATTEMPT_TRANSITIONS,
    JOB_TRANSITIONS,
    TransitionError,
    after_end,
    backoff_s,
    check_job,
)
from stoker.store import FINISHED_STATES, JOB_STATES


def test_nothing_follows_the_end_of_a_job() -> None:
    assert set(JOB_TRANSITIONS) == set(JOB_STATES)
    for before in FINISHED_STATES:
        for after in set(JOB_STATES) - {before}:
            with pytest.raises(TransitionError, match=f"from {before} to {after}"):
                check_job(before, after)


def test_a_running_job_does_not_start() -> None:
    with pytest.raises(TransitionError):
        check_job("running", "starting")
    assert "queued" not in ATTEMPT_TRANSITIONS["running"]


def test_the_pause_doubles_up_to_a_minute() -> None:
    assert [backoff_s(used) for used in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff_s(10_000) == 60


@pytest.mark.accepts("V16", "V20")
@pytest.mark.parametrize(
    ("ended", "reason", "once", "spent", "plain"),
    [
        ("succeeded", None, "succeeded", "succeeded", "succeeded"),
        ("failed", "code", "queued", "dead", "failed"),
        ("failed", "signal", "queued", "dead", "failed"),
        ("failed", "oom", "queued", "dead", "failed"),
        ("failed", "timeout", "queued", "dead", "failed"),
        ("failed", "start", "failed", "failed", "failed"),
        ("lost", "reboot", "queued", "dead", "lost"),
        ("lost", "killed", "queued", "dead", "lost"),
        ("lost", "expired", "queued", "dead", "lost"),
        ("lost", None, "lost", "lost", "lost"),
        ("cancelled", None, "cancelled", "cancelled", "cancelled"),
    ],
)
def test_what_becomes_of_a_job(ended: str, reason: str | None, once: str, spent: str, plain: str) -> None:
    def state(**fields: int) -> object:
        return after_end(job(state="running", attempt=1, **fields), ended, reason, 100.0)[1]["state"]

    assert state(max_retries=2, retries_used=1) == once
    assert state(max_retries=2, retries_used=2) == spent
    assert state() == plain


def test_a_job_that_was_to_stop_is_not_tried_again() -> None:
    asked = job(state="running", attempt=1, max_retries=5, stop_requested="cancelled")
    assert after_end(asked, "failed", "code", 100.0)[1]["state"] == "failed"


def test_a_further_attempt_waits_and_its_job_says_why() -> None:
    event, values = after_end(job(state="running", attempt=3, max_retries=5, retries_used=2), "failed", "oom", 100.0)
    assert (event, values["not_before"], values["retries_used"], values["node"]) == ("job.retry", 104.0, 3, None)
    assert values["detail"] == "attempt 3 failed (oom); the next one in 4 s"
