# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead, hung, crashed, stopped or finished: told apart by what the node can prove of the job behind a run."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from testbed import PlainNode, SshNode, wait_until
from testbed.node_side import NodeSide

from stoker.analysis import remote, verdict
from stoker.analysis.findings import CannotTell, Finding
from stoker.analysis.model import Run
from stoker.analysis.values import Seen

# A step each tenth of a second, and a line where it is told to talk; ends with the code in the file `end`.
TRAINING = """
import json, os, sys, time
file, step = open("metrics.jsonl", "a"), 0
while not os.path.exists("end"):
    if not os.path.exists("stuck"):
        file.write(json.dumps({"step": step, "time": time.time(), "loss": 1 / (1 + step)}) + "\\n")
        file.flush()
        step += 1
    if os.path.exists("talk"):
        print("still here", flush=True)
    time.sleep(0.1)
sys.exit(int(open("end").read()))
"""
# What is silent for longer than this is silent: by default only minutes are.
PATIENCE = "detectors: {silence: {least_s: %s, times: 1}}\n"


class Training:
    """A job that trains, and what is said of its run."""

    def __init__(self, node: SshNode, **spec: Any) -> None:
        self.node, self.side = node, NodeSide(node)
        self.folder = node.home / "proj"
        node.ssh(f"mkdir -p {self.folder}")
        self.put("train.py", TRAINING)
        self.patience(3600)
        self.side.start("run-1", node.python, "train.py", workdir=str(self.folder), **spec)
        wait_until(lambda: len(self.run().metrics.get("loss", ())) >= 10, "the run to be seen so", 60, 0.3)

    def put(self, name: str, text: str = "") -> None:
        done = self.node.ssh(f"cat > {self.folder}/{name} <<'END'\n{text.rstrip()}\nEND")
        assert done.returncode == 0, done.stderr

    def patience(self, seconds: float) -> None:
        self.put("stoker-metrics.yml", PATIENCE % seconds)

    def run(self) -> Run:
        reply = self.side.ask("run_info", job="run-1", path="metrics.jsonl" if self.begun() else None)
        assert reply["ok"], reply
        run = reply["run"]
        self.now = run["now"]
        seen = Seen("n1", "run-1", 1, 0.0, 0.0, 0, False, run["folder"], run["cursor"], 0)
        (found,) = remote.runs_of(run, reply["observation"], seen)
        assert found.run is not None
        return found.run

    def begun(self) -> bool:
        return self.node.ssh(f"test -s {self.folder}/metrics.jsonl").returncode == 0

    def silence(self) -> Finding | CannotTell | None:
        """What the detector of silence says now."""
        told = verdict.check(self.run(), self.now, only=["silence"])
        return next(iter([*told.findings, *told.cannot_tell]), None)

    def hangs(self) -> bool:
        told = self.silence()
        return isinstance(told, Finding) and told.says.startswith("it hangs at step")


@pytest.mark.accepts("B02")
def test_a_run_that_goes_on_is_running(node: PlainNode) -> None:
    training = Training(node)
    state = training.run().info.state
    assert (state.name, state.evidence) == ("running", "its lock is held")
    assert training.silence() is None


@pytest.mark.accepts("B02")
def test_one_that_is_silent_while_its_lock_is_held_hangs(node: PlainNode) -> None:
    training = Training(node)
    pid = training.side.observe("run-1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        training.patience(0.5)
        wait_until(training.hangs, "the run to be seen so", 60, 0.3)
        told = training.silence()
        assert isinstance(told, Finding)
        assert "its lock is held" in told.says
        assert training.run().info.state.name == "running"
    finally:
        os.kill(pid, signal.SIGCONT)
    training.patience(3600)
    assert training.silence() is None


@pytest.mark.accepts("B02")
def test_one_that_logs_no_step_but_prints_is_not_called_hung(node: PlainNode) -> None:
    training = Training(node)
    training.put("stuck")
    training.patience(2)
    wait_until(training.hangs, "the run to be seen so", 60, 0.3)
    training.put("talk")
    wait_until(lambda: isinstance(training.silence(), CannotTell), "the run to be seen so", 60, 0.3)
    told = training.silence()
    assert isinstance(told, CannotTell)
    assert "but it printed" in told.why


@pytest.mark.accepts("B02")
def test_one_whose_gpu_is_busy_may_be_in_a_long_kernel(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    uuid = gpu_node.gpus.uuids[0]
    training = Training(gpu_node, gpus=1, gpu_uuids=[uuid], sample_interval_s=0.5)
    gpu_node.gpus.set(0, {"utilization.gpu": 98})
    training.put("stuck")
    training.patience(1)
    wait_until(lambda: "98% busy" in str(training.silence()), "the run to be seen so", 60, 0.3)
    assert isinstance(training.silence(), CannotTell)
    gpu_node.gpus.set(0, {"utilization.gpu": 0})
    wait_until(training.hangs, "the run to be seen so", 60, 0.3)
    assert "its GPUs are 0% busy" in str(training.silence())


@pytest.mark.accepts("B02")
@pytest.mark.parametrize(
    ("code", "state", "says"), [(0, "finished", None), (3, "failed", "it died at step {}: exit record: exit 3")]
)
def test_an_exit_record_tells_crashed_from_finished(node: PlainNode, code: int, state: str, says: str | None) -> None:
    training = Training(node)
    training.put("end", str(code))
    training.side.wait("run-1")
    run, told = training.run(), training.silence()
    assert (run.info.state.name, run.info.state.exit_code) == (state, code)
    assert (told.says if isinstance(told, Finding) else told) == (says and says.format(int(run.last_step or 0)))


@pytest.mark.accepts("B02")
@pytest.mark.parametrize(
    ("killed", "state", "evidence"),
    [
        (("command",), "failed", "exit record: signal SIGKILL"),
        (("supervisor", "recorder", "command"), "unfinished", "no exit record, no lock held, and none of its"),
    ],
)
def test_one_that_was_killed_is_dead(node: PlainNode, killed: tuple[str, ...], state: str, evidence: str) -> None:
    training = Training(node)
    training.side.kill("run-1", *killed)
    training.side.wait("run-1")
    told = training.silence()
    assert training.run().info.state.name == state
    assert isinstance(told, Finding)
    assert told.says.startswith("it died at step")
    assert evidence in told.says


@pytest.mark.accepts("B02")
def test_one_that_was_stopped_is_neither_dead_nor_finished(node: PlainNode) -> None:
    training = Training(node)
    training.side.stop("run-1")
    assert training.run().info.state.name == "cancelled"
    assert training.silence() is None


@pytest.mark.root
@pytest.mark.accepts("B02")
def test_one_whose_node_booted_since_is_dead(isolated_nodes: Any) -> None:
    (node,) = isolated_nodes(1, own_boot_id=True)
    training = Training(node)
    node.reboot()
    told = training.silence()
    assert training.run().info.state.name == "unfinished"
    assert isinstance(told, Finding)
    assert "the node booted since" in told.says
