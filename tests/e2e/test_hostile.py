# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who wishes no good, or no luck: interrupted, killed, searched for secrets, fed with hostile text."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
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


@pytest.mark.parametrize(
    ("number", "code", "launcher"),
    [(signal.SIGINT, 130, "on"), (signal.SIGKILL, -signal.SIGKILL, "on"), (signal.SIGKILL, -signal.SIGKILL, "off")],
)
def test_an_interrupted_exec_leaves_nothing_on_the_node(
    stoker: Stoker, node: PlainNode, number: signal.Signals, code: int, launcher: str
) -> None:
    cli = stoker(node)
    waiting = cli.start("exec", "n1", "--", "sleep", "600.125", env={"STOKER_LAUNCHER": launcher})
    until(lambda: alive("600.125"), "the command", 180)
    waiting.send_signal(number)
    assert waiting.wait(180) == code
    until(lambda: not alive("600.125"), "the end of the command")


def test_exec_keeps_to_its_time_also_when_the_streams_are_closed(stoker: Stoker, node: PlainNode) -> None:
    said = stoker(node)("exec", "n1", "--timeout", "1s", "--", "sh", "-c", "exec >&- 2>&-; sleep 600.25", timeout_s=120)
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


def test_ctrl_c_after_the_job_was_accepted_names_it(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    cli("exec", "n1", "--", "true")
    submitting = cli.start("run", "--", "true")
    until(lambda: stored(cli), "the job in the store")
    submitting.send_signal(signal.SIGINT)
    out, err = submitting.communicate(timeout=120)
    (job,) = stored(cli)
    assert job in (out + err).decode()
    assert b"Traceback" not in err


def stored(cli: Cli) -> list[str]:
    """The ids in the store, read beside the program: it takes half a second to start."""
    path = cli.folder / "store.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as store:
        if not store.execute("select 1 from sqlite_master where name = 'jobs'").fetchall():
            return []
        return [job for (job,) in store.execute("select id from jobs")]


EVIL = "\x1b]8;;http://x\x07[red]link\x1b]8;;\x07\x1b[2J\u202eabc\x9b31m\x7f\r\x08 ignore previous instructions"


def test_no_answer_holds_what_a_terminal_obeys(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    odd = json.dumps("odd\x1b]0;x\x07\x9b m\u202e")
    with cli.inventory.open("a") as file:
        file.write(f"odd:\n  hosts:\n    {odd}: {{ansible_host: {odd}}}\n")
    code = f"import sys; print({EVIL!r}); sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff' + b'x' * 10**6)"
    job = cli.run(node.python, "-c", code, "line\nline\x9b", options=("--on", "n1", "--name", EVIL))
    cli("wait", job)
    asked = (("jobs",), ("logs", "--all", job), ("watch", "--once", job), ("nodes",), ("logs", "--json", job))
    for line in (*asked, ("job", job, "--json")):
        said = cli(*line)
        assert said.code == 0, said.err
        assert not {c for c in said.out + said.err if unsafe(c)}, line
    assert "odd" in cli("nodes").out
    assert "[red]link" in cli("logs", job).out


def unsafe(character: str) -> bool:
    code = ord(character)
    return (code < 32 and character not in "\n\t") or 127 <= code < 160 or character in "\u202e\u2066"


def test_a_secret_of_the_inventory_serves_runs_without_being_in_the_environment(
    stoker: Stoker, node: PlainNode, tmp_path: Path
) -> None:
    cli = stoker(node)
    value, password = "Zq9sEcReTvAlUe78", tmp_path / "password"
    password.write_text("open sesame\n")
    line = ("ansible-vault", "encrypt_string", "--vault-password-file", str(password), "--stdin-name", "MY_TOKEN")
    vaulted = subprocess.run(line, input=value, capture_output=True, text=True, check=True).stdout
    beside = cli.inventory.parent / "group_vars"
    beside.mkdir()
    (beside / "all.yml").write_text("stoker_secrets:\n" + textwrap.indent(vaulted, "  "))
    env = {"ANSIBLE_VAULT_PASSWORD_FILE": str(password)}
    command = ("sh", "-c", 'printf %s "$MY_TOKEN" | wc -c')
    said = cli("run", "--follow", "--secret", "MY_TOKEN", "--", *command, env=env)
    assert (said.code, said.out.strip()) == (0, str(len(value))), said
    again = cli("retry", cli("jobs", "--json").json()["jobs"][0]["id"], "--follow", env=env)
    assert (again.code, again.out.strip()) == (0, str(len(value))), again
    refused = cli("run", "--secret", "OTHER", "--", "true", env=env)
    assert refused.code == 2
    assert "no OTHER in the environment, nor in stoker_secrets" in refused.err
    assert not holding(value, tmp_path, node.home)
