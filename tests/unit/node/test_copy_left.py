# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a checkpoint goes when its attempt is over, also where its supervisor was killed at that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import observe, supervisor
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import Attempt, Lock, StateDir


@pytest.fixture
def over(tmp_path: Path) -> Attempt:
    """An attempt that is over, with its copy still there."""
    copy = tmp_path / "jobs" / "a-1111" / "1" / "resume"
    copy.mkdir(parents=True)
    (copy / "model.pt").write_text("weights")
    attempt: Attempt = StateDir(str(tmp_path), str(tmp_path / "locks")).attempt("a-1111", 1)
    attempt.write_exit({"schema": "stoker.exit/1", "code": 0, "ended_at": 1.0})
    return attempt


@pytest.mark.accepts("V18")
def test_whoever_looks_takes_it_away_once_nobody_is_at_it(over: Attempt) -> None:
    lock = Lock(over.file("supervisor.lock"))
    assert lock.acquire()
    observe.settle(observe.Evidence(over))
    assert Path(over.file("resume")).exists(), "its supervisor is there to do it"
    lock.release()
    assert observe.settle(observe.Evidence(over))[0] == "succeeded"
    assert not Path(over.file("resume")).exists()


@pytest.mark.accepts("V18")
def test_a_supervisor_that_comes_after_the_end_takes_it_away(over: Attempt) -> None:
    state = over.state_dir
    # In a process of its own: it takes over the signals.
    code = f"import sys; from {supervisor.__name__} import run; sys.exit(run(*sys.argv[1:6], 'plain', False))"
    words = [sys.executable, "-c", code, "entry", state.path, state.lock_dir, "a-1111", "1"]
    subprocess.run(words, check=True, timeout=150)
    assert not Path(over.file("resume")).exists()
