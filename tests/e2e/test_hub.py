# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker data fetch`: a node fetches from the hub, and the token is nowhere to be seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli import Cli, until
from contracts.hub import COMMIT, Hub, serving
from testbed import PlainNode

Stoker = Callable[..., Cli]
TOKEN = "hf_" + "Q7w9Zk2" * 4


def command_lines() -> Iterator[bytes]:
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                yield (folder / "cmdline").read_bytes()
        except OSError:
            continue


@pytest.mark.accepts("V05")
def test_a_node_fetches_a_model_and_the_token_is_nowhere(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    cli = stoker(node)
    cli.cold = True  # command lines are looked at
    with serving(Hub("org/Tiny-1.5", {"config.json": b"{}", "model.bin": b"w" * 5000}, token=TOKEN), held=True) as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
        said = cli("data", "fetch", "hf:org/Tiny-1.5", "--on", "n1", "--json", env=env)
        assert said.code == 0, said
        job = said.json()["job"]["id"]
        until(lambda: len(hub.asked) > 1, "a file is asked for", 180)
        assert not [line for line in command_lines() if TOKEN.encode() in line]
        hub.gate.set()
        assert cli("wait", job).code == 0
        log = cli("logs", job).out
        place = node.home / ".cache/stoker/hub/models--org--Tiny-1.5" / COMMIT
        assert log.splitlines()[-1] == f"ready: {place}"
        assert (place / "model.bin").read_bytes() == b"w" * 5000
        assert hub.faults == []
    kept = [cli.folder, Path(os.environ["STOKER_STATE_HOME"]), node.home]
    holding = [
        path for folder in kept for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    assert (holding, TOKEN in log, TOKEN in said.out + said.err) == ([], False, False)
    wrong = cli("data", "fetch", "org/Tiny", "--on", "n1")
    assert (wrong.code, "hf:ORG/NAME" in wrong.err) == (2, True), wrong
