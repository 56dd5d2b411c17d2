# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job whose GPU is throttled: its curve and its machine, joined by the seconds."""

from __future__ import annotations

import time

import pytest
from testbed import PlainNode, wait_until
from testbed.node_side import NodeSide

from stoker.analysis import machine, remote, verdict
from stoker.analysis.machine_values import RunMachine
from stoker.analysis.values import Seen

TRAINING = """
import json, math, os, time
file, step = open("metrics.jsonl", "a"), 0
while not os.path.exists("end"):
    loss = 1 / (1 + step / 100) * (50 if os.path.exists("spike") else 1) + math.sin(step) / 100
    file.write(json.dumps({"step": step, "time": time.time(), "train/loss": loss}) + "\\n")
    file.flush()
    step += 1
    time.sleep(0.4 if os.path.exists("slow") else 0.02)
"""


def joined(side: NodeSide) -> RunMachine:
    reply = side.ask("run_info", job="run-1", full=True, machine=True)
    assert reply["ok"], reply
    run = reply["run"]
    seen = Seen("n1", "run-1", 1, 0.0, 0.0, 0, True, run["folder"], run["cursor"], 0)
    (found,) = remote.runs_of(run, reply["observation"], seen)
    assert found.run is not None
    told = verdict.check(found.run, run["now"])
    return machine.meet(found.run, told.findings, run["machine"], [], 20)


@pytest.mark.accepts("B03")
def test_a_fall_of_the_step_rate_is_told_with_what_the_machine_did_in_its_seconds(gpu_node: PlainNode) -> None:
    node, gpus = gpu_node, gpu_node.gpus
    assert gpus is not None
    folder = node.home / "proj"
    folder.mkdir()
    (folder / "train.py").write_text(TRAINING)
    gpus.set(0, {"utilization.gpu": 95})
    side = NodeSide(node)
    side.start(
        "run-1", node.python, "train.py", workdir=str(folder), gpus=1, gpu_uuids=[gpus.uuids[0]], sample_interval_s=0.5
    )

    def has(steps: int) -> None:
        path = folder / "metrics.jsonl"
        goal = steps + (path.read_bytes().count(b"\n") if path.exists() else 0)
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= goal, f"{steps} more steps", 120, 0.1)

    has(600)
    xid = gpus.xid_line(0, 43, "Reset Channel 00000008")
    boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    (node.folder / "dmesg.said").write_text(f"[{boot_s:12.6f}] {xid}\n")
    (node.bin / "dmesg").write_text(f"#!/bin/sh\ncat {node.folder}/dmesg.said\n")
    (node.bin / "dmesg").chmod(0o755)
    gpus.set(0, {"utilization.gpu": 12, "clocks_throttle_reasons.active": "0x0000000000000040"})
    (folder / "slow").touch()
    has(25)
    gpus.set(0, {"utilization.gpu": 95, "clocks_throttle_reasons.active": "0x0000000000000000"})
    (folder / "slow").unlink()
    has(600)
    (folder / "end").touch()
    side.wait("run-1")

    told = joined(side)
    falls = [one for one in told.meetings if one.of == "step rate"]
    fall = max(falls, key=lambda one: one.until - one.at)
    assert 550 <= fall.step <= 700
    assert "step rate fell by 9" in fall.says
    said = {event.kind: event.says for event in fall.meanwhile}
    assert said["throttled"] == "GPU 0 was throttled (hardware thermal slowdown)"
    assert said["GPU idle"] == "GPU 0 was 12% busy, where 95% is usual"
    assert said["Xid"].startswith("Xid 43 on GPU 0 (")
    throttled = next(event for event in fall.meanwhile if event.kind == "throttled")
    assert fall.at - 5 <= throttled.at <= throttled.until <= fall.until + 5
    slow = [part for part in told.parts if part.throttled]
    assert slow
    assert all("hardware thermal slowdown" in part.throttled for part in slow)
    assert told.usual_rate is not None
    assert min(part.rate for part in told.parts) < told.usual_rate / 2
    assert told.samples > 10
