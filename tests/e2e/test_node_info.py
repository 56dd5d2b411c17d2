# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines do now, of many nodes at once, some of them broken: `node_info`, `stoker gpus`, `stoker status`."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import Cli
from plays import Plays
from testbed import Bed, FakeGpus, PlainNode, start_all

Stoker = Callable[..., Cli]
MIB = 1 << 20
# What `podman ps --all --format json` and `docker ps --all --format '{{json .}}'` print.
PODMAN = [
    {"AutoRemove": False, "Command": ["serve"], "Created": 1763790000, "CreatedAt": "2 hours ago", "Exited": False,
     "ExitCode": 0, "Id": "4f1c8d", "Image": "docker.io/vllm/vllm-openai:v0.9", "IsInfra": False, "Labels": None,
     "Names": ["vllm"], "Pid": 4242, "Ports": None, "State": "running", "Status": "Up 2 hours"},
    {"Id": "77ab01", "Image": "localhost/train:1", "Names": ["old"], "State": "exited",
     "Status": "Exited (1) 3 days ago"},
]  # fmt: skip
DOCKER = '{"ID":"9e0d","Names":"ollama","Image":"ollama/ollama","State":"running","Status":"Up 2 days","Ports":""}\n'


def engine(node: PlainNode, name: str, said: str, code: int = 0) -> None:
    """A container engine that knows one command line, and refuses every other."""
    wanted = "ps --all --no-trunc --format " + ("json" if name == "podman" else "{{json .}}")
    (node.folder / f"{name}.said").write_text(said)
    script = f'[ "$*" = "{wanted}" ] || {{ echo "Error: unknown: $*" >&2; exit 125; }}\n'
    script += f"cat {node.folder}/{name}.said{' >&2' if code else ''}; exit {code}\n"
    (node.bin / name).write_text("#!/bin/sh\n" + script)
    (node.bin / name).chmod(0o755)


def proc(node: PlainNode, number: int) -> dict[str, Any]:
    """A /proc of the node's own; returns what has to be read from it."""
    folder = Path(node.host_vars["stoker_proc_dir"])
    (folder / "1/net").mkdir(parents=True)
    total, available, busy = (16 + number) << 20, (8 + number) << 20, 1000 + 50 * number
    (folder / "meminfo").write_text(
        f"MemTotal: {total} kB\nMemFree: 9 kB\nMemAvailable: {available} kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n"
    )
    ticks = f"{busy - 300} 100 100 {9000 - busy} 1000 50 30 20 7 0"
    (folder / "stat").write_text(f"cpu  {ticks}\n" + "".join(f"cpu{n} {ticks}\n" for n in range(number)) + "btime 1\n")
    (folder / "loadavg").write_text(f"{number}.25 1.50 0.75 2/345 6789\n")
    (folder / "uptime").write_text(f"{1000 + number}.50 99.00\n")
    (folder / "1/net/dev").write_text(
        "Inter-|   Receive |  Transmit\n face |bytes packets errs | bytes\n"
        f"    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0:{7000 + number} 9 3 0 0 0 0 0 {8000 + number} 9 4 0 0 0 0 0\n"
    )
    return {
        "cpu": {"count": number, "usable": len(os.sched_getaffinity(0)), "load": [number + 0.25, 1.5, 0.75],
                "used_pct": round(busy / 100, 1), "window_s": None},
        "memory": {"total": total << 10, "available": available << 10, "used": 8 << 30, "swap_total": 2 * MIB,
                   "swap_used": MIB, "used_pct": round(100 * 8 / (16 + number), 1)},
        "network": [{"name": "lo", "rx_bytes": 5, "rx_errors": 0, "tx_bytes": 5, "tx_errors": 0},
                    {"name": "eth0", "rx_bytes": 7000 + number, "rx_errors": 3, "tx_bytes": 8000 + number,
                     "tx_errors": 4}],
        "uptime_s": 1000.5 + number,
    }  # fmt: skip


@pytest.fixture
def ten(bed: Bed, tmp_path: Path) -> Iterator[list[PlainNode]]:
    """n1 has eight H100, n2 a GB10, n3 a dead driver, n4 none at all, the others one H100 each."""
    kinds = {1: FakeGpus.h100(8), 2: FakeGpus.gb10(), 3: FakeGpus.h100(1), 4: None}
    made = [
        PlainNode(
            bed,
            f"n{number}",
            gpus=kinds[number] if number in kinds else FakeGpus.h100(1),
            host_vars={"stoker_proc_dir": str(tmp_path / f"proc{number}")},
        )
        for number in range(1, 11)
    ]
    start_all(made)
    yield made
    for node in made:
        node.close()


@pytest.mark.accepts("C04", "D02")
def test_ten_nodes_are_read_in_one_play(ten: list[PlainNode], inventory: Callable[..., Path], tmp_path: Path) -> None:
    expected = {node.name: proc(node, number) for number, node in enumerate(ten, 1)}
    for number, node in enumerate(ten, 1):
        if node.gpus:
            node.gpus.set(
                0,
                {
                    "utilization.gpu": 10 + number,
                    "temperature.gpu": 40 + number,
                    "power.draw": 100.5 + number,
                    "clocks.current.sm": 1000 + number,
                    "clocks_throttle_reasons.active": "0x0000000000000044",
                    "ecc.errors.uncorrected.volatile.total": number if number != 2 else "[N/A]",
                },
            )
    assert ten[2].gpus is not None
    ten[2].gpus.mode("no_driver")
    assert ten[4].gpus is not None
    ten[4].gpus.set(0, {"temperature.gpu": "[Not Supported]"})
    plays = Plays(tmp_path, inventory(ten, groups={"fleet": [node.name for node in ten]}))
    played = plays.run("- stoker.fleet.node_info:\n  register: now", "--forks", "10")
    assert played.code == 0, played.output
    assert [node.authentications() for node in ten] == [1] * 10
    told = {name: result["now"]["node"] for name, result in played.results.items()}
    root = os.statvfs("/")
    for number, node in enumerate(ten, 1):
        seen, known = told[node.name], expected[node.name]
        assert {key: seen[key] for key in ("cpu", "network", "uptime_s")} == {
            key: known[key] for key in ("cpu", "network", "uptime_s")
        }
        assert {key: seen["memory"][key] for key in known["memory"]} == known["memory"]
        (disk,) = [item for item in seen["disks"] if item["mount"] == "/"]
        assert (disk["total"], disk["unknown"]) == (root.f_blocks * root.f_frsize, None)
        assert abs(disk["free"] - root.f_bavail * root.f_frsize) < 2**30
        if number not in (3, 4):
            gpu = seen["gpus"][0]
            figures = [gpu[key] for key in ("util_pct", "power_w", "clock_sm_mhz", "throttle", "source")]
            words = ["software power cap", "hardware thermal slowdown"]
            assert figures == [10 + number, 100.5 + number, 1000 + number, words, "nvidia-smi"]
            assert node.gpus is not None
            assert [item["uuid"] for item in seen["gpus"]] == node.gpus.uuids
    assert [len(told["n1"]["gpus"]), told["n1"]["gpus"][7]["mem_total_mib"]] == [8, 81559]
    shared = told["n2"]["gpus"][0]
    assert (shared["mem_total_mib"], shared["mem_used_mib"], shared["ecc_uncorrected"]) == (None, None, None)
    unknown = {
        key: shared["unknown"][key] for key in ("mem_total_mib", "mem_used_mib", "ecc_uncorrected", "power_limit_w")
    }
    assert set(unknown.values()) == {"[N/A]"}
    assert shared["unified_memory"] == {
        "total_mib": 18 << 10, "used_mib": 8 << 10, "available_mib": 10 << 10, "source": "/proc/meminfo"}  # fmt: skip
    assert told["n3"]["gpus"] is None
    assert "couldn't communicate with the NVIDIA driver" in told["n3"]["gpus_unknown"]
    assert (told["n4"]["gpus"], told["n4"]["gpus_unknown"]) == (None, "there is no nvidia-smi on this node")
    assert told["n5"]["gpus"][0]["temp_c"] is None
    assert told["n5"]["gpus"][0]["unknown"]["temp_c"] == "[Not Supported]"
    assert [told[f"n{n}"]["gpus"][0]["temp_c"] for n in (1, 2, 6, 10)] == [41, 42, 46, 50]


@pytest.mark.accepts("D02")
def test_gpus_lists_one_record_per_gpu_of_all_nodes(stoker: Stoker, bed: Bed) -> None:
    kinds = {"h100": FakeGpus.h100(8), "spark": FakeGpus.gb10(), "stuck": FakeGpus.h100(1), "off": None}
    some = {name: PlainNode(bed, name, gpus=gpus) for name, gpus in kinds.items()}
    start_all(list(some.values()))
    cli = stoker(*some.values())
    try:
        h100, stuck = some["h100"].gpus, some["stuck"].gpus
        assert h100 is not None
        assert stuck is not None
        job = cli.run("sleep", "600", options=("--on", "h100", "--gpus", "1"))
        h100.set(7, {"utilization.gpu": 93, "temperature.gpu": 88, "clocks_throttle_reasons.active": "0x40"})
        h100.add_process(7, os.getpid(), 2048, "game")
        stuck.mode("hang")
        some["off"].down()
        said = cli("gpus", "--json")
        assert said.code == 1, said
        value = said.json()
        gpus = value["gpus"]
        assert [(gpu["node"], gpu["index"]) for gpu in gpus] == [*(("h100", n) for n in range(8)), ("spark", 0)]
        assert [gpu["uuid"] for gpu in gpus[:8]] == h100.uuids
        assert (gpus[0]["held_by"], gpus[0]["jobs"], gpus[1]["jobs"]) == (job, [job], [])
        last, shared = gpus[7], gpus[8]
        assert (last["memory_total"], last["memory_used"]) == (81559 * MIB, 2052 * MIB)
        assert (last["utilisation"], last["temperature"]) == (93, 88)
        assert last["processes"] == [{"pid": os.getpid(), "name": "game", "memory": 2048 * MIB, "job": None}]
        assert (shared["memory_total"], shared["memory_used"], shared["unified"]) == (None, None, True)
        assert shared["unknown"]["mem_total_mib"] == shared["unknown"]["mem_used_mib"] == "[N/A]"
        assert shared["unified_total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB * MIB
        assert list(value["unknown"]) == ["stuck", "off"]
        assert value["unknown"]["off"] == "it cannot be reached"
        assert value["unknown"]["stuck"].endswith("gave no answer within 10 s")
        assert [(problem["node"], problem["kind"]) for problem in value["problems"]] == [("off", "unreachable")]
        shown = cli("gpus", "--stored")
        assert (shown.code, len([line for line in shown.out.splitlines() if "H100" in line])) == (0, 8)
        assert "h100 GPU 7  slowed down: hardware thermal slowdown" in shown.out
        assert "game  2.0 GB  not a job of Stoker's here" in shown.out
        assert "(unified)" in shown.out
        assert job in shown.out
        cli("stop", "--grace", "1", job)
    finally:
        for node in some.values():
            node.close()


class Silent:
    """A machine that takes connections and never says a word."""

    name = "mute"

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))

    def inventory_entry(self) -> dict[str, Any]:
        port = self.socket.getsockname()[1]
        return {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_common_args": "-F none"}


@pytest.mark.accepts("D01")
def test_status_shows_gpus_and_containers_beside_a_node_that_is_down(stoker: Stoker, gpu_node: PlainNode) -> None:
    mute = Silent()
    cli = stoker(gpu_node, mute)
    (cli.folder / "stoker.yml").write_text("connect_timeout_s: 2\n")
    engine(gpu_node, "podman", json.dumps(PODMAN))
    engine(gpu_node, "docker", DOCKER)
    # ssh itself would wait for a greeting as long as the machine keeps it open.
    said = cli("status", timeout_s=45)
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["n1", "reachable"], ["mute", "unreachable"]]
    assert sum("NVIDIA H100 80GB HBM3  memory 0.0 GB of 80 GB" in line for line in lines) == 2, said.out
    assert any(line.startswith("  n1  cpu ") and " load " in line and " memory " in line for line in lines)
    assert "  n1  container  vllm  running  docker.io/vllm/vllm-openai:v0.9  Up 2 hours" in lines
    assert "  n1  container  old  exited  localhost/train:1  Exited (1) 3 days ago" in lines
    assert "  n1  container  ollama  running  ollama/ollama  Up 2 days" in lines
    assert "mute" in said.err
    engine(gpu_node, "docker", "Cannot connect to the Docker daemon\n", code=1)
    strict = cli("status", "--strict", "--json", timeout_s=45)
    assert strict.code == 4
    first, second = strict.json()["nodes"]
    assert [item["name"] for item in first["containers"]] == ["vllm", "old"]
    assert first["containers_unknown"] == "docker ps ended with 1: Cannot connect to the Docker daemon"
    assert (second["reachable"], second["containers"], second["gpus"]) == (False, None, None)
    mute.socket.close()
    assert cli("status", "n1", "--strict").code == 0


@pytest.mark.accepts("D01")
def test_where_no_engine_answers_the_containers_are_unknown(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for name in ("podman", "docker"):
        engine(node, name, "permission denied\n", code=1)
    (shown,) = cli("status", "--json").json()["nodes"]
    assert shown["containers"] is None
    assert (
        shown["containers_unknown"]
        == "podman ps ended with 1: permission denied; docker ps ended with 1: permission denied"
    )
    engine(node, "podman", "[]")
    assert cli("status", "--json").json()["nodes"][0]["containers"] == []
