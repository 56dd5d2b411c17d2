# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that can be wrong gets one clear message with a next step, and the right exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cli import Cli
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
    node.start()
    assert cli("dispatch").code == 0
    assert cli("wait", cli("jobs", "--json").json()["jobs"][0]["id"]).code == 0


def test_a_wrong_key(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    cli = stoker(node)
    (node.home / ".ssh").mkdir(exist_ok=True)
    text = cli.inventory.read_text()
    key = tmp_path / "other_key"
    import subprocess

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


def test_a_program_that_is_not_there(stoker: Stoker, node: PlainNode) -> None:
    cli = stoker(node)
    check(cli("run", "--follow", "--", "absent-program"), 1, "failed", "absent-program")
    check(cli("run", "--follow", "--workdir", "/absent/folder", "--", "true"), 1, "failed", "/absent/folder")
