# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at when a job takes its GPUs: foreign use, busy processes, and GPUs that cannot be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import Bed, FakeGpus, FakeNvml, PlainNode, find_python
from testbed.node_side import NodeSide


@pytest.fixture
def side(gpu_node: PlainNode) -> NodeSide:
    """Two H100, and a kernel log without a word of the driver."""
    kernel_log(gpu_node)
    return NodeSide(gpu_node)


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that is nobody's here."""
    process = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL)
    yield process.pid
    process.kill()
    process.wait()


def fake(side: NodeSide) -> FakeGpus:
    assert side.node.gpus is not None
    return side.node.gpus


def kernel_log(node: PlainNode, *lines: str, code: int = 0, boot_s: float | None = None) -> None:
    """What ``dmesg`` of the node prints: it takes no option, as plain dmesg would not need one."""
    at = time.clock_gettime(time.CLOCK_BOOTTIME) - 5 if boot_s is None else boot_s
    said = ["[    0.000000] Linux version 6.1.0", *(f"[{at:12.6f}] {line}" for line in lines)]
    text = "dmesg: read kernel buffer failed: Operation not permitted" if code else "\n".join(said)
    (node.folder / "dmesg.said").write_text(text + "\n")
    script = f"#!/bin/sh\n[ $# = 0 ] || exit 64\ncat {node.folder}/dmesg.said{' >&2' if code else ''}; exit {code}\n"
    (node.bin / "dmesg").write_text(script)
    (node.bin / "dmesg").chmod(0o755)


def quiet_journal(node: PlainNode) -> None:
    """A journal that this user may not read."""
    (node.bin / "journalctl").write_text(
        "#!/bin/sh\necho 'No journal files were opened due to insufficient permissions.' >&2; exit 1\n"
    )
    (node.bin / "journalctl").chmod(0o755)


def info(side: NodeSide, **fields: Any) -> list[dict[str, Any]]:
    reply = side.ask("info", parts=["gpus"], **fields)
    assert reply["ok"], reply
    gpus: list[dict[str, Any]] = reply["node"]["gpus"]
    return gpus


def texts(seen: dict[str, Any]) -> list[str]:
    return [item["text"] for item in seen["preflight"]]


# ---- foreign use ----


@pytest.mark.accepts("D26")
def test_a_quiet_gpu_is_preferred_and_nothing_is_said(side: NodeSide, stranger: int) -> None:
    fake(side).add_process(0, stranger, 4096, "blender")
    fake(side).set(0, {"utilization.gpu": 97})
    seen = side.start("train", "sleep", "600", gpus=1)
    assert (seen["gpus"], seen["preflight"]) == ([fake(side).uuids[1]], []), seen
    side.stop("train", grace_s=0)


@pytest.mark.accepts("D26")
def test_without_a_quiet_gpu_it_is_taken_with_a_warning(side: NodeSide, stranger: int) -> None:
    for index in (0, 1):
        fake(side).add_process(index, stranger, 70000, "blender")
        fake(side).set(index, {"utilization.gpu": 51})
    side.start("train", "true", gpus=2, preflight={"gpu_memory_bytes": 20 << 30})
    seen = side.wait("train")
    assert seen["state"] == "succeeded", seen
    held = f"blender (process {stranger}, 68.4 GB)"
    of_one = [
        f"load 51% by {held}",
        "10.7 GB of memory free, 20.0 GB asked for",
    ]
    assert texts(seen) == [f"GPU {index}: {text}" for index in (0, 1) for text in of_one]
    assert [item["kind"] for item in seen["preflight"]] == ["load", "memory"] * 2


@pytest.mark.accepts("D26")
@pytest.mark.parametrize(
    ("fields", "process", "preflight", "words"),
    [
        ({"utilization.gpu": 51}, False, {}, "load 51% by nobody that its driver shows"),
        ({"utilization.gpu": 0}, True, {}, "in use by blender"),
        ({"memory.used": 60000}, False, {"gpu_memory_bytes": 40 << 30}, "20.5 GB of memory free, 40.0 GB asked for"),
        ({"memory.free": "[N/A]"}, False, {"gpu_memory_bytes": 1 << 30}, "its free memory is unknown: [N/A], 1.0 GB"),
        ({"utilization.gpu": "[N/A]"}, False, {}, "its load is unknown: [N/A]"),
    ],
    ids=["load", "process", "memory", "memory-unknown", "load-unknown"],
)
def test_a_strict_job_is_refused_and_never_begins(
    side: NodeSide, stranger: int, tmp_path: Path, fields: dict[str, Any], process: bool, preflight: dict[str, Any],
    words: str,
) -> None:  # fmt: skip
    for index in (0, 1):
        fake(side).set(index, fields)
        if process:
            fake(side).add_process(index, stranger, 100, "blender")
    side.start("strict", "touch", str(tmp_path / "ran"), gpus=1, preflight={"strict": True, **preflight})
    seen = side.wait("strict")
    assert (seen["state"], seen["reason"], seen["started_at"]) == ("failed", "start", None), seen
    assert f"its GPUs are not quiet, and it is strict: GPU 0: {words}" in seen["error"], seen
    assert "run it without --strict" in seen["error"]
    assert not (tmp_path / "ran").exists()
    # The same without strictness goes through, and what is unknown is said to be so.
    side.start("lenient", "touch", str(tmp_path / "ran"), gpus=1, preflight=preflight)
    seen = side.wait("lenient")
    assert seen["state"] == "succeeded", seen
    assert any(words in text for text in texts(seen)), seen
    assert (tmp_path / "ran").exists()


@pytest.mark.accepts("D26")
def test_a_strict_job_gets_a_quiet_gpu_and_waits_for_one_that_a_job_holds(side: NodeSide, stranger: int) -> None:
    fake(side).add_process(0, stranger, 100, "blender")
    first = side.start("first", "sleep", "600", gpus=1, preflight={"strict": True})
    assert (first["state"], first["gpus"]) == ("running", [fake(side).uuids[1]]), first
    both = side.start("both", "true", gpus=2, preflight={"strict": True})
    assert (both["state"], both["waiting"]["held_by"]) == ("queued", ["first"]), both
    side.stop("both")
    side.stop("first", grace_s=0)


@pytest.mark.accepts("D26")
@pytest.mark.parametrize(("asked_gb", "blocks"), [(1, False), (100000, True)])
def test_memory_that_a_gpu_shares_with_the_machine(
    nodes: Callable[..., list[PlainNode]], asked_gb: int, blocks: bool
) -> None:
    side = NodeSide(nodes(1, gpus=FakeGpus.gb10())[0])
    side.start("shares", "true", gpus=1, preflight={"gpu_memory_bytes": asked_gb << 30, "strict": True})
    seen = side.wait("shares")
    said = "its own memory is unknown: [N/A]; the machine, whose memory it uses, has "
    if blocks:
        assert said in seen["error"], seen
    else:
        assert (seen["state"], [item["kind"] for item in seen["preflight"]]) == ("succeeded", ["unknown"]), seen
        assert said in texts(seen)[0]


@pytest.mark.accepts("D26", "C52")
@pytest.mark.parametrize("how", ["descent", "token"])
def test_own_jobs_are_never_foreign(side: NodeSide, how: str) -> None:
    """Jobs without a GPU of their own keep both busy: one of this folder, and one of another user's."""
    owner = side if how == "descent" else NodeSide(side.node, state_dir=f"{side.state_dir}-2")
    owner.start("own", "sleep", "600")
    pid = owner.wait("own", lambda seen: seen["pid"] is not None)["pid"]
    for index in (0, 1):
        fake(side).add_process(index, pid, 1000, "game.exe")
        fake(side).set(index, {"utilization.gpu": 99})
    side.start("train", "true", gpus=2, preflight={"strict": True, "busy_processes": ["*"]})
    seen = side.wait("train")
    assert (seen["state"], seen["preflight"]) == ("succeeded", []), seen
    owner.stop("own", grace_s=0)


# ---- busy processes ----


@pytest.mark.accepts("C52")
def test_a_game_keeps_a_gpu_busy_until_the_cool_down_is_over(side: NodeSide) -> None:
    """The job waits, says for what, and gets the GPU by itself; meanwhile its supervisor may be killed."""
    game = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL)
    name = "Z:\\home\\ada\\.steam\\steamapps\\common\\Doom\\doom.exe"
    for index in (0, 1):
        fake(side).add_process(index, game.pid, 4000, name, kind="G")
    preflight = {"cooldown_s": 6.0}
    seen = side.start("train", "true", gpus=1, preflight=preflight)
    assert seen["state"] == "queued", seen
    assert seen["waiting"]["held_by"] == []
    assert seen["waiting"]["closed"] == [
        f"GPU {index} is used by {name} (now); it is free 6 s after that was last seen" for index in (0, 1)
    ]
    assert [gpu["busy"]["name"] for gpu in info(side)] == [name, name]
    ended = time.monotonic()
    game.kill()
    game.wait()
    seen = side.wait("train", lambda seen: "s ago)" in str(seen["waiting"]))
    assert seen["state"] == "queued"
    assert side.wait("train")["state"] == "succeeded"
    assert time.monotonic() - ended >= 5.5, "it was given before the cool-down was over"
    assert texts(side.observe("train")) == []


@pytest.mark.accepts("C52")
def test_the_cool_down_is_remembered_by_the_node(side: NodeSide, stranger: int) -> None:
    """Whoever saw the game, the next one to ask knows: another job, a look at the GPUs, another user of the machine."""
    side.more["busy_processes"] = ["quake*"]
    fake(side).add_process(0, stranger, 4000, "/opt/quake3", kind="G")
    assert [bool(gpu["busy"]) for gpu in info(side)] == [True, False]
    fake(side).clear_processes()
    busy = info(side)[0]["busy"]
    assert (busy["name"], busy["ago_s"] > 0) == ("/opt/quake3", True)
    seen = side.start("train", "true", gpu_uuids=[fake(side).uuids[0]])
    assert seen["state"] == "queued", seen
    assert "GPU 0 is used by /opt/quake3" in seen["waiting"]["closed"][0]
    side.stop("train")
    # The list of the node's own is what counts, also where a spec has another.
    assert side.file("train", "gate.json") == {"busy_processes": ["quake*"]}
    record = next(Path(side.state_dir, "locks").glob("gpu-*.record-*.json"))
    told = json.loads(record.read_text())
    told["busy"]["boot_s"] -= 31
    record.write_text(json.dumps(told))
    side.start("again", "true", gpu_uuids=[fake(side).uuids[0]])
    assert side.wait("again")["state"] == "succeeded"


# ---- health ----


BAD = [
    ({}, [79], "Xid 79: it has fallen off the bus"),
    ({}, [13, 48, 31], "Xid 48: uncorrectable memory error (double bit)"),
    ({}, [74], "Xid 74: NVLink error"),
    ({"ecc.errors.uncorrected.volatile.total": 2}, [], "2 uncorrected ECC errors"),
    ({"remapped_rows.pending": "Yes"}, [], "a row remap is pending"),
    ({"remapped_rows.failure": "Yes"}, [], "a memory row could not be remapped"),
    ({"clocks_throttle_reasons.active": "0x48"}, [], "hardware thermal slowdown"),
    ({"clocks_throttle_reasons.active": "0x88"}, [], "hardware power brake"),
    ({"nvlink.recovery": 3}, [], "3 NVLink recovery errors"),
]


@pytest.mark.accepts("B18")
@pytest.mark.parametrize(("fields", "xids", "words"), BAD, ids=[words.split(":")[0] for _, _, words in BAD])
def test_a_bad_gpu_is_quarantined_when_a_job_would_take_it(
    side: NodeSide, fields: dict[str, Any], xids: list[int], words: str
) -> None:
    fake(side).set(0, fields)
    assert isinstance(side.node, PlainNode)
    kernel_log(side.node, *(fake(side).xid_line(0, code, "text") for code in xids))
    uuids = fake(side).uuids
    seen = side.start("train", "sleep", "600", gpus=1)
    assert seen["gpus"] == [uuids[1]], seen
    seen = side.start("waits", "true", gpu_uuids=[uuids[0]])
    assert seen["state"] == "queued", seen
    (why,) = seen["waiting"]["closed"]
    assert why.startswith("GPU 0 is quarantined until 20")
    assert words in why
    bad, good = info(side)
    assert good["quarantine"] is None
    assert words in bad["quarantine"]["evidence"][0]["text"]
    assert bad["quarantine"]["since"] < bad["quarantine"]["until"]
    side.stop("waits")
    side.stop("train", grace_s=0)


@pytest.mark.accepts("B18")
def test_the_errors_of_programs_are_not_the_gpus(side: NodeSide) -> None:
    assert isinstance(side.node, PlainNode)
    kernel_log(side.node, *(fake(side).xid_line(0, code, "pid=4711, name=python") for code in (13, 31, 43, 45)))
    (gpu, _) = info(side)
    assert [(xid["code"], xid["class"]) for xid in gpu["xids"]] == [(code, "application") for code in (13, 31, 43, 45)]
    assert (gpu["quarantine"], gpu["health_unknown"]) == (None, {})
    side.start("train", "true", gpu_uuids=fake(side).uuids[:1])
    assert side.wait("train")["state"] == "succeeded"


@pytest.mark.accepts("B18")
def test_a_quarantine_is_released_and_only_new_evidence_brings_it_back(side: NodeSide) -> None:
    assert isinstance(side.node, PlainNode)
    first = fake(side).xid_line(0, 79)
    kernel_log(side.node, first, boot_s=time.clock_gettime(time.CLOCK_BOOTTIME) - 50)
    fake(side).set(0, {"ecc.errors.uncorrected.volatile.total": 2})
    seen = side.start("train", "true", gpu_uuids=fake(side).uuids[:1])
    assert seen["state"] == "queued", seen
    (file,) = Path(side.state_dir, "locks").glob("gpu-*.record-*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    refused = side.ask("gpu_release", gpu="7")
    assert refused["error"]["message"] == "there is no GPU 7 here (known: 0, 1)"
    released = side.ask("gpu_release", gpu="0")["gpu"]
    assert (released["index"], len(released["was"]["evidence"])) == (0, 2), released
    assert side.wait("train")["state"] == "succeeded"
    assert info(side)[0]["quarantine"] is None
    # One more error of the same kind is new.
    fake(side).set(0, {"ecc.errors.uncorrected.volatile.total": 3})
    assert [item["text"] for item in info(side)[0]["quarantine"]["evidence"]] == ["3 uncorrected ECC errors"]
    assert side.ask("gpu_release", gpu=fake(side).uuids[0])["gpu"]["was"] is not None
    kernel_log(side.node, first)
    assert "Xid 79" in info(side)[0]["quarantine"]["evidence"][0]["text"]


@pytest.mark.accepts("B18")
def test_a_quarantine_ends_when_its_time_is_over_and_its_evidence_gone(side: NodeSide) -> None:
    fake(side).set(0, {"remapped_rows.pending": "Yes"})
    seen = side.start("train", "true", gpu_uuids=fake(side).uuids[:1], preflight={"quarantine_s": 6.0})
    assert seen["state"] == "queued", seen
    before = info(side, quarantine_s=6.0)[0]["quarantine"]
    assert before["until"] > time.time()
    time.sleep(max(0.0, before["until"] - time.time()) + 0.5)
    assert info(side, quarantine_s=6.0)[0]["quarantine"], "its evidence was still there"
    fake(side).set(0, {"remapped_rows.pending": "No"})
    assert info(side, quarantine_s=6.0)[0]["quarantine"], "its time was not over"
    assert side.wait("train", timeout_s=120)["state"] == "succeeded"
    assert info(side, quarantine_s=6.0)[0]["quarantine"] is None


@pytest.mark.accepts("B18")
def test_a_kernel_log_that_cannot_be_read_is_unknown_and_no_fault(side: NodeSide) -> None:
    assert isinstance(side.node, PlainNode)
    kernel_log(side.node, code=1)
    quiet_journal(side.node)
    fake(side).set(0, {"ecc.errors.uncorrected.volatile.total": "[N/A]"})
    gpu = info(side)[0]
    assert gpu["quarantine"] is None
    assert gpu["xids"] is None
    assert gpu["health_unknown"] == {
        "xids": "the kernel log cannot be read (dmesg: read kernel buffer failed: Operation not permitted; journalctl: "
        "No journal files were opened due to insufficient permissions.)",
        "ecc_uncorrected": "[N/A]",
    }
    (side.node.bin / "journalctl").write_text(
        '#!/bin/sh\n[ "$1 $2 $3" = "--dmesg --boot=0 --output=short-monotonic" ] || exit 64\n'
        f"cat <<'END'\n[  {time.clock_gettime(time.CLOCK_BOOTTIME):.6f}] n1 kernel: {fake(side).xid_line(1, 95)}\nEND\n"
    )
    assert [bool(gpu["quarantine"]) for gpu in info(side)] == [False, True]


@pytest.mark.accepts("B18")
def test_a_look_at_a_kernel_log_that_hangs_is_bounded(side: NodeSide) -> None:
    assert isinstance(side.node, PlainNode)
    (side.node.bin / "dmesg").write_text("#!/bin/sh\nexec sleep 600\n")
    quiet_journal(side.node)
    assert "dmesg gave no answer within 5 s" in info(side)[0]["health_unknown"]["xids"]


@pytest.mark.accepts("B18", "C52")
def test_nvml_tells_the_same(bed: Bed, tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path / "lib", find_python("3.8"))
    node = PlainNode(bed, "n1", gpus=FakeGpus.h100(1), python=nvml.python, env=nvml.env)
    node.start()
    try:
        kernel_log(node, "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.")
        nvml.show(
            [
                {"uuid": "GPU-a", "recoveries": 2},
                {"uuid": "GPU-b", "remap_pending": 1},
                {"uuid": "GPU-c", "bus": "00000000:3B:00.0"},
                {"uuid": "GPU-d", "name": "NVIDIA GB10", "remap_pending": -1, "recoveries": -1, "total": -1},
            ],
            graphics=[(3, os.getpid(), 1 << 30)],
        )
        gpus = info(NodeSide(node), busy_processes=["*python*"])
        said = [gpu["quarantine"] and [item["text"] for item in gpu["quarantine"]["evidence"]] for gpu in gpus]
        assert said == [
            ["2 NVLink recovery errors"], ["a row remap is pending: a reset has to follow"],
            ["Xid 79: it has fallen off the bus"], None,
        ]  # fmt: skip
        assert gpus[3]["nvlink_recoveries"] == 0
        assert gpus[3]["health_unknown"] == {"remap_pending": "Not Supported", "remap_failure": "Not Supported"}
        assert (gpus[0]["mem_free_mib"], gpus[3]["mem_free_mib"]) == (81554, None)
        assert [bool(gpu["busy"]) for gpu in gpus] == [False, False, False, True]
    finally:
        node.close()
