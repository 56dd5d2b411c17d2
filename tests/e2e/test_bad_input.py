# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that can be wrong gets one clear message with a next step, and the right exit code."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cli import Cli, Said
from testbed import PlainNode

Stoker = Callable[..., Cli]


def check(said: object, code: int, *sentences: str) -> None:
    assert said.code == code, said  # type: ignore[attr-defined]
    text = said.out + said.err  # type: ignore[attr-defined]
    for sentence in sentences:
        assert sentence in text, text
    assert "Traceback" not in text
    assert "{'" not in text, "a dump of Ansible's own"


def test_an_unknown_node(stoker: Stoker, node: PlainNode) -> None:
    check(stoker(node)("run", "--on", "n11", "--", "true"), 2, "no node or group 'n11'", "Did you mean 'n1'?")


def test_a_node_that_is_down(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    node.down()
    said = cli("run", "--on", "n1", "--", "true")
    check(said, 1, "n1: could not be asked", "stays queued")
    told = cli("status", "--stored").out + cli("job", "true").out
    assert "n1 cannot be reached: Connection refused; offered to the node" in told
    assert "Make sure this host" not in told
    node.start()
    assert cli("dispatch").code == 0
    assert cli("wait", cli("jobs", "--json").json()["jobs"][0]["id"]).code == 0


def test_a_node_whose_variables_are_wrong_is_not_called_unreachable(stoker: Stoker, node: PlainNode) -> None:
    from ruamel.yaml import YAML

    cli = stoker(node)
    good = cli.inventory.read_text()
    for name, value, words in (
        ("stoker_state_dir", 5, "n1: stoker_state_dir is 5, not a path"),
        ("stoker_launch", [1], "n1: stoker_launch is [1], not a list of texts"),
        ("stoker_launch", "foo", "n1: stoker_launch: 'foo' is no way to launch"),
    ):
        data = YAML().load(good)
        data["all"]["hosts"]["n1"][name] = value
        with cli.inventory.open("w") as file:
            YAML().dump(data, file)
        said = cli("status")
        check(said, 0, words)
        assert "unreachable" not in said.out + said.err, said
        assert "could not be asked" not in said.err, said
    cli.inventory.write_text(good)
    check(cli("status"), 0, "reachable")


def test_a_wrong_key(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    cli = stoker(node)
    (node.home / ".ssh").mkdir(exist_ok=True)
    text = cli.inventory.read_text()
    key = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    from ruamel.yaml import YAML

    data = YAML().load(text)
    host = data["all"]["hosts"]["n1"]
    host["ansible_ssh_private_key_file"] = str(key)
    with cli.inventory.open("w") as file:
        YAML().dump(data, file)
    check(cli("jobs", "--live"), 0)
    check(cli("nodes", "--live"), 1, "n1: could not be asked", "Permission denied", "next: ")


def test_no_python_on_the_node(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    text = cli.inventory.read_text().replace(node.python, "/opt/absent/python3")
    cli.inventory.write_text(text)
    check(cli("exec", "n1", "--", "true"), 1, "n1: no Python 3 on this node", "ansible_python_interpreter")


def test_an_unknown_job(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for command in ("job", "logs", "watch", "stop", "retry", "wait"):
        check(cli(command, "nope"), 2, "there is no job 'nope'", "(next: stoker jobs lists them)")


def test_a_broken_inventory(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    cli.inventory.write_text("all:\n  hosts: [\n")
    said = cli("nodes")
    assert said.code in (1, 2)
    check(said, said.code, "inventory.yml")


def test_an_inventory_with_a_name_that_ansible_does_not_take(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    cli.inventory.write_text("all:\n  hosts:\n    'n[1': {}\n")
    said = cli("nodes")
    check(said, 1, "inventory.yml: Ansible cannot read this inventory")
    assert "plugin" not in said.err


def test_a_program_that_is_not_there(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    check(cli("run", "--follow", "--", "absent-program"), 1, "failed", "absent-program")
    check(cli("run", "--follow", "--workdir", "/absent/folder", "--", "true"), 1, "failed", "/absent/folder")


def test_the_folder_one_stands_in_was_deleted(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for command in (("jobs",), ("run", "--", "true"), ("exec", "n1", "--", "true")):
        gone = ["sh", "-c", 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', "sh", sys.executable, "-m", "stoker"]
        done = run([*gone, *command], cli)
        check(Said(done.returncode, done.stdout, done.stderr), 2, "no longer exists", "(next: cd somewhere else)")


def test_standard_streams_that_are_closed(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    shell = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "stoker"]
    assert run([*shell, "run", "--", "sh", "-c", "exit 3"], cli).returncode == 0
    assert run([*shell, "job", "nope"], cli).returncode == 2
    assert len(cli("jobs", "--json").json()["jobs"]) == 1


def test_a_locale_that_is_not_utf_8(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    plain = {"LC_ALL": "C"}
    assert cli("exec", "n1", "--", "printf", "ü", env=plain).out == "ü"
    assert cli("run", "--follow", "--raw", "--", "printf", "ü", env=plain).out == "ü"


def test_a_byte_that_is_not_utf_8(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    odd = os.fsdecode(b"\xff\n")
    check(cli("exec", "n1", "--", "printf", odd), 2, "is not UTF-8", "(next: stoker run takes any bytes)")
    assert cli("run", "--follow", "--raw", "--", "printf", odd, env={"ODD": odd}).out == odd


def test_more_gpus_than_there_are(stoker: Stoker, gpu_node: PlainNode) -> None:
    cli = stoker(gpu_node)
    check(cli("run", "--gpus", "3", "--on", "n1", "--", "true"), 1, "failed (start) on n1", "asks for 3 GPU(s)")
    check(cli("run", "--gpus", "3", "--on", "n1", "--follow", "--", "true"), 1, "failed (start)", "asks for 3 GPU(s)")


def test_a_command_that_does_not_exist(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    check(cli("bogus"), 2, "(next: stoker --help)")
    check(cli("jobs", "--limit", "-1"), 2, "--limit: -1")


def run(command: list[str], cli: Cli) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **cli.env}
    return subprocess.run(command, cwd=cli.folder, env=env, capture_output=True, text=True, timeout=180, check=False)


def test_a_node_that_answers_nothing_and_keys_that_do_not_fit(
    stoker: Stoker, nodes: Callable[..., list[PlainNode]]
) -> None:
    some = nodes(3)
    cli = stoker(*some)
    some[0].down()
    known = some[1].known_hosts.read_text().split()
    some[1].known_hosts.write_text(" ".join([known[0], *some[2].known_hosts.read_text().split()[1:]]) + "\n")
    some[2].known_hosts.write_text("")
    (cli.folder / "stoker.yml").write_text("connect_timeout_s: 2\n")
    with socket.create_server(("127.0.0.1", some[0].port), backlog=8):
        said = cli("exec", "--all", "--", "true")
    check(said, 1, "n1: Connection to 127.0.0.1", "timed out", "n2: Host key verification failed", "not the one known")
    assert "ssh-keyscan" in said.err.partition("n3: Host key")[2]


def test_a_store_that_cannot_be_used(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    assert cli("jobs").code == 0
    (cli.folder / "broken.db").write_text("not a database, but long enough to be looked at")
    shutil.copy(cli.folder / "store.db", cli.folder / "newer.db")
    with closing(sqlite3.connect(cli.folder / "newer.db")) as newer:
        newer.execute("update stoker_version set version_num = '9999'")
        newer.commit()
    for url, words in (
        (f"sqlite:///{cli.folder}/broken.db", "is not an SQLite database"),
        (f"sqlite:///{cli.folder}/newer.db", "written by a newer Stoker"),
        ("postgresql+psycopg://me:PassWord@127.0.0.1:1/x", "cannot be reached"),
    ):
        for command in (("jobs",), ("run", "--", "true")):
            said = cli(*command, env={"STOKER_STORE_URL": url})
            check(said, 1, words, "(next: ")
            assert "PassWord" not in said.err


def test_settings_that_are_wrong(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    for text, words in (
        ("forks: [", "not valid YAML"),
        ("fork: 1", "Did you mean"),
        ("forks: many", "'many'"),
        ("- a", "is not a mapping"),
    ):
        (cli.folder / "stoker.yml").write_text(text + "\n")
        check(cli("jobs"), 2, "stoker.yml:", words)
