# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of states, and what becomes of a job when its attempt ends."""

from __future__ import annotations

import dataclasses

import pytest
from made import job

from stoker.dispatch.apply import apply_change
from stoker.dispatch.model import Change
from stoker.dispatch.retry import JITTER, backoff_s, retry_words
from stoker.dispatch.states import (
    ATTEMPT_TRANSITIONS,
    JOB_TRANSITIONS,
    TransitionError,
    after_end,
    check_job,
)
from stoker.errors import UsageError
from stoker.store import FINISHED_STATES, JOB_STATES


def test_nothing_follows_the_end_of_a_job() -> None:
    assert set(JOB_TRANSITIONS) == set(JOB_STATES)
    for before in FINISHED_STATES:
        for after in set(JOB_STATES) - {before}:
            with pytest.raises(TransitionError, match=f"from {before} to {after}"):
                check_job(before, after)


def test_a_transition_that_history_would_not_tell_is_refused() -> None:
    change = Change(job(state="running", attempt=1), {"state": "succeeded"})
    with pytest.raises(TransitionError, match="from running to succeeded has no event"):
        apply_change(None, change, 1.0)  # type: ignore[arg-type]


def test_a_running_job_does_not_start() -> None:
    with pytest.raises(TransitionError):
        check_job("running", "starting")
    assert "queued" not in ATTEMPT_TRANSITIONS["running"]


@pytest.mark.accepts("C48")
def test_the_pause_doubles_up_to_a_minute_and_is_not_the_same_for_all() -> None:
    for used, pause in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60]):
        found = {backoff_s(job(f"{name}-2222", attempt=used + 1, retries_used=used)) for name in "abcdefgh"}
        assert len(found) == 8
        assert all(pause <= value <= pause * (1 + JITTER) for value in found)
    assert 60 <= backoff_s(job(retries_used=10_000)) <= 66


@pytest.mark.accepts("C48")
@pytest.mark.parametrize(
    ("words", "state", "reason", "code", "number", "again"),
    [
        (["75"], "failed", "code", 75, None, True),
        (["75"], "failed", "code", 1, None, False),
        (["64-78"], "failed", "code", 70, None, True),
        (["64-78", "oom"], "failed", "oom", 137, None, True),
        (["oom"], "failed", "signal", None, 9, False),
        (["SIGKILL"], "failed", "signal", None, 9, True),
        (["SIGKILL"], "failed", "signal", None, 11, False),
        (["signal"], "failed", "signal", None, 11, True),
        (["code"], "failed", "code", 3, None, True),
        (["code"], "lost", "reboot", None, None, False),
        (["lost"], "lost", "reboot", None, None, True),
        (["lost"], "failed", "code", 1, None, False),
        (["timeout"], "failed", "timeout", 143, None, True),
        (["code"], "failed", "start", 127, None, False),
    ],
)
def test_what_a_job_is_tried_again_for(
    words: list[str], state: str, reason: str, code: int | None, number: int | None, again: bool
) -> None:
    row = job(state="running", attempt=1, max_retries=2, retry_on=retry_words(words))
    event, values = after_end(row, state, reason, 100.0, exit_code=code, signal=number)
    assert (event, values["state"]) == (("job.retry", "queued") if again else ("job.dead", "dead"))


@pytest.mark.parametrize("word", ["0", "300", "9-3", "SIGNOPE", "always", "7-"])
def test_what_is_no_way_to_fail(word: str) -> None:
    with pytest.raises(UsageError, match="--retry-on"):
        retry_words([word])


@pytest.mark.accepts("V16", "V20")
@pytest.mark.parametrize(
    ("ended", "reason", "once", "spent", "plain"),
    [
        ("succeeded", None, "succeeded", "succeeded", "succeeded"),
        ("failed", "code", "queued", "dead", "failed"),
        ("failed", "signal", "queued", "dead", "failed"),
        ("failed", "oom", "queued", "dead", "failed"),
        ("failed", "timeout", "queued", "dead", "failed"),
        ("failed", "start", "dead", "dead", "failed"),
        ("lost", "reboot", "queued", "dead", "lost"),
        ("lost", "killed", "queued", "dead", "lost"),
        ("lost", "expired", "queued", "queued", "queued"),
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


@pytest.mark.parametrize("reason", ["reboot", "killed", "expired"])
def test_a_job_that_was_put_back_goes_on_elsewhere_however_its_attempt_ends(reason: str) -> None:
    """Its node may boot before it is seen that the stop did its work: that is no failure, and uses up no retry."""
    back = job(state="running", attempt=1, put_back="n1 is drained", max_retries=1)
    for row in (back, dataclasses.replace(back, max_retries=0)):
        event, values = after_end(row, "lost", reason, 100.0)
        assert (event, values["state"], "retries_used" in values) == ("job.requeued", "queued", False)
    assert after_end(back, "lost", None, 100.0)[0] == "job.lost", "it may be alive there"


def test_a_further_attempt_waits_and_its_job_says_why() -> None:
    event, values = after_end(job(state="running", attempt=3, max_retries=5, retries_used=2), "failed", "oom", 100.0)
    assert (event, values["retries_used"], values["node"]) == ("job.retry", 3, None)
    assert 104.0 <= values["not_before"] <= 104.4
    assert values["detail"] == "attempt 3 failed (oom); the next one in 4 s"
