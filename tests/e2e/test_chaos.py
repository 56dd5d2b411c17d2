# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults over real nodes for some seconds, then the proof; and that the proof would notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoker.store import EventRow
from tests.chaos.proof import Run, doubled, inconsistent, runs_of
from tests.unit.dispatch.made import job

ROOT = Path(__file__).parents[2]


@pytest.mark.accepts("B16")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_some_seconds_of_faults_nothing_is_lost_or_doubled() -> None:
    argv = [sys.executable, "-m", "tests.chaos", "--minutes", "0.3", "--seed", "11"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=580, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proved: every job ended once" in done.stdout
    assert "kill -9 of a dispatcher" in done.stdout or "SIGSTOP of a dispatcher" in done.stdout


def marks(*lines: str) -> list[Run]:
    return list(runs_of(lines))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("begin a 1 1.0 boot none", "end a 1 2.0 boot", "begin a 2 2.5 boot none"), None),
        (("begin a 1 1.0 boot none", "begin a 2 1.5 boot none", "end a 1 2.0 boot"), "ran at the same time"),
        (("begin a 1 1.0 boot none", "begin a 1 1.5 boot none"), "an attempt ran twice"),
        (("begin a 2 1.0 boot none", "end a 2 1.2 boot", "begin a 1 1.5 boot none"), "began after attempt 2"),
        (("begin a 1 1.0 boot G0", "end a 1 2.0 boot", "begin b 1 1.5 boot G0"), "had GPU G0 at the same time"),
        (("begin a 1 1.0 boot G0", "end a 1 2.0 boot", "begin b 1 1.5 boot G1"), None),
    ],
)
def test_the_proof_notices_what_ran_twice(lines: tuple[str, ...], words: str | None) -> None:
    told = doubled(marks(*lines))
    assert (words is None and told == []) or (words is not None and any(words in line for line in told)), told


def told(*steps: tuple[str, str, int]) -> list[EventRow]:
    return [
        EventRow(number, 0.0, f"job.{after}", "a-2222", attempt, "n1", {"from": before, "to": after})
        for number, (before, after, attempt) in enumerate(steps, 1)
    ]


START, RUN, END = ("queued", "starting", 1), ("starting", "running", 1), ("running", "succeeded", 1)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (told(START, RUN, END), None),
        (told(START, RUN), "its events end at running"),
        (told(START, START, RUN, END), "an attempt was claimed twice"),
        (told(START, END), "begins at running, the job was starting"),
        (told(START, RUN, END, END), "ended 2 times"),
    ],
)
def test_the_proof_notices_events_that_tell_no_way(events: list[EventRow], words: str | None) -> None:
    rows = {"a-2222": job(state="succeeded", attempt=1)}
    found = inconsistent(rows, events)
    assert (words is None and found == []) or (words is not None and any(words in line for line in found)), found
