# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs of a node: never given twice, given in order, and unknown where nothing can be told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testbed import Bed, PlainNode
from testbed.node_side import OVER, NodeSide

# Writes when it had which GPUs, by a clock that all jobs of the machine share. A third argument is a file to wait for.
HOLDS = """
import os, sys, time
gpus, began = os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic()
while sys.argv[3:] and not os.path.exists(sys.argv[3]):
    time.sleep(0.05)
time.sleep(float(sys.argv[2]))
with open(sys.argv[1], "a") as out:
    out.write("%s %.6f %.6f %s\\n" % (os.environ["STOKER_JOB"], began, time.monotonic(), gpus))
"""


@pytest.fixture
def gpus(nodes: Callable[..., list[PlainNode]]) -> Callable[..., NodeSide]:
    """A factory: the node side of a new node with so many GPUs."""

    def make(count: int, lock_dir: str | None = None, **options: Any) -> NodeSide:
        return NodeSide(nodes(1, gpus=count, **options)[0], lock_dir=lock_dir)

    return make


def start_holding(
    side: NodeSide, job: str, record: Path, seconds: float, *wait_for: Path, count: int = 1
) -> dict[str, Any]:
    words = [str(record), str(seconds), *map(str, wait_for)]
    return side.start(job, side.node.python, "-c", HOLDS, *words, gpus=count)


def held(record: Path) -> list[tuple[str, float, float, list[str]]]:
    """What the jobs themselves wrote: job, from, to, GPUs; by start."""
    rows = [line.split() for line in record.read_text().splitlines()]
    return sorted(((row[0], float(row[1]), float(row[2]), row[3].split(",")) for row in rows), key=lambda row: row[1])


def assert_never_twice(rows: list[tuple[str, float, float, list[str]]]) -> None:
    for index, (job, began, ended, uuids) in enumerate(rows):
        for other, other_began, other_ended, other_uuids in rows[index + 1 :]:
            shared = set(uuids) & set(other_uuids)
            assert not shared or other_began >= ended or other_ended <= began, f"{job} and {other} both had {shared}"


@pytest.mark.accepts("B09")
def test_two_controllers_never_get_one_gpu_twice(gpus: Callable[..., NodeSide], tmp_path: Path) -> None:
    """They do not know each other, and ask at the same time for more than there is."""
    first = gpus(2)
    node = first.node
    controllers = [first, NodeSide(node)]

    def hammer(number: int) -> None:
        for index in range(6):
            start_holding(controllers[number], f"c{number}-{index}", tmp_path / "held", 0.3, count=1 + (index == 3))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(hammer, range(2)))
    wait_for_all(first, 12)
    rows = held(tmp_path / "held")
    assert len(rows) == 12
    assert {uuid for row in rows for uuid in row[3]} == set(node.gpus.uuids if node.gpus else ())
    assert_never_twice(rows)


def wait_for_all(side: NodeSide, count: int, timeout_s: float = 150.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        seen = side.ask("reconcile", observe={"jobs": "all"})["attempts"]
        if len(seen) == count and all(item["state"] in OVER for item in seen):
            assert [item["job"] for item in seen if item["state"] != "succeeded"] == []
            return
        assert time.monotonic() < deadline, [(item["job"], item["state"], item["waiting"]) for item in seen]
        time.sleep(0.3)


@pytest.mark.accepts("B09")
def test_two_state_folders_share_their_locks(gpus: Callable[..., NodeSide], tmp_path: Path) -> None:
    """Two users of one machine, each with a queue of their own."""
    locks = str(tmp_path / "locks")
    first = gpus(1, lock_dir=locks)
    second = NodeSide(first.node, state_dir=f"{first.state_dir}-2", lock_dir=locks)
    for index in range(3):
        start_holding(first, f"a{index}", tmp_path / "held", 0.3)
        start_holding(second, f"b{index}", tmp_path / "held", 0.3)
    wait_for_all(first, 3)
    wait_for_all(second, 3)
    rows = held(tmp_path / "held")
    assert len(rows) == 6
    assert_never_twice(rows)


@pytest.mark.root
@pytest.mark.accepts("B09")
def test_two_users_share_their_locks(gpus: Callable[..., NodeSide], tmp_path: Path) -> None:
    """Who comes first makes the folder; the other user can lock in it all the same, and sees that a GPU is held."""
    python = "/usr/bin/python3"  # one that both may run
    if not os.path.exists(python):
        pytest.skip(f"no {python}")
    locks = tmp_path / "locks"
    first = gpus(1, lock_dir=str(locks), python=python, gpu_python=python)
    for reach in (first.node.folder, tmp_path):
        while reach not in (Path("/tmp"), Path("/")):
            reach.chmod(0o755)
            reach = reach.parent
    start_holding(first, "roots", tmp_path / "held", 60)
    home = tmp_path / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    second = NodeSide(first.node, state_dir=str(home / "state"), lock_dir=str(locks))
    second.node.ssh(f"chown -R 65534:65534 {home}")
    second.node.python = f"env HOME={home} setpriv --reuid=65534 --regid=65534 --clear-groups {first.node.python}"
    seen = second.start("theirs", "true", gpus=1)
    assert seen["state"] == "queued", seen
    assert seen["waiting"]["held_by"] == ["roots"]
    second.stop("theirs")


def test_the_command_is_told_its_gpus(gpus: Callable[..., NodeSide]) -> None:
    side = gpus(3)
    assert side.node.gpus
    uuids = side.node.gpus.uuids
    show = 'echo "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"'
    for job, fields, expected in [
        ("one", {"gpus": 1}, uuids[:1]),
        ("chosen", {"gpus": 2, "gpu_uuids": [uuids[2], uuids[1]]}, uuids[1:]),
        ("named", {"gpu_uuids": [uuids[1]]}, uuids[1:2]),
    ]:
        side.start(job, script=show, **fields)
        seen = side.wait(job)
        assert seen["gpus"] == expected, seen
        assert side.log(job).decode() == f"{','.join(expected)} PCI_BUS_ID\n"
    side.start("none", script='echo "${CUDA_VISIBLE_DEVICES-unset}"')
    side.wait("none")
    assert side.log("none") == b"unset\n"


@pytest.mark.accepts("B09")
def test_chosen_gpus_are_waited_for(gpus: Callable[..., NodeSide]) -> None:
    side = gpus(2)
    assert side.node.gpus
    first, second = side.node.gpus.uuids
    side.start("holds", "sleep", "81.1", gpu_uuids=[first])
    assert side.start("other", "sleep", "0.1", gpu_uuids=[second])["state"] in ("running", "succeeded")
    seen = side.start("same", "sleep", "0.1", gpu_uuids=[first])
    assert seen["state"] == "queued", seen
    assert seen["waiting"] == {"position": 0, "needs": 1, "free": 0, "held_by": ["holds"]}
    side.stop("holds", grace_s=0)
    assert side.wait("same")["state"] == "succeeded"


@pytest.mark.accepts("B09")
def test_all_or_nothing(gpus: Callable[..., NodeSide]) -> None:
    """Two are needed and one is free: none is taken, and the one shows as free."""
    side = gpus(2)
    side.start("holds", "sleep", "81.2", gpus=1)
    seen = side.start("both", "sleep", "0.1", gpus=2)
    assert (seen["state"], seen["gpus"]) == ("queued", []), seen
    assert seen["waiting"] == {"position": 0, "needs": 2, "free": 1, "held_by": ["holds"]}
    facts = side.ask("reconcile", gpus=True)["node"]["gpus"]
    assert [gpu["held_by"] for gpu in facts] == [["holds"], []]
    side.stop("holds", grace_s=0)
    assert len(side.wait("both")["gpus"]) == 2


@pytest.mark.accepts("B08")
def test_the_queue_goes_on_without_a_controller(gpus: Callable[..., NodeSide], tmp_path: Path) -> None:
    """Four jobs for one GPU, then nobody can reach the node: they run one after the other, in order."""
    side = gpus(1)
    node = side.node
    assert isinstance(node, PlainNode)
    for index in range(4):
        start_holding(side, f"q{index}", tmp_path / "held", 0.2, tmp_path / "alone")
    seen = side.ask("reconcile", observe={"jobs": "all"})["attempts"]
    assert [item["state"] for item in seen[1:]] == ["queued"] * 3
    assert [item["waiting"]["position"] for item in seen[1:]] == [0, 1, 2]
    node.down()
    (tmp_path / "alone").touch()
    deadline = time.monotonic() + 150
    while not (tmp_path / "held").exists() or len(held(tmp_path / "held")) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    node.start()
    wait_for_all(side, 4)
    rows = held(tmp_path / "held")
    assert [row[0] for row in rows] == ["q0", "q1", "q2", "q3"]
    assert_never_twice(rows)


@pytest.mark.accepts("B08")
def test_a_killed_waiting_supervisor_does_not_hold_up_the_queue(gpus: Callable[..., NodeSide], tmp_path: Path) -> None:
    """The others go on; the attempt keeps its ticket, and runs when the node is asked the next time."""
    side = gpus(1)
    side.start("holds", "sleep", "81.3", gpus=1)
    start_holding(side, "killed", tmp_path / "held", 0.1)
    start_holding(side, "behind", tmp_path / "held", 0.1)
    side.kill("killed", "supervisor")
    # As if it had happened a while ago: a young ticket may belong to a supervisor that is just starting.
    side.node.ssh(f"touch -d '1 minute ago' {side.state_dir}/queue/*-killed-1 {side.state_dir}/jobs/killed/1/spec.json")
    state = side.file("holds", "state.json")
    side.node.ssh(f"kill -9 {state['command']['pid']}")
    deadline = time.monotonic() + 150
    while not (tmp_path / "held").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [row[0] for row in held(tmp_path / "held")] == ["behind"]
    assert side.wait("killed")["state"] == "succeeded"


def test_cancel_of_a_waiting_job(gpus: Callable[..., NodeSide]) -> None:
    side = gpus(1)
    side.start("holds", "sleep", "81.4", gpus=1)
    side.start("waits", "sleep", "81.5", gpus=1)
    assert side.start("behind", "sleep", "0.1", gpus=1)["waiting"]["position"] == 1
    seen = side.stop("waits")
    assert (seen["state"], seen["started_at"], seen["elapsed_s"]) == ("cancelled", None, None), seen
    side.wait("behind", lambda seen: seen["waiting"]["position"] == 0)
    side.stop("holds", grace_s=0)
    assert side.wait("behind")["state"] == "succeeded"


@pytest.fixture(scope="module")
def unwell(bed: Bed) -> Iterator[NodeSide]:
    """A node whose nvidia-smi is told what to do by each test."""
    node = PlainNode(bed, "unwell", gpus=1)
    node.start()
    yield NodeSide(node)
    node.close()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("no_driver", "couldn't communicate with the NVIDIA driver"),
        ("mismatch", "Driver/library version mismatch"),
        ("lost", "GPU is lost"),
        ("hang", "gave no answer within 10 s"),
    ],
)
def test_gpus_that_cannot_be_told(unwell: NodeSide, mode: Any, words: str) -> None:
    """That is not the same as no GPU: the job fails at its start with the tool's own words."""
    assert unwell.node.gpus
    unwell.node.gpus.mode(mode)
    job = mode.replace("_", "-")
    unwell.start(job, "true", gpus=1)
    seen = unwell.wait(job)
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert words in seen["error"], seen
    assert "this node has" not in seen["error"]
    if mode != "hang":
        facts = unwell.ask("reconcile", gpus=True)["node"]
        assert facts["gpus"] is None
        assert words in facts["gpus_unknown"]


def test_no_device_is_no_gpu(unwell: NodeSide) -> None:
    assert unwell.node.gpus
    unwell.node.gpus.mode("no_devices")
    unwell.start("no-devices", "true", gpus=1)
    assert "this node has 0 GPU(s)" in unwell.wait("no-devices")["error"]
    assert unwell.ask("reconcile", gpus=True)["node"]["gpus"] == []


def test_no_tool(node: PlainNode) -> None:
    side = NodeSide(node)
    side.start("no-tool", "true", gpus=1)
    seen = side.wait("no-tool")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "there is no nvidia-smi on this node" in seen["error"]


def test_more_than_the_node_has(gpus: Callable[..., NodeSide]) -> None:
    """Waiting would never end, so it fails at once; also for a GPU that is not here."""
    side = gpus(2)
    side.start("many", "true", gpus=3)
    assert "asks for 3 GPU(s), this node has 2 GPU(s)" in side.wait("many")["error"]
    side.start("strange", "true", gpu_uuids=["GPU-not-here"])
    assert "this node has 0 of the GPUs asked for" in side.wait("strange")["error"]


@pytest.mark.accepts("B09", "D15")
def test_a_survivor_that_let_go_of_its_lock_still_holds_its_gpu(gpus: Callable[..., NodeSide]) -> None:
    """Supervisor and recorder are killed, and the command closed what it inherited: its GPU is not free."""
    side = gpus(1)
    code = "import os, time; os.closerange(3, 4096); print('closed', flush=True); time.sleep(81.6)"
    side.start("survivor", side.node.python, "-c", code, gpus=1)
    side.wait("survivor", lambda seen: seen["last_line"] == "closed")
    side.kill("survivor", "supervisor", "recorder")
    seen = side.observe("survivor")
    assert (seen["state"], seen["supervised"]) == ("running", False), seen
    seen = side.start("next", "sleep", "0.1", gpus=1)
    assert seen["state"] == "queued", seen
    assert seen["waiting"]["held_by"] == ["survivor"]
    assert side.ask("reconcile", gpus=True)["node"]["gpus"][0]["held_by"] == ["survivor"]
    side.stop("survivor", grace_s=0)
    assert side.wait("next")["state"] == "succeeded"
