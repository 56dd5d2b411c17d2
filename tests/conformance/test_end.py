# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job ends by itself, and how the state tells it."""

from __future__ import annotations

import time

import pytest
from conformance.backend import Backend


@pytest.mark.accepts("D15", "V14", "V16")
@pytest.mark.parametrize(
    ("code", "state", "reason"), [(0, "succeeded", None), (7, "failed", "code"), (255, "failed", "code")]
)
def test_exit_code(backend: Backend, job: str, code: int, state: str, reason: str | None) -> None:
    seen = backend.run(job, "sh", "-c", f"exit {code}")
    assert (seen["state"], seen["reason"], seen["exit_code"], seen["signal"]) == (state, reason, code, None), seen
    assert str(code) in seen["evidence"]


@pytest.mark.accepts("V16", "V20")
@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("SEGV", 11), ("TERM", 15)])
def test_signal(backend: Backend, job: str, name: str, number: int) -> None:
    """A command that a signal ended is told from one that ended with a code, and from one that was short of memory."""
    seen = backend.run(job, "sh", "-c", f"kill -{name} $$")
    assert (seen["state"], seen["reason"], seen["exit_code"], seen["signal"]) == ("failed", "signal", None, number), (
        seen
    )
    assert f"SIG{name}" in seen["evidence"]
    assert seen["oom"] is not True


@pytest.mark.accepts("V16")
def test_out_of_memory_by_its_last_words(backend: Backend, job: str) -> None:
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    seen = backend.run(job, "sh", "-c", f'echo "{words}"; exit 1')
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "oom", 1), seen


@pytest.mark.accepts("V20")
def test_command_not_found(backend: Backend, job: str) -> None:
    seen = backend.run(job, "no-such-command", "--flag")
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "start", 127), seen
    assert seen["error"] == "no-such-command: No such file or directory"


@pytest.mark.accepts("V20")
def test_not_executable(backend: Backend, job: str) -> None:
    backend.node.ssh("echo data > $HOME/data.txt; chmod 600 $HOME/data.txt")
    seen = backend.run(job, "./data.txt")
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "start", 126), seen
    assert seen["error"] == "./data.txt: Permission denied"


@pytest.mark.accepts("V20")
def test_working_directory_is_missing(backend: Backend, job: str) -> None:
    seen = backend.run(job, "true", workdir="/no/such/folder")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert seen["error"] == "working directory /no/such/folder: No such file or directory"


def test_an_argument_that_the_kernel_refuses(backend: Backend, job: str) -> None:
    """More than 128 kB in one argument: the kernel's own words."""
    seen = backend.run(job, "true", "x" * 200_000)
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert seen["error"] == "true: Argument list too long"


@pytest.mark.accepts("D10")
def test_elapsed_runs_on_the_node(backend: Backend, job: str) -> None:
    """Running: from the start on the node, with no need of the controller's clock. Over: end minus start."""
    began = time.monotonic()
    backend.start(job, "sh", "-c", "sleep 1.5")
    time.sleep(0.5)
    seen = backend.observe(job)
    assert seen["state"] == "running"
    assert 0.4 < seen["elapsed_s"] <= time.monotonic() - began, seen
    seen = backend.wait(job)
    assert 1.5 <= seen["elapsed_s"] <= time.monotonic() - began, seen
    assert seen["ended_at"] - seen["started_at"] == pytest.approx(seen["elapsed_s"], abs=0.5), seen
    again = backend.observe(job)
    assert again["elapsed_s"] == seen["elapsed_s"]


@pytest.mark.accepts("D15", "C51")
def test_what_it_leaves_behind_is_ended_and_counted(backend: Backend, job: str) -> None:
    """Its own exit code counts; what it left running, also one that will not listen, is ended after it."""
    backend.needs("processes", "leavings")
    tree = "(trap '' TERM; sleep 71.5; sleep 71.6) & setsid sleep 71.7 & sleep 71.8 & sleep 0.3; exit 3"
    seen = backend.run(job, "sh", "-c", tree)
    assert (seen["state"], seen["exit_code"]) == ("failed", 3), seen
    assert seen["left_behind"] == 4, seen  # the subshell with its sleep, and two more
    deadline = time.monotonic() + 150
    while backend.processes("sleep 71.") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert backend.processes("sleep 71.") == []


def test_a_job_that_leaves_nothing_says_so(backend: Backend, job: str) -> None:
    assert backend.run(job, "true")["left_behind"] == 0
