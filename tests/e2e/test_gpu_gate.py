# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign use, busy processes and bad GPUs, as somebody at the command line sees them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli import Cli, until
from plays import Plays
from testbed import PlainNode

Stoker = Callable[..., Cli]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is nobody's here."""
    process = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def occupy(node: PlainNode, pid: int, name: str = "blender", **fields: object) -> None:
    assert node.gpus is not None
    for index in (0, 1):
        node.gpus.add_process(index, pid, 60000, name)
        node.gpus.set(index, fields)


@pytest.mark.accepts("D26")
def test_a_run_warns_of_foreign_use_and_strict_refuses(
    stoker: Stoker, gpu_node: PlainNode, stranger: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    occupy(gpu_node, stranger.pid, **{"utilization.gpu": 97})
    cli = stoker(gpu_node)
    load = f"GPU 0: load 97% by blender (process {stranger.pid}, 58.6 GB)"
    ran = cli("run", "--gpus", "1", "--gpu-memory", "30G", "--", "sleep", "600")
    assert ran.code == 0, ran
    assert f"  warning: {load}" in ran.out.splitlines()
    assert "  warning: GPU 0: 20.5 GB of memory free, 30.0 GB asked for" in ran.out.splitlines()
    job = ran.out.split()[0]
    assert f"warning   {load}" in cli("job", job).out
    assert load in cli.job(job)["preflight"]
    cli("stop", "--grace", "1", job)
    refused = cli("run", "--gpus", "1", "--strict", "--", "touch", str(tmp_path / "ran"))
    assert refused.code == 1, refused
    assert "failed (start)" in refused.out
    assert f"its GPUs are not quiet, and it is strict: {load}" in refused.out
    assert "run it without --strict" in refused.out
    assert not (tmp_path / "ran").exists()
    for words in (("--strict",), ("--gpu-memory", "1G")):
        odd = cli("run", *words, "--", "true")
        assert (odd.code, "the job asks for none (next: --gpus 1)" in odd.err) == (2, True), odd


@pytest.mark.accepts("C52")
def test_the_list_of_busy_processes_is_a_setting_and_a_host_variable(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]], stranger: subprocess.Popen[bytes]
) -> None:
    """By the setting a desktop keeps a GPU busy; by its own variable another node does not care."""
    first, second = [*nodes(1, gpus=2), *nodes(1, gpus=2, host_vars={"stoker_busy_processes": []})]
    for node in (first, second):
        occupy(node, stranger.pid, "/usr/lib/xorg/Xorg")
    cli = stoker(first, second)
    (cli.folder / "stoker.yml").write_text("preflight: {busy_processes: [Xorg], cooldown_s: 2}\n")
    job = cli.run("true", options=("--on", "n1", "--gpus", "1"))
    waits = cli("job", job, "--live").out
    assert "waiting for a GPU" in waits
    assert "GPU 0 is used by /usr/lib/xorg/Xorg (now); it is free 2 s after that was last seen" in waits
    shown = cli("gpus").out
    assert "n1 GPU 1  busy with /usr/lib/xorg/Xorg: no job gets it now" in shown
    assert "n2 GPU 1  busy" not in shown
    other = cli.run("true", options=("--on", "n2", "--gpus", "1"))
    until(lambda: cli("jobs", "--live") and cli.job(other)["state"] == "succeeded", "it runs beside the desktop")
    stranger.kill()
    stranger.wait()
    until(lambda: cli("jobs", "--live") and cli.job(job)["state"] == "succeeded", "the cool-down is over")


@pytest.mark.accepts("B18")
def test_a_bad_gpu_is_shown_explained_and_released(stoker: Stoker, gpu_node: PlainNode) -> None:
    assert gpu_node.gpus is not None
    at = time.clock_gettime(time.CLOCK_BOOTTIME) - 60
    (gpu_node.folder / "log").write_text(f"[{at:.6f}] {gpu_node.gpus.xid_line(1, 79)}\n")
    (gpu_node.bin / "dmesg").write_text(f"#!/bin/sh\nexec cat {gpu_node.folder}/log\n")
    (gpu_node.bin / "dmesg").chmod(0o755)
    cli = stoker(gpu_node)
    shown = cli("gpus")
    assert shown.code == 0, shown
    (line,) = [line for line in shown.out.splitlines() if "quarantined until" in line]
    assert line.startswith("  n1 GPU 1  quarantined until 20")
    assert line.endswith(": Xid 79: it has fallen off the bus")
    assert cli("gpus", "--json").json()["gpus"][1]["quarantine"]["evidence"] == ["Xid 79: it has fallen off the bus"]
    job = cli.run("true", options=("--gpus", "2"))
    assert "GPU 1 is quarantined until 20" in cli("job", job, "--live").out
    missing = cli("gpu", "release", "n1", "5")
    assert (missing.code, "there is no GPU 5 here (known: 0, 1)" in missing.err) == (1, True)
    assert "may be used again; it was quarantined for Xid 79" in cli("gpu", "release", "n1", "1").out
    assert "is not quarantined: nothing changed" in cli("gpu", "release", "n1", "1").out
    until(lambda: cli("jobs", "--live") and cli.job(job)["state"] == "succeeded", "it gets both GPUs")
    (cli.folder / "stoker.yml").write_text("preflight: {busy_processes: [3]}\n")
    wrong = cli("gpus")
    assert (wrong.code, "stoker.yml:1: preflight.busy_processes[0]: 3 is not a text" in wrong.err) == (2, True), wrong


@pytest.mark.accepts("D26")
def test_a_playbook_may_be_strict_too(
    gpu_node: PlainNode, inventory: Callable[..., Path], tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    occupy(gpu_node, stranger.pid)
    plays = Plays(tmp_path, inventory([gpu_node], groups={"fleet": ["n1"]}))
    task = "- stoker.fleet.job: {{ id: {0}, argv: ['true'], gpus: 1, strict: {1} }}\n  register: now"
    lenient, strict = (plays.run(task.format(*words)) for words in (("lenient", "false"), ("strict", "true")))
    told = lenient.results["n1"]["now"]["job"]
    assert [item["kind"] for item in told["preflight"]] == ["process"], told
    told = strict.results["n1"]["now"]["job"]
    assert (told["state"], told["reason"]) == ("failed", "start")
    assert f"in use by blender (process {stranger.pid}" in told["evidence"]
    assert os.path.exists(f"/proc/{stranger.pid}")
