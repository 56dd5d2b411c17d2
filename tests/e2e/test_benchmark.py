# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a real ssh node is, measured, kept, and shown beside what was measured before."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli
from plays import Plays
from testbed import PlainNode

# A torch as far as the benchmark uses it, with two GPUs: the second has no memory left.
TORCH = """
import time
__version__ = "2.9.1"
float16, bfloat16 = "torch.float16", "torch.bfloat16"
def randn(rows, columns, device, dtype):
    assert (rows, columns, dtype) == (8192, 8192, bfloat16)
    if device == "cuda:1":
        raise RuntimeError("CUDA out of memory. Tried to allocate 128.00 MiB")
    return device
def matmul(a, b):
    time.sleep(0.02)
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    get_device_name = staticmethod(lambda index: "NVIDIA H100 80GB HBM3")
    get_device_capability = staticmethod(lambda index: (9, 0))
    synchronize = staticmethod(lambda index: None)
"""


def measured(cli: Cli, *options: str) -> dict[str, Any]:
    said = cli("benchmark", "n1", "--json", *options)
    assert said.code == 0, said
    answer: dict[str, Any] = said.json()["nodes"][0]
    return answer


def figure(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(measure for measure in answer["measures"] if measure["name"] == name)


@pytest.mark.slow
@pytest.mark.accepts("C05")
def test_a_node_is_measured_and_the_next_time_shows_it_again(stoker: Callable[..., Cli], node: PlainNode) -> None:
    cli = stoker(node)
    assert cli("benchmark", "n1", "--stored").out == "nothing was measured yet\n"
    first = measured(cli)
    assert figure(first, "cpu")["value"] > 0
    assert figure(first, "memory")["value"] > 0
    assert figure(first, "cpu")["kernel"]
    assert figure(first, "gpu")["value"] is None
    assert figure(first, "gpu")["unknown"].startswith("no torch in the Python that measured")
    second = measured(cli)
    new, before = figure(second, "cpu"), figure(first, "cpu")
    assert new["earlier"][0]["value"] == before["value"]
    assert new["change_pct"] == round((new["value"] / before["value"] - 1) * 100, 2)
    # How near two figures come is the machine's doing: what is promised is that a figure to be doubted says so.
    assert all(m["steady"] == (m["spread_pct"] <= 10) for m in second["measures"] if m["value"] is not None)
    stored = measured(cli, "--stored")
    assert figure(stored, "cpu")["value"] == new["value"]
    assert len(figure(stored, "cpu")["earlier"]) == 1
    shown = cli("benchmark", "n1", "--stored").out
    assert "GFLOPS" in shown
    assert shown.count("unsteady") == sum(m["steady"] is False for m in second["measures"])


@pytest.mark.accepts("C05")
def test_gpus_are_measured_by_torch(stoker: Callable[..., Cli], node: PlainNode, tmp_path: Path) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "torch.py").write_text(TORCH)
    python = tmp_path / "python-with-torch"
    program = f"import runpy, sys; sys.path.insert(0, {str(place)!r}); runpy.run_path(sys.argv[2], run_name='__main__')"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(node.python)} -c {shlex.quote(program)} "$@"\n')
    python.chmod(0o755)
    said = stoker(node)("benchmark", "n1", "--python", str(python), "--json")
    assert said.code == 0, said
    first, second = [m for m in said.json()["nodes"][0]["measures"] if m["name"] == "gpu"]
    assert first["device"] == "GPU 0 NVIDIA H100 80GB HBM3"
    assert first["kernel"] == "torch 2.9.1 matmul, bfloat16, 8192x8192"
    # Its matmul sleeps 20 ms, whatever it is asked for.
    assert 1 < first["value"] <= 2 * 8192**3 / 1e12 / 0.02
    assert (second["value"], second["unknown"]) == (None, "CUDA out of memory. Tried to allocate 128.00 MiB")


def test_jobs_on_the_node_are_named_and_what_is_wrong_is_said(stoker: Callable[..., Cli], node: PlainNode) -> None:
    cli = stoker(node)
    job = cli.run("sleep", "600")
    said = cli("benchmark", "n1")
    assert f"n1: jobs were on it meanwhile, the figures may be low: {job}" in said.err
    assert "measuring n1" in said.err
    cli("stop", job)
    said = cli("benchmark", "n1", "--python", "/bin/false")
    assert (said.code, "the benchmark by /bin/false ended with 1" in said.err) == (1, True)
    said = cli("benchmark", "n1", "--project", "absent")
    assert (said.code, "there is no folder" in said.err) == (1, True)
    assert cli("benchmark", "n1", "--project", "a", "--python", "b").code == 2


def test_from_a_playbook(node: PlainNode, tmp_path: Path, inventory: Callable[..., Path]) -> None:
    plays = Plays(tmp_path, inventory([node], groups={"fleet": ["n1"]}))
    told = plays.run("- stoker.fleet.benchmark:\n  register: speed\n").results["n1"]["speed"]
    assert told["changed"] is False
    assert [m["name"] for m in told["benchmark"]["measures"]] == ["cpu", "memory", "gpu"]
    assert all(len(m["values"]) == 3 for m in told["benchmark"]["measures"][:2])
