# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says of itself, by NVML and by nvidia-smi, with a driver that hangs, and in a container's limits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import Bed, FakeGpus, FakeNvml, PlainNode, find_python
from testbed.node_side import NodeSide

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """With the oldest Python that a node may have."""
    return FakeNvml(tmp_path_factory.mktemp("nvml") / "lib", find_python("3.8"))


@pytest.fixture
def nvml_node(bed: Bed, nvml: FakeNvml) -> Iterator[PlainNode]:
    """A node that has NVML, and an nvidia-smi that tells of another GPU."""
    node = PlainNode(bed, "n1", gpus=FakeGpus.h100(1), python=nvml.python, env=nvml.env)
    node.start()
    yield node
    node.close()


def info(side: NodeSide, *parts: str) -> dict[str, Any]:
    reply = side.ask("info", parts=list(parts) or None)
    assert reply["ok"], reply
    node: dict[str, Any] = reply["node"]
    return node


@pytest.mark.accepts("D02")
def test_nvml_tells_every_figure_and_whose_process_it_is(nvml_node: PlainNode, nvml: FakeNvml) -> None:
    side = NodeSide(nvml_node)
    job = side.start("train", "sleep", "600")
    mine = side.wait("train", lambda seen: seen["pid"] is not None)["pid"]
    nvml.show(
        [
            {"uuid": "GPU-a", "used": 5 << 30, "util": 97, "mem_util": 40, "temp": 71, "throttle": 0x24, "ecc": 2},
            {"uuid": "GPU-b", "lost": 1},
            {"uuid": "GPU-c", "name": "NVIDIA GB10", "total": -1, "limit_mw": -1, "ecc": -1, "ecc_all": -1},
        ],
        [(0, mine, 4 << 30), (0, os.getpid(), -1)],
    )
    told = info(side, "gpus")
    assert told["gpus_unknown"] is None
    first, lost, shared = told["gpus"]
    known = {"index": 0, "uuid": "GPU-a", "name": "NVIDIA H100 80GB HBM3", "source": "nvml", "mem_total_mib": 81559,
             "mem_used_mib": 5120, "util_pct": 97, "mem_util_pct": 40, "temp_c": 71, "power_w": 71.5,
             "power_limit_w": 700.0, "clock_sm_mhz": 345, "clock_mem_mhz": 2619, "ecc_uncorrected": 2,
             "throttle": ["software power cap", "software thermal slowdown"], "unknown": {}, "held_by": []}  # fmt: skip
    assert {key: first[key] for key in known} == known
    assert [(p["pid"], p["mem_mib"], p["job"]) for p in first["processes"]] == [
        (mine, 4096, job["job"]),
        (os.getpid(), None, None),
    ]
    assert first["processes"][1]["unknown"] == {"mem_mib": "not told by NVML"}
    assert (lost["index"], lost["uuid"], lost["util_pct"], lost["unknown"]["util_pct"]) == (
        1,
        None,
        None,
        "GPU is lost",
    )
    assert (shared["mem_total_mib"], shared["unknown"]["mem_total_mib"]) == (None, "Not Supported")
    assert shared["unified_memory"]["total_mib"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    side.stop("train")


@pytest.mark.parametrize(
    ("node_mode", "source", "reason"),
    [("no_driver", "nvidia-smi", "NVML does not start: Driver Not Loaded"), ("ok", "nvml", None)],
)
def test_without_a_driver_for_nvml_the_tool_is_asked(
    nvml_node: PlainNode, nvml: FakeNvml, node_mode: str, source: str, reason: str | None
) -> None:
    nvml.show([{"uuid": "GPU-a"}], mode=node_mode)
    (gpu,) = info(NodeSide(nvml_node), "gpus")["gpus"]
    assert (gpu["source"], gpu["not_by_nvml"]) == (source, reason)


@pytest.mark.parametrize("library", [True, False], ids=["nvml", "nvidia-smi"])
def test_a_driver_that_hangs_costs_ten_seconds_and_no_other_part(
    nvml_node: PlainNode, nvml: FakeNvml, gpu_node: PlainNode, library: bool
) -> None:
    nvml.show(mode="hang")
    assert gpu_node.gpus is not None
    gpu_node.gpus.mode("hang")
    node = nvml_node if library else gpu_node
    began = time.monotonic()
    told = info(NodeSide(node))
    assert time.monotonic() - began < 240
    assert told["gpus"] is None
    assert told["gpus_unknown"].endswith("gave no answer within 10 s")
    assert told["memory"]["total"] > 2**30
    assert told["cpu"]["count"] == os.cpu_count()
    left = [item for item in node.processes() if "hang" in str(item) or "nvidia-smi" in str(item)]
    assert left == [], "the tool that hung is still there"


@pytest.mark.accepts("D02")
def test_a_field_that_this_driver_does_not_know_costs_only_itself(gpu_node: PlainNode) -> None:
    side = NodeSide(gpu_node)
    source = Path(side.folder) / "stoker_node" / "gpu_info.py"
    text = source.read_text()
    assert "ecc.errors.uncorrected.aggregate.total" in text
    source.write_text(text.replace("ecc.errors.uncorrected.aggregate.total", "ecc.errors.of.tomorrow"))
    gpus = info(side, "gpus")["gpus"]
    assert [gpu["ecc_uncorrected"] for gpu in gpus] == [0, 0]
    assert [gpu["ecc_uncorrected_total"] for gpu in gpus] == [None, None]
    assert gpus[0]["unknown"] == {"ecc_uncorrected_total": "this nvidia-smi has no field ecc.errors.of.tomorrow"}


def test_a_process_name_may_hold_commas(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    gpu_node.gpus.add_process(1, os.getpid(), 512, "python, a, b")
    first, second = info(NodeSide(gpu_node), "gpus")["gpus"]
    assert first["processes"] == []
    assert [(p["name"], p["mem_mib"], p["job"]) for p in second["processes"]] == [("python, a, b", 512, None)]


def test_a_job_of_another_state_folder_is_known_by_its_environment(gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    other = NodeSide(gpu_node, state_dir=f"{gpu_node.folder}/other")
    other.start("theirs", "sleep", "600")
    pid = other.wait("theirs", lambda seen: seen["pid"] is not None)["pid"]
    gpu_node.gpus.add_process(0, pid, 512)
    (process,) = info(NodeSide(gpu_node), "gpus")["gpus"][0]["processes"]
    assert process["job"] == "theirs"
    other.stop("theirs")


def test_what_cannot_be_read_is_unknown_with_its_reason(node: PlainNode) -> None:
    empty = node.folder / "proc"
    empty.mkdir()
    told = NodeSide(node).ask("info", proc_dir=str(empty), parts=["cpu", "memory", "network", "disks"])["node"]
    assert (told["cpu"], told["memory"], told["network"], told["uptime_s"]) == (None, None, None, None)
    assert told["memory_unknown"] == f"{empty}/meminfo: No such file or directory"
    assert told["cpu_unknown"] == f"{empty}/stat: No such file or directory"
    assert told["disks_unknown"] is None
    (empty / "meminfo").write_text("MemTotal: lots kB\n")
    told = NodeSide(node).ask("info", proc_dir=str(empty), parts=["memory"])["node"]
    assert told["memory"] is None
    assert "not understood" in told["memory_unknown"]


@pytest.mark.root
@pytest.mark.accepts("C04")
def test_a_memory_limit_around_the_node_is_told() -> None:
    group = Path("/sys/fs/cgroup/memory") / f"stoker-test-{os.getpid()}"
    if not group.parent.is_dir():
        pytest.skip("no memory controller of version 1 is mounted")
    group.mkdir()
    script = (
        f"open('{group}/cgroup.procs', 'w').write('0')\n"
        "from ansible_collections.stoker.fleet.plugins.module_utils import cgroups\n"
        "print(cgroups.memory_limit(1 << 62))"
    )
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 << 20))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
        limit = eval(done.stdout, {})  # printed by ourselves
        assert (limit["bytes"], limit["group"]) == (256 << 20, f"/{group.name}"), done.stderr
        assert 0 < limit["used"] < 256 << 20
    finally:
        group.rmdir()


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ("proc /proc proc rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n", []),
        ("overlay / overlay rw 0 0\noverlay /var/lib/docker/x overlay rw 0 0\n", [("overlay", "/", "overlay")]),
        ("/dev/vda /run/netns ext4 rw 0 0\n/dev/vda / ext4 rw 0 0\n", [("/dev/vda", "/", "ext4")]),
        ("srv:/data /mnt/my\\040data nfs4 rw 0 0\n", [("srv:/data", "/mnt/my data", "nfs4")]),
        ("/dev/loop3 /snap/core squashfs ro 0 0\ntank/a /tank zfs rw 0 0\n", [("tank/a", "/tank", "zfs")]),
    ],
)
def test_only_mounts_that_hold_files_are_disks(tmp_path: Path, mounts: str, found: list[Any]) -> None:
    from ansible_collections.stoker.fleet.plugins.module_utils import disks

    (tmp_path / "mounts").write_text(mounts)
    assert disks.real_mounts(str(tmp_path / "mounts")) == found


@pytest.mark.parametrize(
    ("bits", "words"),
    [("0x0", []), ("0x1", ["idle"]), ("0xa0", ["software thermal slowdown", "hardware power brake"]),
     ("0x1000", ["reason 0x1000"]), ("[N/A]", None), (None, None)],
)  # fmt: skip
def test_throttle_reasons_in_words(bits: str | None, words: list[str] | None) -> None:
    from ansible_collections.stoker.fleet.plugins.module_utils import gpu_info

    unknown: dict[str, str] = {}
    assert gpu_info.throttle_words(bits, unknown) == words
    assert unknown == ({} if words is not None else {"throttle": bits or "not told"})


def test_a_disk_that_does_not_answer_and_one_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.stoker.fleet.plugins.module_utils import disks

    def statvfs(point: str) -> os.statvfs_result:
        if point == "/gone":
            time.sleep(30)
        return os.statvfs_result((4096, 4096, 1000, 100, 95 if point == "/full" else 500, 0, 0, 0, 0, 255))

    listed: Callable[[], list[tuple[str, str, str]]] = lambda: [  # noqa: E731
        ("srv:/x", "/gone", "nfs"), ("/dev/a", "/full", "ext4"), ("/dev/b", "/roomy", "ext4")]  # fmt: skip
    monkeypatch.setattr(disks, "real_mounts", listed)
    monkeypatch.setattr(disks.os, "statvfs", statvfs)
    gone, full, roomy = disks.read()
    assert (gone["total"], gone["warn"], gone["unknown"]) == (None, None, "no answer within 2 s")
    assert (full["total"], full["free"], full["used_pct"], full["warn"]) == (4096000, 95 * 4096, 90.5, True)
    assert roomy["warn"] is False
