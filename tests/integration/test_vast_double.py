# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of the provider with real machines, and as the provider's own client finds it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.vast import Boot, Double, vast_double
from testbed import Bed, PlainNode
from testbed.programs import programs_of

VASTAI = Path(__file__).parents[1] / "contracts/vast/vastai.txt"
Vastai = Callable[..., Any]


@pytest.fixture
def double(nodes: Callable[..., list[PlainNode]]) -> Iterator[Double]:
    with vast_double(machines=nodes(2)) as made:
        made.boot = Boot(0, 0, 10)
        yield made


@pytest.fixture
def vastai(double: Double, tmp_path: Path) -> Vastai:
    """`vastai("show", "instance", 7)`: what the official command line makes of the double's answer."""
    python = programs_of("vastai", VASTAI, "vast.ai's client")
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    environment = {**double.environment, **homes, "PATH": "/usr/bin:/bin"}

    def run(*words: object) -> Any:
        command = [str(python.with_name("vastai")), *map(str, words), "--raw"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr or done.stdout
        # Some of its commands say plain words whatever is asked for.
        return json.loads(done.stdout) if done.stdout[:1] in ("[", "{") else done.stdout.strip()

    return run


def public_key(bed: Bed) -> str:
    return Path(f"{bed.key}.pub").read_text().strip()


def machine_of(double: Double, number: int) -> PlainNode:
    machine = double.provider.known(number).machine
    assert machine is not None
    return machine.node


def test_the_official_client_rents_stops_starts_and_destroys(double: Double, vastai: Vastai, bed: Bed) -> None:
    vastai("create", "ssh-key", public_key(bed))
    assert [key["public_key"] for key in vastai("show", "ssh-keys")] == [public_key(bed)]
    offers = vastai("search", "offers", "gpu_name=RTX_4090 num_gpus=1 gpu_ram>=20", "-o", "dph", "--storage", 20)
    assert len(offers) == 2
    assert offers[0]["dph_total"] == pytest.approx(0.36 + 0.144 * 20 / 720)
    made = vastai(
        "create", "instance", offers[0]["id"], "--image", "a/b", "--disk", 20, "--label", "x", "--ssh", "--direct"
    )
    number = made["new_contract"]
    double.advance(10)
    [row] = vastai("show", "instances")
    assert (row["id"], row["label"], row["actual_status"]) == (number, "x", "running")
    node = machine_of(double, number)
    assert node.ssh("echo hello").stdout == "hello\n"
    assert str(node.port) in vastai("ssh-url", number)

    vastai("stop", "instance", number)
    assert vastai("show", "instance", number)["cur_state"] == "stopped"
    assert not node.greets()
    vastai("start", "instance", number)
    double.advance(10)
    assert vastai("show", "instance", number)["actual_status"] == "running"
    assert node.ssh("true").returncode == 0

    vastai("destroy", "instance", number, "-y")
    assert (vastai("show", "instances"), list(double.ended)) == ([], [number])
