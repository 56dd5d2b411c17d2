# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in containers: what they see and get, and what is true of them whoever is killed. A real Podman."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import PlainNode, PodmanNode, programs_without, wait_until
from testbed.node_side import NodeSide
from testbed.podman import IMAGE

pytestmark = pytest.mark.root
BOX: dict[str, Any] = {"container": {"image": IMAGE}}


@pytest.fixture
def side(podman_node: PodmanNode, request: pytest.FixtureRequest) -> Iterator[NodeSide]:
    """A state folder of the test's own; afterwards no container of it is left."""
    yield from _side(podman_node)


@pytest.fixture
def rootless(rootless_node: PodmanNode) -> Iterator[NodeSide]:
    yield from _side(rootless_node)


def _side(node: PodmanNode, **more: Any) -> Iterator[NodeSide]:
    side = NodeSide(node, state_dir=f"{node.state_dir}-{uuid.uuid4().hex[:8]}", **more)
    yield side
    live = side.ask("reconcile", observe={"jobs": "live"})["attempts"]
    stops = [{"order": "stop", "job": s["job"], "attempt": s["attempt"], "grace_s": 0, "wait_s": 20} for s in live]
    side.ask("reconcile", orders=stops)
    wait_until(lambda: node.containers() == [], "every container is removed", timeout_s=180, every_s=0.3)


def node_of(side: NodeSide) -> PodmanNode:
    assert isinstance(side.node, PodmanNode)
    return side.node


def until_told(then: str) -> str:
    """A script that says ready, waits until ``go`` was called, then does ``then``."""
    return f'echo ready; while [ ! -e "$HOME/go-$STOKER_JOB" ]; do sleep 0.1; done; {then}'


def go(side: NodeSide, job: str) -> None:
    side.node.ssh(f"touch $HOME/go-{job}")


def ready(side: NodeSide, job: str) -> dict[str, Any]:
    return side.wait(job, lambda seen: seen["last_line"] == "ready")


def start(side: NodeSide, then: str = "exit 7", **fields: Any) -> str:
    """Start a container job that holds a GPU and waits to be told. Returns its id."""
    job = f"c-{uuid.uuid4().hex[:6]}"
    side.start(job, script=until_told(then), **{"gpus": 1, **BOX, **fields})
    ready(side, job)
    return job


def inspect(side: NodeSide, job: str) -> dict[str, Any]:
    name = side.file(job, "state.json")["container"]["name"]
    told: dict[str, Any] = json.loads(node_of(side).podman("container", "inspect", name))[0]
    return told


def gpu_locks(side: NodeSide) -> list[str]:
    reply = side.ask("reconcile", gpus=True, observe={"jobs": []})
    return [job for gpu in reply["node"]["gpus"] for job in gpu["held_by"]]


# ---- what it sees and gets


@pytest.mark.accepts("C15")
def test_the_selected_gpus_only(side: NodeSide) -> None:
    """Two jobs, a GPU each: a container is given its own and no other, and they are free again afterwards."""
    jobs = [start(side, 'env | grep ^TEST_GPU; echo "$CUDA_VISIBLE_DEVICES"; exit 0') for _ in range(2)]
    assert side.start("third", "true", gpus=1, **BOX)["state"] == "queued"
    assert sorted(gpu_locks(side)) == sorted(jobs)
    held = {job: side.observe(job)["gpus"] for job in jobs}
    assert len({uuids[0] for uuids in held.values()}) == 2
    for job in jobs:
        go(side, job)
        assert side.wait(job)["state"] == "succeeded"
        given, visible = side.log(job).decode().splitlines()[1:]
        assert [given.split("=")[1], visible] == held[job] * 2
    assert side.wait("third")["state"] == "succeeded"
    side.start("none", "sh", "-c", "env | grep TEST_GPU || echo none", **BOX)
    assert side.wait("none")["last_line"] == "none"


@pytest.mark.accepts("C15")
def test_without_a_cdi_specification_it_says_so(side: NodeSide) -> None:
    """Podman finds GPUs by it alone: a job that would see none does not start."""
    told = node_of(side).folder / "etc/cdi/nvidia.json"
    kept = told.read_text()
    told.write_text(kept.replace("GPU-", "gone-"))
    try:
        side.start("blind", "true", gpus=1, **BOX)
        seen = side.wait("blind")
    finally:
        told.write_text(kept)
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "no CDI specification" in seen["error"]
    assert "nvidia-ctk cdi generate" in seen["error"]
    assert gpu_locks(side) == []


@pytest.mark.accepts("C15")
def test_what_the_spec_says_of_the_container(side: NodeSide) -> None:
    home = side.node.home
    side.node.ssh("mkdir -p $HOME/data $HOME/out 'odd, name'; echo hi > $HOME/data/f; echo odd > 'odd, name/f'")
    container = {
        "image": IMAGE,
        "mounts": [
            {"source": "~/data", "target": "/data", "read_only": True},
            {"source": str(home / "odd, name"), "target": "/odd, name"},
        ],
        "shm_bytes": 8 * 1024 * 1024,
        "network": "none",
        "user": "worker",
        "workdir": "/data",
    }
    script = "id -un; pwd; cat f '/odd, name/f'; touch no 2>/dev/null || echo denied; df -k /dev/shm | tail -1"
    script += "; ls /sys/class/net"
    side.start("spec", script=script, workdir="out", container=container)
    seen = side.wait("spec")
    assert seen["state"] == "succeeded", seen
    lines = side.log("spec").decode().splitlines()
    assert lines[:5] == ["worker", "/data", "hi", "odd", "denied"], lines
    assert lines[5].split()[1] == "8192"
    assert lines[6:] == ["lo"]


@pytest.mark.accepts("C15")
def test_a_secret_is_nowhere(side: NodeSide) -> None:
    """Not in what inspect shows, nor in any file of Podman's or Stoker's, while the command has it."""
    secret = f"s3cret-{uuid.uuid4().hex}"
    spec = side.spec("hush", script='test -n "$KEY" && echo ready; sleep 631', secret_env=["KEY"], **BOX)
    side.start_spec(spec, secrets={"KEY": secret})
    ready(side, "hush")
    node = node_of(side)
    assert secret not in json.dumps(inspect(side, "hush"))
    wait_until(
        lambda: node.ssh(f"grep -rlas {secret} {node.store} {node.folder}/run {side.state_dir}").stdout == "",
        "no file holds it",
        timeout_s=5,
        every_s=0.3,
    )
    side.stop("hush", grace_s=0)


@pytest.mark.accepts("C12")
def test_the_sandbox_container(side: NodeSide) -> None:
    """Nothing but its folder and a /tmp of its own can be written to; the image comes from the node's settings."""
    side.more["container_image"] = IMAGE
    side.node.ssh("mkdir -p $HOME/box")
    places = ". /tmp /etc / /var /root /usr"
    writes = f'for d in {places}; do if echo x 2>/dev/null > "$d/probe"; then echo "$d"; fi; done'
    side.start("box", script=writes, sandbox="container", workdir="box")
    assert side.wait("box")["state"] == "succeeded"
    assert side.log("box") == b".\n/tmp\n"
    assert side.node.ssh("cat $HOME/box/probe").stdout == "x\n"
    assert side.node.ssh("ls /tmp/probe $HOME/probe").stdout == ""


@pytest.mark.accepts("C12")
def test_no_sandbox_without_an_image(side: NodeSide) -> None:
    spec = side.spec("box", argv=["true"], sandbox="container")
    answer = side.order({"order": "start", "attempt": 1, "spec": spec}, accepted=False)["orders"][0]
    assert answer["error"]["code"] == "bad_request", answer
    assert answer["error"]["message"] == "a container needs an image, and none is named"


def test_images(side: NodeSide) -> None:
    """One that may not be fetched, one that cannot be, one without a shell: each says what is wrong."""
    for name, image, pull, said in (
        ("never", "localhost/nothing:1", "never", "is not on this node, and may not be fetched"),
        ("missing", "localhost:9/nothing:1", "missing", "podman pull ended with 125"),
    ):
        side.start(name, "true", container={"image": image, "pull": pull})
        seen = side.wait(name)
        assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "start", 125), seen
        assert said in seen["error"]
    side.node.ssh(
        "mkdir -p $HOME/e/x; tar -C $HOME/e -cf $HOME/e.tar .; podman import -q $HOME/e.tar localhost/empty:1"
    )
    side.start("empty", "true", container={"image": "localhost/empty:1"})
    seen = side.wait("empty")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen


# ---- whoever is killed


@pytest.mark.accepts("C15", "D15")
@pytest.mark.parametrize("roles", [("supervisor",), ("recorder",), ("supervisor", "recorder")], ids="+".join)
def test_ours_killed(side: NodeSide, roles: tuple[str, ...]) -> None:
    """The container goes on, its GPU stays held, somebody takes over, and the exit code is the true one."""
    job = start(side)
    side.kill(job, *roles)
    assert gpu_locks(side) == [job]
    side.wait(job, lambda seen: seen["supervised"] is True)
    assert side.observe(job)["state"] == "running"
    assert gpu_locks(side) == [job]
    go(side, job)
    seen = side.wait(job)
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("failed", "code", 7), seen
    wait_until(lambda: gpu_locks(side) == [], "the GPU is free", timeout_s=180, every_s=0.2)


@pytest.mark.accepts("C15", "D15")
@pytest.mark.parametrize(("then", "end"), [("exit 7", ("failed", 7, None)), ("kill -9 $$", ("failed", None, 9))])
def test_both_killed_and_it_ends(side: NodeSide, then: str, end: tuple[Any, ...]) -> None:
    """Nobody was there: the container still tells how it ended, with its own times, and is removed then."""
    job = start(side, then)
    name = side.file(job, "state.json")["container"]["name"]
    side.kill(job, "supervisor", "recorder")
    go(side, job)
    running = ("podman", "container", "inspect", "--format", "'{{.State.Running}}'", name)
    wait_until(lambda: "false" in side.node.ssh(" ".join(running)).stdout, "it ended", timeout_s=180, every_s=0.2)
    seen = side.observe(job)
    assert (seen["state"], seen["exit_code"], seen["signal"]) == end, seen
    assert seen["ended_at"] > seen["started_at"]
    assert "its container tells of it" in seen["detail"]
    assert node_of(side).containers() == []


@pytest.mark.accepts("C15", "D09")
@pytest.mark.parametrize("roles", [("supervisor",), ("recorder",), ("supervisor", "recorder")], ids="+".join)
def test_stop_after_ours_were_killed(side: NodeSide, roles: tuple[str, ...]) -> None:
    """A tree that ignores TERM: nothing of it is left, and its container neither."""
    job = start(
        side, "(trap '' TERM; setsid sleep 632; sleep 633) & trap '' TERM; echo on; sleep 634; sleep 635", grace_s=1
    )
    go(side, job)
    side.wait(job, lambda seen: seen["last_line"] == "on")
    side.kill(job, *roles)
    seen = side.stop(job)
    assert seen["state"] == "cancelled", seen
    assert [p.argv for p in side.node.processes() if p.argv[:1] == ["sleep"]] == []  # type: ignore[attr-defined]
    wait_until(lambda: gpu_locks(side) == [], "the GPU is free", timeout_s=180, every_s=0.2)


@pytest.mark.accepts("C15", "D15")
def test_the_monitor_killed(side: NodeSide) -> None:
    """Podman itself then never learns how it ended; the recorder does, by the kernel."""
    job = start(side)
    side.node.ssh(f"kill -9 {inspect(side, job)['State']['ConmonPid']}")
    assert side.observe(job)["state"] == "running"
    go(side, job)
    seen = side.wait(job)
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen


@pytest.mark.accepts("C15", "D15")
def test_monitor_and_ours_killed(side: NodeSide) -> None:
    """Nobody can know how it ends: it runs as long as it runs, holds its GPU, and then it is lost."""
    job = start(side)
    side.node.ssh(f"kill -9 {inspect(side, job)['State']['ConmonPid']}")
    side.kill(job, "supervisor", "recorder")
    seen = side.wait(job, lambda seen: seen["supervised"] is True)
    assert seen["state"] == "running"
    wait_until(lambda: gpu_locks(side) == [job], "its new supervisor holds the GPU", timeout_s=180, every_s=0.2)
    go(side, job)
    seen = side.wait(job, timeout_s=40)
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("lost", "killed", None), seen
    assert "does not know how it ended" in seen["detail"]


@pytest.mark.accepts("C15", "V16")
def test_the_init_killed(side: NodeSide) -> None:
    job = start(side)
    side.kill(job, "command")
    seen = side.wait(job)
    assert (seen["state"], seen["reason"], seen["signal"]) == ("failed", "signal", 9), seen


@pytest.mark.accepts("C15", "D15")
def test_removed_by_somebody_else(side: NodeSide) -> None:
    """podman rm -f by hand: it is over, by a signal, and that is said."""
    job = start(side)
    node_of(side).podman("rm", "--force", "--time", "0", side.file(job, "state.json")["container"]["name"])
    seen = side.wait(job, timeout_s=120)
    assert seen["state"] in ("failed", "lost"), seen
    assert seen["exit_code"] is None


def booted(side: NodeSide, job: str, **changes: Any) -> None:
    """Make the attempt one of another boot."""
    state = side.file(job, "state.json")
    state["boot"].update(changes)
    side.node.ssh(f"cat > {side.state_dir}/jobs/{job}/1/state.json", stdin=json.dumps(state))


@pytest.mark.accepts("C15", "D15")
def test_a_survivor_of_a_new_init(side: NodeSide) -> None:
    """The node is a container itself and was started anew; the engine around it, and the job, were not."""
    job = start(side)
    side.kill(job, "supervisor", "recorder")
    booted(side, job, init_start=1)
    seen = side.observe(job)
    assert (seen["state"], seen["evidence"]) == ("running", "podman says that its container runs"), seen
    go(side, job)
    seen = side.wait(job)
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen


@pytest.mark.accepts("C15", "D15")
def test_after_a_boot_no_exit_code_is_believed(side: NodeSide) -> None:
    """Engines make one up for what ran when the machine went down."""
    job = start(side, "exit 0")
    state = side.file(job, "state.json")
    side.kill(job, "supervisor", "recorder", "command")
    booted(side, job, boot_id="another", init_start=1)
    wait_until(lambda: not alive(side, state["command"]["pid"]), "it ended", timeout_s=180)
    seen = side.observe(job)
    assert (seen["state"], seen["reason"], seen["exit_code"]) == ("lost", "reboot", None), seen


def alive(side: NodeSide, pid: int) -> bool:
    return any(process.pid == pid for process in side.node.processes())  # type: ignore[attr-defined]


# ---- engines that are not as they should be


@pytest.mark.parametrize(("engine", "said"), [(None, "podman and no docker"), ("docker", "docker")])
def test_no_engine(nodes: Callable[..., list[PlainNode]], tmp_path: Path, engine: str | None, said: str) -> None:
    """Refused at once, with what to do; nothing of it is kept."""
    (node,) = nodes(1, env={"PATH": str(programs_without(tmp_path, "docker", "podman"))})
    side = NodeSide(node)
    spec = side.spec("none", argv=["true"], container={"image": IMAGE, "engine": engine})
    answer = side.order({"order": "start", "attempt": 1, "spec": spec}, accepted=False)["orders"][0]
    assert (answer["ok"], answer["error"]["code"]) == (False, "not_supported"), answer
    assert answer["error"]["message"] == f"there is no {said} on this node"
    assert "without --container" in answer["error"]["next"]
    assert side.ask("reconcile", observe={"jobs": "all"})["attempts"] == []


@pytest.fixture
def podman_start_hangs(podman_node: PodmanNode) -> Iterator[None]:
    tool = podman_node.bin / "podman"
    tool.write_text('#!/bin/sh\nif [ "$1" = start ]; then exec sleep 61; fi\nexec /usr/bin/podman "$@"\n')
    tool.chmod(0o755)
    yield
    tool.unlink()


@pytest.mark.accepts("C15", "D15")
def test_killed_between_create_and_start(side: NodeSide, podman_start_hangs: None) -> None:
    """Its command never began; what was created is removed."""
    spec = side.spec("half", argv=["true"], **BOX)
    asked = {"schema": "stoker.request/1", "op": "reconcile", "state_dir": side.state_dir}
    order = {**asked, "orders": [{"order": "start", "attempt": 1, "spec": spec}]}
    caller = subprocess.Popen(
        [*side.node.ssh_command(), f"exec {side.node.python} -I -S {side.folder} ctl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert caller.stdin
    caller.stdin.write(json.dumps(order).encode())
    caller.stdin.close()
    wait_until(lambda: len(node_of(side).containers()) == 1, "it is created", timeout_s=120, every_s=0.2)
    side.kill("half", "supervisor", "recorder")
    caller.kill()
    caller.wait()
    seen = side.wait("half")
    assert (seen["state"], seen["reason"]) == ("lost", "killed"), seen
    assert node_of(side).containers() == []


@pytest.mark.slow
@pytest.mark.accepts("C15")
def test_an_engine_that_hangs(side: NodeSide) -> None:
    """It is running as long as nobody can know otherwise, and says why; with the engine back, the truth comes."""
    job = start(side)
    tool = node_of(side).bin / "podman"
    side.kill(job, "supervisor", "recorder")
    side.node.ssh(f"kill -9 {side.file(job, 'state.json')['command']['pid']}")
    tool.write_text("#!/bin/sh\nexec sleep 600\n")
    tool.chmod(0o755)
    try:
        seen = side.observe(job)
        assert seen["state"] == "running", seen
        assert seen["evidence"].startswith(
            "not known, it ran when last seen: podman container gave no answer within 10 s"
        )
        side.start("late", "true", **BOX)
        seen = side.wait("late", timeout_s=180)
        assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
        assert "podman image gave no answer within 10 s" in seen["error"]
    finally:
        tool.unlink()
    seen = side.wait(job, timeout_s=180)
    assert (seen["state"], seen["signal"]) == ("failed", 9), seen


@pytest.mark.accepts("C51")
def test_an_engine_that_fails_during_a_stop(side: NodeSide) -> None:
    """What ended on request was cancelled, however long it takes until its engine tells of the end."""
    job = start(side)
    tool = node_of(side).bin / "podman"
    tool.write_text('#!/bin/sh\n[ "$2" = inspect ] && { echo busy >&2; exit 125; }\nexec /usr/bin/podman "$@"\n')
    tool.chmod(0o755)
    try:
        side.order({"order": "stop", "job": job, "attempt": 1, "grace_s": 0, "wait_s": 3})
        log = f"cat {side.state_dir}/jobs/{job}/1/supervisor.log"
        wait_until(lambda: "exit record: podman" in side.node.ssh(log).stdout, "it asks", timeout_s=120, every_s=0.2)
    finally:
        tool.unlink()
    seen = side.wait(job)
    assert seen["state"] == "cancelled", seen


# ---- Podman without root; Docker's command line


@pytest.mark.accepts("C15")
def test_rootless(rootless: NodeSide) -> None:
    """The files it writes are the node's user's; exit code, log and stop are as ever."""
    rootless.start("plain", script="id -u; touch made; echo to stderr >&2; exit 7", **BOX)
    seen = rootless.wait("plain")
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen
    assert rootless.log("plain") == b"0\nto stderr\n"
    assert rootless.node.ssh("stat -c %U $HOME/made").stdout == "stoker\n"
    rootless.start("long", script="trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done", **BOX)
    ready(rootless, "long")
    rootless.kill("long", "supervisor", "recorder")
    seen = rootless.stop("long", grace_s=5)
    assert (seen["state"], seen["exit_code"], seen["last_line"]) == ("cancelled", 9, "bye"), seen


@pytest.mark.accepts("C15")
def test_rootless_as_another_user_of_the_image(rootless: NodeSide) -> None:
    """Its processes belong to a number that the node's user may not signal: the engine does."""
    box = {"container": {"image": IMAGE, "user": "worker", "workdir": "/tmp"}}
    rootless.start("sub", script="trap '' TERM; id -un; sleep 636; sleep 637", grace_s=0.5, **box)
    rootless.wait("sub", lambda seen: seen["last_line"] == "worker")
    seen = rootless.stop("sub")
    assert (seen["state"], seen["signal"]) == ("cancelled", 9), seen


@pytest.mark.accepts("C15")
def test_a_limit_that_cannot_be_held_is_refused(rootless: NodeSide) -> None:
    """Podman ignores it on such a machine, and only warns."""
    rootless.start("limit", "true", memory_bytes=64 * 1024 * 1024, **BOX)
    seen = rootless.wait("limit")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "a limit was asked for, and podman cannot hold it here" in seen["error"]


@pytest.fixture
def docker(podman_node: PodmanNode) -> Iterator[NodeSide]:
    """The node with the command line of Docker; a Podman does the work."""
    tool = podman_node.bin / "docker"
    shutil.copy(Path(__file__).parent.parent / "testbed/docker_cli.py", tool)
    tool.chmod(0o755)
    yield from _side(podman_node, container_engine="docker")
    tool.unlink()


def test_the_command_line_of_docker(docker: NodeSide) -> None:
    """Two GPUs in one option, mounts, limits, a read-only root: Docker's own words, and the same answers."""
    docker.node.ssh("mkdir -p $HOME/data")
    container = {
        "image": IMAGE,
        "mounts": [{"source": "~/data", "target": "/data", "read_only": True}],
        "shm_bytes": 8 * 1024 * 1024,
        "network": "none",
    }
    more = {"memory_bytes": 64 * 1024 * 1024, "cpus": 1.5, "sandbox": "container", "workdir": "data"}
    script = "env | grep -c ^TEST_GPU; touch /etc/x 2>/dev/null || echo denied; exit 7"
    docker.start("words", script=script, gpus=2, container=container, **more)
    seen = docker.wait("words")
    assert (seen["state"], seen["exit_code"]) == ("failed", 7), seen
    assert docker.log("words") == b"2\ndenied\n"
    job = start(docker, gpus=0)
    docker.kill(job, "supervisor", "recorder")
    go(docker, job)
    assert docker.wait(job)["exit_code"] == 7
    hog = [docker.node.python, "-c", "import time; time.sleep(1); x = b'x' * 10**9"]
    docker.start("hog", *hog, memory_bytes=64 * 1024 * 1024, container={"image": IMAGE})
    assert docker.wait("hog")["reason"] == "oom"
