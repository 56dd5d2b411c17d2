# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who wishes no good, or no luck: interrupted, killed, searched for secrets, fed with hostile text."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]


def alive(marker: str) -> bool:
    """Whether a process runs that has `marker` for one of its arguments."""
    return any(marker.encode() in line.split(b"\0") for line in command_lines())


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def test_an_interrupted_exec_leaves_nothing_on_the_node(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    waiting = cli.start("exec", "n1", "--", "sleep", "600.125")
    until(lambda: alive("600.125"), "the command")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == 130
    until(lambda: not alive("600.125"), "the end of the command")


def test_exec_keeps_to_its_time_also_when_the_streams_are_closed(stoker: Stoker, node: PlainNode) -> None:
    said = stoker(node)("exec", "n1", "--timeout", "1s", "--", "sh", "-c", "exec >&- 2>&-; sleep 600.25", timeout_s=30)
    assert said.code == 137
    assert "--timeout" in said.err
    assert not alive("600.25")
