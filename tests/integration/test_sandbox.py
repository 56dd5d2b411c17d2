# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as another user, within limits, in a sandbox: what they cannot do, and that nothing runs with less."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from testbed import PlainNode, PodmanNode, programs_without
from testbed.node_side import NodeSide

# A user that every Debian machine has, and that owns nothing.
OTHER = "nobody"
# Tries to write to each place and says where it could.
WRITES = 'for d in "$@"; do if echo x 2>/dev/null > "$d/probe-$STOKER_JOB"; then echo "wrote $d"; fi; done'


@pytest.fixture
def side(gpu_node: PlainNode) -> NodeSide:
    """A node whose home folder another user may pass through."""
    for folder in (gpu_node.bed.folder, gpu_node.folder, gpu_node.home):
        folder.chmod(0o711)
    return NodeSide(gpu_node)


@pytest.fixture
def shared(side: NodeSide) -> Path:
    """A folder of the node that every user may write to."""
    folder = Path(side.node.home, "shared")
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.mark.root
@pytest.mark.accepts("C12")
def test_another_user(side: NodeSide, shared: Path) -> None:
    """Its name, groups and home; a script that only root may read is passed on; a secret; no way to our files."""
    script = f'id -un; id -Gn; echo "$USER $HOME $KEY"; head -c 9 "$0"; echo; ls {side.state_dir}; touch mine; exit 3'
    spec = side.spec("other", script=script, user=OTHER, workdir=str(shared), secret_env=["KEY"], gpus=1)
    side.start_spec(spec, secrets={"KEY": "s3cret"})
    seen = side.wait("other")
    assert (seen["state"], seen["exit_code"]) == ("failed", 3), seen
    lines = side.log("other").decode().splitlines()
    assert lines[:4] == [OTHER, "nogroup", f"{OTHER} /nonexistent s3cret", "id -un; i"], lines
    assert "Permission denied" in lines[4]
    assert (shared / "mine").owner() == OTHER


@pytest.mark.root
@pytest.mark.accepts("C12")
def test_another_user_within_limits(side: NodeSide) -> None:
    """Memory, CPU and time are limited as for anybody; and it can be stopped, with all it started."""
    python, megabytes = "/usr/bin/python3", 1024 * 1024
    common = {"user": OTHER, "workdir": "/"}
    side.start("hog", python, "-c", "x = b'x' * 10**9", memory_bytes=64 * megabytes, **common)
    seen = side.wait("hog")
    assert (seen["state"], seen["reason"], seen["oom"]) == ("failed", "oom", True), seen
    work = "import time\nend = time.time() + 1.6\nwhile time.time() < end: pass\nprint(time.process_time())"
    side.start("busy", python, "-c", work, cpus=0.25, **common)
    assert side.wait("busy")["state"] == "succeeded"
    assert float(side.log("busy")) < 0.9
    side.start("slow", "sleep", "621", timeout_s=1, **common)
    seen = side.wait("slow")
    assert (seen["state"], seen["reason"]) == ("failed", "timeout"), seen
    side.start(
        "tree", script="setsid sleep 622 & trap '' TERM; echo ready; sleep 623; sleep 624", grace_s=0.5, **common
    )
    side.wait("tree", lambda seen: seen["last_line"] == "ready")
    assert side.stop("tree")["state"] == "cancelled"
    assert [p.argv for p in side.node.processes() if "sleep" in p.argv] == []  # type: ignore[attr-defined]


@pytest.mark.accepts("C12")
def test_a_user_that_is_not_there(side: NodeSide) -> None:
    side.start("who", "true", user="no-such-user")
    seen = side.wait("who")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert seen["error"] == "there is no user no-such-user on this node"


@pytest.mark.root
@pytest.mark.accepts("C12")
def test_another_user_is_refused_to_who_is_not_root(rootless_node: PodmanNode) -> None:
    ordinary = NodeSide(rootless_node)
    ordinary.start("root", "id", "-u", user="root")
    seen = ordinary.wait("root")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "user stoker is not root and cannot run a job as root" in seen["error"]
    assert "ansible_become: true" in seen["error"]
    assert ordinary.log("root") == b""
    ordinary.start("self", "id", "-un", user="stoker")
    assert ordinary.wait("self")["state"] == "succeeded"


@pytest.mark.accepts("C12")
@pytest.mark.parametrize("user", [None, pytest.param(OTHER, marks=pytest.mark.root)])
def test_bwrap_denies_writes(side: NodeSide, shared: Path, user: str | None) -> None:
    """It reads everything, sees its GPU and writes to its folder; /tmp is its own; everything else stays as it is."""
    node = side.node
    assert node.gpus
    node.gpus.install(shared, "/usr/bin/python3")  # the node's own tools lie in /tmp
    places = [Path(place) for place in ("/etc", "/usr/bin", "/var/tmp", "/run", "/dev/mqueue", "/tmp", node.home)]
    tell = "./nvidia-smi -L; echo $CUDA_VISIBLE_DEVICES; echo x > /dev/shm/a && echo shm; exit 5"
    argv = ["sh", "-c", f"{WRITES}\n{tell}", "sh", str(shared), *map(str, places)]
    side.start("box", *argv, sandbox="bwrap", workdir=str(shared), gpus=1, **({"user": user} if user else {}))
    seen = side.wait("box")
    assert (seen["state"], seen["exit_code"]) == ("failed", 5), seen
    lines = side.log("box").decode().splitlines()
    assert lines[0] == f"wrote {shared}"
    assert (shared / "probe-box").exists()
    assert [place for place in places if (place / "probe-box").exists()] == []
    # What it wrote to there is its own /tmp, which is gone.
    assert {line for line in lines if line.startswith("wrote")} <= {f"wrote {p}" for p in (shared, "/tmp", node.home)}
    assert seen["gpus"][0] in lines
    assert "shm" in lines
    assert any(line.startswith("GPU 0") for line in lines), lines


@pytest.mark.root
@pytest.mark.accepts("C12")
def test_bwrap_takes_root_its_powers(side: NodeSide, shared: Path) -> None:
    tries = (
        "mount -o remount,rw / ; unshare -Ur mount -o remount,rw /; echo x > /proc/sys/kernel/hostname; chown 1 mine; :"
    )
    side.start(
        "power",
        script=f"touch mine; {tries}; echo x > /etc/probe-power || echo no",
        sandbox="bwrap",
        workdir=str(shared),
    )
    assert side.wait("power")["state"] == "succeeded"
    assert side.log("power").decode().splitlines()[-1] == "no"
    assert not os.path.exists("/etc/probe-power")


@pytest.mark.accepts("C12")
def test_bwrap_changes_nothing_else(side: NodeSide) -> None:
    """Exit codes, signals, faults of the start and stops are those of a job without it; a script goes in, too."""
    boxed = {"sandbox": "bwrap"}
    side.start("sig", "sh", "-c", "kill -SEGV $$", **boxed)
    side.start("none", "no-such-command", **boxed)
    side.start("script", script="import sys; print(sys.argv[1:], 6 * 7)", interpreter=f"{side.node.python} -u", **boxed)
    side.start("stop", script="trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done", **boxed)
    assert side.wait("sig")["signal"] == 11
    seen = side.wait("none")
    assert (seen["reason"], seen["exit_code"], seen["error"]) == (
        "start",
        127,
        "no-such-command: No such file or directory",
    )
    assert side.wait("script")["state"] == "succeeded"
    assert side.log("script") == b"[] 42\n"
    side.wait("stop", lambda seen: seen["last_line"] == "ready")
    seen = side.stop("stop")
    assert (seen["state"], seen["exit_code"], seen["last_line"]) == ("cancelled", 9, "bye"), seen


@pytest.mark.accepts("C12")
@pytest.mark.parametrize(
    "tool", [None, "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"]
)
def test_never_without_the_sandbox(nodes: Callable[..., list[PlainNode]], tmp_path: Path, tool: str | None) -> None:
    programs = programs_without(tmp_path, "bwrap")
    if tool:
        (programs / "bwrap").write_text(tool)
        (programs / "bwrap").chmod(0o755)
    (node,) = nodes(1, env={"PATH": str(programs)})
    side = NodeSide(node)
    side.start("bare", "touch", "ran", sandbox="bwrap")
    seen = side.wait("bare")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    why = "No permissions to create new namespace" if tool else "there is no bwrap on this node"
    assert why in seen["error"]
    assert "--sandbox container" in seen["error"]
    assert not (node.home / "ran").exists()
