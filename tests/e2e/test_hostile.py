# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who wishes no good, or no luck: interrupted, killed, searched for secrets, fed with hostile text."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]


def alive(seconds: str) -> bool:
    """Whether a ``sleep`` of so long runs."""
    return f"sleep\0{seconds}\0".encode() in command_lines()


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


def test_the_value_of_a_secret_is_in_no_file_command_line_or_answer(
    stoker: Stoker, node: PlainNode, tmp_path: Path
) -> None:
    cli = stoker(node)
    value = "Zq9sEcReTvAlUe77"
    temporary, state = tmp_path / "tmp", tmp_path / "state"
    temporary.mkdir()
    env = {"MY_TOKEN": value, "TMPDIR": str(temporary), "STOKER_STATE_HOME": str(state)}
    over, found = threading.Event(), set[str]()

    def watch() -> None:
        while not over.is_set():
            found.update(holding(value, temporary, state, cli.folder, node.home))
            found.update(repr(line) for line in command_lines() if value.encode() in line)
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        command = ("sh", "-c", "echo ${#MY_TOKEN}; sleep 1")
        said = [cli("run", "--follow", "--secret", "MY_TOKEN", "--", *command, env=env)]
        job = cli("jobs", "--json", env=env).json()["jobs"][0]["id"]
        said += [cli(*line, env=env) for line in (("job", job, "--json", "--live"), ("exec", "n1", "--", "false"))]
    finally:
        over.set()
        watching.join()
    assert said[0].out == f"{len(value)}\n"
    assert not [one for one in said if value in one.out + one.err]
    # On the node the value waits, readable by the owner alone, until the command has it.
    assert {path for path in found if not path.endswith("/secrets.json")} == set()
    assert not holding(value, node.home)


def holding(value: str, *folders: Path) -> set[str]:
    """The files in `folders` that hold `value`; of files that come and go, those that could be read."""
    found = set()
    for root, _, names in (step for folder in folders for step in os.walk(folder)):
        for name in names:
            path = Path(root, name)
            try:
                if value.encode() in path.read_bytes():
                    found.add(str(path))
            except OSError:
                continue
    return found
