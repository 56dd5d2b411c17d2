# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever is killed, on whichever rung: afterwards the state that evidence can prove, and nothing left behind."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from testbed import PlainNode, SshNode, wait_until
from testbed.bed import find_python
from testbed.node_side import NodeSide

RUNGS = [
    pytest.param("subreaper", id="subreaper"),
    pytest.param("cgroup", id="cgroup", marks=pytest.mark.root),
    pytest.param("systemd-system", id="systemd-system", marks=[pytest.mark.root, pytest.mark.slow]),
    pytest.param("systemd-user", id="systemd-user", marks=[pytest.mark.root, pytest.mark.slow]),
]
# A tree that is hard to end: one child ignores TERM, one has a session of its own, one forked twice and one cleared
# its environment.
TREE = """
(trap '' TERM; sleep 601; sleep 602) &
setsid sh -c 'trap "" TERM HUP; sleep 603; sleep 604' &
(setsid setsid sh -c 'sleep 605; sleep 606' &) &
env -i /bin/sh -c 'trap "" TERM; /bin/sleep 607; /bin/sleep 608' &
(setsid env -i /bin/sh -c '(trap "" TERM; /bin/sleep 609; /bin/sleep 610) &' &)
sleep 0.3
echo ready
sleep 611
"""


@pytest.fixture(params=RUNGS)
def side(request: pytest.FixtureRequest) -> NodeSide:
    """The node side of a node, restricted to one rung."""
    rung = request.param
    fixture = {"systemd-system": "systemd_node", "systemd-user": "systemd_user_node"}.get(rung, "gpu_node")
    node: SshNode = request.getfixturevalue(fixture)
    return NodeSide(node, rung=rung, state_dir=f"{node.state_dir}-{request.node.name.split('[')[0][:40]}")


def sleepers(side: NodeSide) -> list[str]:
    """What is left of TREE or of a `sleep 6xx` on this node."""
    if isinstance(side.node, PlainNode):
        lines = [" ".join(process.argv) for process in side.node.processes()]
    else:
        lines = side.node.ssh("ps -eo args").stdout.splitlines()
    return [line for line in lines if "sleep 6" in line and "ps -eo" not in line]


def gpu_locks(side: NodeSide) -> list[str]:
    reply = side.ask("reconcile", gpus=True)
    return [job for gpu in reply["node"]["gpus"] for job in gpu["held_by"]]


def released(side: NodeSide) -> None:
    """No GPU is held. The last of ours lets go a moment after the exit record is there."""
    wait_until(lambda: gpu_locks(side) == [], "the GPU locks are free", timeout_s=180)


def ready(side: NodeSide, job: str) -> dict[str, Any]:
    return side.wait(job, lambda seen: seen["last_line"] == "ready")


def until_told(then: str) -> str:
    """A script that says ready, waits until ``go`` was called, then does ``then``."""
    return f'echo ready; while [ ! -e "$HOME/go-$STOKER_JOB" ]; do sleep 0.1; done; {then}'


def go(side: NodeSide, job: str) -> None:
    side.node.ssh(f"touch $HOME/go-{job}")


@pytest.mark.accepts("D09", "C51")
def test_stop_leaves_nothing(side: NodeSide) -> None:
    seen = side.start("tree", script=TREE, gpus=1, grace_s=1)
    assert seen["rung"].startswith(side.more["rungs"][0]), seen
    ready(side, "tree")
    assert len(sleepers(side)) >= 6
    seen = side.stop("tree", wait_s=20)
    assert seen["state"] == "cancelled", seen
    assert sleepers(side) == []
    released(side)
    again = side.order({"order": "stop", "job": "tree", "attempt": 1})
    assert again["orders"][0]["changed"] is False


@pytest.mark.accepts("D15", "V16", "V20")
@pytest.mark.parametrize("role", ["supervisor", "recorder"])
def test_one_of_ours_killed(side: NodeSide, role: str) -> None:
    name = f"one-{role}"
    side.start(name, script=until_told("exit 7"), gpus=1)
    ready(side, name)
    side.kill(name, role)
    assert side.observe(name)["state"] == "running"
    go(side, name)
    seen = side.wait(name)
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "code", 7), seen
    released(side)


@pytest.mark.accepts("D15", "D09")
@pytest.mark.parametrize("role", ["supervisor", "recorder"])
def test_stop_after_one_of_ours_was_killed(side: NodeSide, role: str) -> None:
    name = f"tree-{role}"
    side.start(name, script=TREE, gpus=1, grace_s=0.5)
    ready(side, name)
    side.kill(name, role)
    seen = side.stop(name)
    assert seen["state"] == "cancelled", seen
    assert sleepers(side) == []
    released(side)


@pytest.mark.accepts("D15", "V20")
def test_both_killed_the_command_lives(side: NodeSide) -> None:
    """The command goes on, holds its GPU, is still shown as running, can be stopped; its exit code stays unknown."""
    side.start("both", script="echo ready; sleep 611", gpus=1, grace_s=1)
    ready(side, "both")
    side.kill("both", "supervisor", "recorder")
    seen = side.observe("both")
    assert (seen["state"], seen["supervised"]) == ("running", False), seen
    assert gpu_locks(side) == ["both"]
    seen = side.stop("both")
    assert (seen["state"], seen["exit_code"]) == ("cancelled", None), seen
    assert sleepers(side) == []
    released(side)


@pytest.mark.accepts("D15", "V20")
def test_both_killed_and_the_command_ends(side: NodeSide) -> None:
    side.start("orphan", script=until_told("exit 0"), gpus=1)
    ready(side, "orphan")
    side.kill("orphan", "supervisor", "recorder")
    go(side, "orphan")
    seen = side.wait("orphan")
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("lost", "killed", None), seen
    released(side)
    assert side.observe("orphan")["state"] == "lost"


@pytest.mark.accepts("D15", "V20")
def test_both_killed_and_the_next_look_sees_to_its_limits_again(side: NodeSide) -> None:
    side.start("late", script="echo ready; sleep 614", gpus=1, grace_s=1, timeout_s=8)
    ready(side, "late")
    side.kill("late", "supervisor", "recorder")
    assert not side.observe("late")["supervised"], "a launch may be under way: nobody takes over yet"
    side.node.ssh(f"touch -d '1 minute ago' {side.state_dir}/jobs/late/1/spec.json")
    side.observe("late")
    seen = side.wait("late")
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "timeout", None), seen
    assert sleepers(side) == []
    released(side)


@pytest.mark.accepts("D15", "V16", "V20")
def test_all_three_killed(side: NodeSide) -> None:
    side.start("all", "sleep", "612", gpus=1)
    side.kill("all", "supervisor", "recorder", "command")
    seen = side.wait("all")
    assert (seen["state"], seen["reason"]) == ("lost", "killed"), seen
    assert sleepers(side) == []
    released(side)


@pytest.mark.accepts("V16")
def test_command_killed(side: NodeSide) -> None:
    side.start("cmd", "sleep", "613", gpus=1)
    side.kill("cmd", "command")
    seen = side.wait("cmd")
    assert (seen["state"], seen["reason"], seen["signal"]) == ("failed", "signal", 9), seen
    assert seen["oom"] in (False, None)
    released(side)


@pytest.mark.accepts("D06")
def test_connection_cut(side: NodeSide) -> None:
    """The ssh connection that started it is gone before the answer came; the job does not mind."""
    side.start("cut", script="sleep 1; echo still here; exit 3")
    if isinstance(side.node, PlainNode):
        side.node.cut()
    else:
        side.node.ssh("pkill -9 -f 'sshd: .*@notty'")
    seen = side.wait("cut")
    assert (seen["state"], seen["exit_code"]) == ("failed", 3)
    assert side.log("cut") == b"still here\n"


def memory_hog(side: NodeSide) -> list[str]:
    code = "x = []\nwhile True: x.append(b'x' * 4194304)"
    return [side.node.python, "-c", code]


@pytest.mark.root
@pytest.mark.accepts("V16")
def test_out_of_memory(gpu_node: PlainNode) -> None:
    side = NodeSide(gpu_node, rung="cgroup")
    side.start("oom", *memory_hog(side), memory_bytes=64 * 1024 * 1024, gpus=1)
    seen = side.wait("oom")
    assert (seen["state"], seen["reason"], seen["oom"]) == ("failed", "oom", True), seen
    released(side)


@pytest.mark.accepts("V16")
def test_a_limit_that_cannot_be_held_is_refused(gpu_node: PlainNode) -> None:
    side = NodeSide(gpu_node, rung="subreaper")
    side.start("limit", "true", memory_bytes=64 * 1024 * 1024)
    seen = side.wait("limit")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "memory limit" in seen["error"]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("D15", "V16", "V20")
def test_reboot(isolated_nodes: Any) -> None:
    """PID 1 of the node changes; the kernel's boot id is the same, as in a restarted container."""
    (node,) = isolated_nodes(1, gpus=2, own_boot_id=False)
    side = NodeSide(node)
    side.start("run", "sleep", "614", gpus=2)
    assert side.start("wait", "sleep", "0.1", gpus=1)["state"] == "queued"
    before = side.observe("run")["boot_id"]
    node.reboot()
    side = NodeSide(node)
    seen = side.observe("run")
    assert (seen["state"], seen["reason"]) == ("lost", "reboot"), seen
    assert seen["boot_id"] == before
    # What had not begun was not lost: it is still there, and begins when the node is asked the next time.
    assert side.wait("wait", timeout_s=40)["state"] == "succeeded"
    released(side)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("D15")
def test_reboot_shown_by_the_boot_id(isolated_nodes: Any) -> None:
    (node,) = isolated_nodes(1, own_boot_id=True)
    side = NodeSide(node)
    side.start("run", "sleep", "615")
    node.reboot()
    seen = NodeSide(node).observe("run")
    assert (seen["state"], seen["reason"]) == ("lost", "reboot"), seen


def _mount(side: NodeSide, command: str) -> None:
    done = side.node.ssh(command)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def small_disk(isolated_nodes: Any) -> NodeSide:
    """A node whose state folder is a file system of its own, 8 MB."""
    (node,) = isolated_nodes(1)
    folder = "/var/small"
    _mount(NodeSide(node), f"mkdir -p {folder} && mount -t tmpfs -o size=8m,mode=0700 tmpfs {folder}")
    return NodeSide(node, state_dir=folder)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("D15")
def test_disk_full(small_disk: NodeSide) -> None:
    """The exit record has its place reserved; a new start is refused with the reason."""
    side = small_disk
    side.start("full", script="while ! test -e /tmp/go; do sleep 0.1; done; exit 7")
    side.node.ssh(f"dd if=/dev/zero of={side.state_dir}/filler bs=64k; touch /tmp/go")
    seen = side.wait("full")
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen
    refused = side.order({"order": "start", "attempt": 1, "spec": side.spec("next", argv=["true"])}, accepted=False)
    assert refused["orders"][0]["error"]["code"] == "no_space", refused["orders"]
    side.node.ssh(f"rm {side.state_dir}/filler")
    side.start("next", "true")
    assert side.wait("next")["state"] == "succeeded"


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("B10")
def test_a_full_disk_keeps_no_attempt_alive_whose_lease_ran_out(small_disk: NodeSide) -> None:
    side = small_disk
    side.start("full", "sleep", "616.5", lease={"policy": "move", "seconds": 4})
    side.node.ssh(f"dd if=/dev/zero of={side.state_dir}/filler bs=64k; true")
    side.wait("full", lambda seen: seen["state"] != "running", timeout_s=40)
    assert side.node.ssh("pgrep -fx 'sleep 616.5'").stdout == ""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("D15")
def test_a_full_disk_keeps_no_attempt_beyond_its_time(small_disk: NodeSide) -> None:
    """Nor one that is asked to stop: both leave their reason."""
    side = small_disk
    side.start("late", "sleep", "616.7", timeout_s=6)
    side.start("stopped", "sleep", "616.8", checkpoint_signal="USR1")
    side.node.ssh(f"dd if=/dev/zero of={side.state_dir}/filler bs=64k; dd if=/dev/zero of={side.state_dir}/f2 bs=1")
    seen = side.stop("stopped", grace_s=1)
    assert (seen["state"], seen["reason"]) == ("cancelled", None), seen
    seen = side.wait("late")
    assert (seen["state"], seen["reason"]) == ("failed", "timeout"), seen
    assert side.node.ssh("pgrep -fx 'sleep 616.[78]'").stdout == ""


@pytest.mark.slow
@pytest.mark.accepts("B10")
def test_what_waited_longer_than_its_lease_never_begins(gpu_node: PlainNode) -> None:
    """By the time that it could begin here it may run elsewhere."""
    side = NodeSide(gpu_node)
    side.start("holds", "sleep", "618.5", gpus=2)
    script = f"echo began > {gpu_node.home}/began; sleep 619.5"
    assert side.start("waits", script=script, gpus=1, lease={"policy": "move", "seconds": 5})["state"] == "queued"
    supervisor = side.file("waits", "state.json")["supervisor"]["pid"]
    assert gpu_node.ssh(f"kill -STOP {supervisor}").returncode == 0
    side.stop("holds", grace_s=0)
    time.sleep(6)
    assert gpu_node.ssh(f"kill -CONT {supervisor}").returncode == 0
    seen = side.wait("waits")
    assert (seen["state"], seen["reason"], seen["started_at"]) == ("lost", "expired", None), seen
    assert not Path(gpu_node.home, "began").exists()


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("B10")
def test_a_stopped_supervisor_does_what_it_is_asked_for(isolated_nodes: Any) -> None:
    """Supervisor and recorder were frozen and outlived the lease: an order to end the attempt wakes them."""
    (node,) = isolated_nodes(1)
    side = NodeSide(node)
    side.start("frozen", "sleep", "617.5", lease={"policy": "move", "seconds": 5})
    state = side.file("frozen", "state.json")
    stopped = f"kill -STOP {state['supervisor']['pid']} {state['recorder']['pid']}; sleep 6; pgrep -fx 'sleep 617.5'"
    assert side.node.ssh(stopped).stdout != ""
    seen = side.stop("frozen", reason="expired", grace_s=0)
    assert (seen["state"], seen["reason"]) == ("lost", "expired"), seen
    assert side.node.ssh("pgrep -fx 'sleep 617.5'").stdout == ""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.accepts("D15")
def test_read_only(small_disk: NodeSide) -> None:
    """While the record cannot be written the state says so; it is written when it can be, with the true code."""
    side = small_disk
    side.start("ro", script="while ! test -e /tmp/go; do sleep 0.1; done; exit 7")
    # A read-only mount on top: open files stay writable, as after an error of a disk they would not, names do not.
    _mount(side, f"mount --bind {side.state_dir} {side.state_dir} && mount -o remount,bind,ro {side.state_dir}")
    side.node.ssh("touch /tmp/go")
    seen = side.wait("ro", lambda seen: bool(seen["detail"]))
    assert seen["state"] == "running"
    assert "Read-only file system" in seen["detail"], seen
    refused = side.order({"order": "start", "attempt": 1, "spec": side.spec("next", argv=["true"])}, accepted=False)
    assert refused["orders"][0]["error"]["code"] == "read_only", refused["orders"]
    _mount(side, f"umount {side.state_dir}")
    seen = side.wait("ro")
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen


@pytest.mark.accepts("D10")
def test_clock_set_back(nodes: Any, tmp_path: Any) -> None:
    """The wall clock of the node goes back an hour while a job runs: durations do not notice."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    stamp = tmp_path / "clock"
    stamp.write_text("+0")
    # libfaketime breaks time.sleep of newer Pythons (clock_nanosleep with an absolute time).
    (node,) = nodes(
        1,
        python=find_python("3.8"),
        env={
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    side = NodeSide(node, rung="subreaper")
    started = side.start("clock", script="sleep 2; exit 0")
    stamp.write_text("-3600")
    offset = float(side.node.ssh(f"{node.python} -c 'import time; print(time.time())'").stdout) - time.time()
    assert -3700 < offset < -3400, "the clock of the node did not change"
    running = side.observe("clock")
    assert running["state"] == "running"
    assert 0 <= running["elapsed_s"] < 600, running
    seen = side.wait("clock")
    assert seen["state"] == "succeeded"
    assert 1.9 < seen["elapsed_s"] < 600, seen
    assert seen["ended_at"] < started["started_at"]  # the proof that the wall clock went back


@pytest.mark.accepts("D06")
def test_controller_killed(gpu_node: PlainNode) -> None:
    """kill -9 of the caller between request and reply: the job was started at most once, and asking again is safe."""
    side = NodeSide(gpu_node)
    spec = side.spec("once", script="echo began; sleep 1")
    order = {
        "schema": "stoker.request/1",
        "op": "reconcile",
        "state_dir": side.state_dir,
        "orders": [{"order": "start", "attempt": 1, "spec": spec}],
    }
    import json
    import subprocess

    for delay in (0.01, 0.05, 0.1, 0.2):
        caller = subprocess.Popen(
            [*gpu_node.ssh_command(), f"exec {gpu_node.python} -I -S {side.folder} ctl"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert caller.stdin
        caller.stdin.write(json.dumps(order).encode())
        caller.stdin.close()
        time.sleep(delay)
        caller.kill()
        caller.wait()
    side.start_spec(spec)
    assert side.wait("once")["state"] == "succeeded"
    assert side.log("once") == b"began\n"


def test_python_is_what_the_node_says(gpu_node: PlainNode) -> None:
    side = NodeSide(gpu_node)
    facts = side.ask("reconcile")["node"]
    assert facts["python"].split(".")[:2] == [str(part) for part in sys.version_info[:2]], shlex.quote(gpu_node.python)


def test_the_state_folder_of_another_machine_is_refused(gpu_node: PlainNode) -> None:
    """On a shared home the living jobs of another machine would look as if a reboot had ended them."""
    side = NodeSide(gpu_node)
    side.start("mine", "sleep", "616", grace_s=0)
    done = gpu_node.ssh(f'echo \'{{"machine": "other", "hostname": "rtx-07"}}\' > {side.state_dir}/node.json')
    assert done.returncode == 0, done.stderr
    reply = side.ask("reconcile")
    assert reply["error"]["code"] == "conflict", reply
    assert "rtx-07" in reply["error"]["message"]
    assert "stoker_state_dir" in reply["error"]["next"]
    gpu_node.ssh(f"rm {side.state_dir}/node.json")
    assert side.observe("mine")["state"] == "running"
    side.stop("mine")
