# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker update`: another version of Stoker, put where a user puts it, brought to real nodes; some of it is broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, Said, until
from plays import PROGRAM
from testbed import PlainNode
from testbed.node_side import build_bundle

Stoker = Callable[..., Cli]
Nodes = Callable[..., list[PlainNode]]
ROOT = Path(__file__).parents[2]
COLLECTION = ("plugins", "playbooks", "roles", "meta", "inventories", "galaxy.yml")
HERE = build_bundle()[0]
# A supervisor that ends at once, where the home folder has the file `breaks`.
BROKEN_SUPERVISOR = """
import sys
if os.path.exists(os.path.expanduser("~/breaks")):
    sys.exit("this version does not work here")
"""
# A supervisor that waits as long as the home folder has the file `waits`.
SLOW_SUPERVISOR = """
while os.path.exists(os.path.expanduser("~/waits")):
    time.sleep(0.05)
"""
# A node side that passes its self-test, and answers no more under its own name; it also damages the version before
# where the home folder has the file `damages`.
BROKEN_LATER = """
import re
_own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_bin = os.path.dirname(_own)
if re.fullmatch("[0-9a-f]{16}", os.path.basename(_own)):
    for _name in os.listdir(_bin) if os.path.exists(os.path.expanduser("~/damages")) else ():
        if re.fullmatch("[0-9a-f]{16}", _name) and _name != os.path.basename(_own):
            with open(os.path.join(_bin, _name, "stoker_node", "ctl.py"), "a") as _file:
                _file.write("# damaged")
    raise RuntimeError("it does not start under its own name")
"""
# An update that ends on the node when the version has its name, and before it is asked.
OUT_OF_MEMORY = """
def health(*_):
    raise MemoryError
"""


def release(folder: Path, **added: str) -> dict[str, str]:
    """Another version of Stoker, as `pip install --target` puts it; `module=text` is added to that module.

    Returns what a command needs to be of that version.
    """
    fleet, no_cache = folder / "ansible_collections/stoker/fleet", shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "python/src/stoker", folder / "stoker", ignore=no_cache)
    for name in COLLECTION:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, fleet / name, ignore=no_cache)
        else:
            shutil.copy(ROOT / name, fleet / name)
    for module, text in added.items():
        with (fleet / "plugins/module_utils" / f"{module}.py").open("a") as file:
            file.write(text)
    # A launcher of that version would only be started for a few calls.
    return {"PYTHONPATH": str(folder), "STOKER_LAUNCHER": "off"}


def contents(node: PlainNode) -> dict[str, bytes]:
    """All that lies on a node of versions of Stoker, but for what Python keeps there."""
    files = (path for path in (node.state_dir / "bin").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(node.state_dir)): path.read_bytes() for path in files}


def lying(node: PlainNode) -> set[str]:
    return {path.name for path in (node.state_dir / "bin").iterdir()} - {".update.lock"}


def told(said: Said) -> dict[str, Any]:
    return {one["node"]: one for one in said.json()["nodes"]}


def outcomes(said: Said) -> list[str]:
    return [one["outcome"] for one in said.json()["nodes"]]


def pid_of(node: PlainNode, job: str) -> int:
    state = json.loads((node.state_dir / f"jobs/{job}/1/state.json").read_text())
    return int(state["supervisor"]["pid"])


@pytest.mark.accepts("C38", "C40")
def test_a_version_that_is_broken_on_the_second_of_three_nodes(nodes: Nodes, stoker: Stoker, tmp_path: Path) -> None:
    three = nodes(3)
    cli = stoker(*three)
    first = cli("update", "nodes", "--json")
    assert (first.code, outcomes(first)) == (0, ["updated"] * 3)
    jobs = {name: cli.run("sleep", "600", options=("--on", name)) for name in ("n1", "n2")}
    supervisors = {node.name: pid_of(node, jobs[node.name]) for node in three[:2]}
    new = release(tmp_path / "new", supervisor=BROKEN_SUPERVISOR)
    (three[1].home / "breaks").touch()
    before = [contents(node) for node in three]
    said = cli("update", "nodes", "--with-jobs", "--serial", "1", "--json", env=new)
    assert (said.code, outcomes(said)) == (1, ["updated", "put_back", "untouched"])
    version = told(said)["n1"]["version"]
    assert version != HERE
    assert lying(three[0]) == {HERE, version}
    failed = told(said)["n2"]
    assert (failed["version"], failed["before"], failed["back_reason"]) == (version, HERE, None)
    assert failed["reason"] == "its test job could not be started: this version does not work here"
    # Byte for byte the version before; and a note, so that the new one is not brought again by the next command.
    assert lying(three[1]) == {HERE, f"{version}.kept"}
    assert contents(three[1]).items() >= before[1].items()
    assert contents(three[2]) == before[2]
    assert cli("exec", "n2", "--", "echo", "it answers", env=new).out == "it answers\n"
    assert lying(three[1]) == {HERE, f"{version}.kept"}
    seen = told(cli("update", "check", "--json", env=new))
    assert [(seen[n]["use"], seen[n]["used"]) for n in seen] == [("current", version), ("kept", HERE), ("other", HERE)]
    assert seen["n2"]["kept_reason"] == failed["reason"]
    # What ran runs on, under the supervisor that it began with; what starts now has the new version.
    later = cli.run("sleep", "600", options=("--on", "n1"), env=new)
    seen = told(cli("update", "check", "--json", env=new))
    assert {one["version"]: one["jobs"] for one in seen["n1"]["versions"]} == {version: [later], HERE: [jobs["n1"]]}
    assert {node.name: pid_of(node, jobs[node.name]) for node in three[:2]} == supervisors
    live = cli("jobs", "--live", "--json", env=new).json()["jobs"]
    assert {job["id"]: job["state"] for job in live} == dict.fromkeys([*jobs.values(), later], "running")
    # So does the one that takes its place.
    os.kill(supervisors["n1"], signal.SIGKILL)
    until(
        lambda: pid_of(three[0], jobs["n1"]) != supervisors["n1"],
        "a supervisor in the place of the one that was killed",
    )
    words = Path(f"/proc/{pid_of(three[0], jobs['n1'])}/cmdline").read_text()
    assert f"/bin/{HERE}\0supervise\0" in words
    # Mended, the same command goes on where it stopped.
    (three[1].home / "breaks").unlink()
    again = cli("update", "nodes", "--with-jobs", "--json", env=new)
    assert (again.code, outcomes(again)) == (0, ["present", "updated", "updated"])
    assert lying(three[1]) == {HERE, version}
    assert cli("stop", *jobs.values(), later).code == 0


@pytest.mark.accepts("C40")
def test_what_cannot_be_put_back_is_told_of_each_node(nodes: Nodes, stoker: Stoker, tmp_path: Path) -> None:
    two = nodes(2)
    cli = stoker(*two)
    assert cli("update", "nodes", "--serial", "2").code == 0
    before = [contents(node) for node in two]
    (two[0].home / "damages").touch()
    said = cli("update", "nodes", "--serial", "2", "--json", env=release(tmp_path / "new", ctl=BROKEN_LATER))
    assert (said.code, outcomes(said)) == (1, ["put_back_failed", "put_back"])
    for node in told(said).values():
        assert "RuntimeError: it does not start under its own name" in node["reason"]
    words = told(said)["n1"]["back_reason"]
    assert words.startswith(f"the version before, {HERE}, is not as it was: its files give ")
    assert contents(two[0])[f"bin/{HERE}/stoker_node/ctl.py"].endswith(b"# damaged")
    assert told(said)["n2"]["back_reason"] is None
    assert contents(two[1]).items() >= before[1].items()
    assert lying(two[1]) == {HERE, f"{told(said)['n2']['version']}.kept"}


def test_a_version_that_is_kept_and_damaged_is_told_until_an_update(
    nodes: Nodes, stoker: Stoker, tmp_path: Path
) -> None:
    (node,) = nodes(1)
    cli = stoker(node)
    new = release(tmp_path / "new", supervisor=BROKEN_SUPERVISOR)
    assert cli("update", "nodes").code == 0
    (node.home / "breaks").touch()
    assert outcomes(cli("update", "nodes", "--json", env=new)) == ["put_back"]
    (node.state_dir / "bin" / HERE / "__main__.py").unlink()
    before = lying(node)
    for _ in range(2):
        said = cli("exec", "n1", "--", "true", env=new)
        assert said.code != 0
        assert "failed on this node, and the version that is used instead does not run" in said.out + said.err
        assert lying(node) == before
    (node.home / "breaks").unlink()
    assert outcomes(cli("update", "nodes", "--json", env=new)) == ["updated"]
    assert cli("exec", "n1", "--", "echo", "it answers", env=new).out == "it answers\n"


@pytest.mark.accepts("C39")
def test_one_node_that_is_not_ready_keeps_all_as_they_are(nodes: Nodes, stoker: Stoker, tmp_path: Path) -> None:
    four = nodes(4)
    well, _busy, away, ill = four
    cli = stoker(*four)
    assert cli("update", "nodes", "--serial", "4").code == 0
    assert cli("nodes", "--live").code == 0
    job = cli.run("sleep", "600", options=("--on", "n2"))
    away.down()
    (ill.state_dir / "node.json").rename(tmp_path / "node.json")
    (ill.state_dir / "node.json").write_text('{"machine": "another", "hostname": "elsewhere"}')
    new = release(tmp_path / "new", gpus="# another version\n")
    before = [contents(node) for node in four]
    said = cli("update", "nodes", "--json", env=new)
    assert (said.code, outcomes(said)) == (1, ["untouched", "refused", "refused", "refused"])
    reasons = {name: node["reason"] for name, node in told(said).items()}
    assert reasons["n2"] == f"jobs run there: {job}"
    assert {name: node["stale"] for name, node in told(said).items()} == dict.fromkeys(reasons, False) | {"n3": True}
    assert told(said)["n3"]["heard_at"] > 0
    assert "is the state folder of another machine" in reasons["n4"]
    assert [contents(node) for node in four] == before
    shown = cli("update", "nodes", env=new)
    assert f"n2  refused\n  jobs run there: {job}\nn3  refused\n  stale: it does not answer (" in shown.out
    assert "nothing was changed, on any node" in shown.err
    # It is well again, awake again, and drained.
    away.start()
    (tmp_path / "node.json").rename(ill.state_dir / "node.json")
    assert outcomes(cli("update", "nodes", "--json", env=new)) == ["untouched", "refused", "untouched", "untouched"]
    drained = cli("node", "drain", "n2", "--migrate", "--wait")
    assert drained.code == 0, drained
    dry = cli("update", "nodes", "--dry-run", "--json", env=new)
    assert (dry.code, outcomes(dry)) == (0, ["updated"] * 4)
    assert [contents(node) for node in four] == before
    assert outcomes(cli("update", "nodes", "--serial", "2", "--json", env=new)) == ["updated"] * 4
    assert all(lying(node) == {HERE, told(dry)["n1"]["version"]} for node in four)
    assert well.processes() == []


def test_a_node_whose_connection_breaks_finishes_by_itself(nodes: Nodes, stoker: Stoker, tmp_path: Path) -> None:
    first, second, third = nodes(3)
    cli = stoker(first, second, third)
    new = release(tmp_path / "new", supervisor=SLOW_SUPERVISOR)

    def update(goes_away: PlainNode) -> Said:
        """An update during which that node goes away, while the first one is at its test."""
        (first.home / "waits").touch()
        process = cli.start("update", "nodes", "--json", env=new)
        until(lambda: list((first.state_dir / "bin").glob(".test-*/jobs/selftest/1")), "its test is under way")
        goes_away.down()
        (first.home / "waits").unlink()
        out, _err = process.communicate(timeout=120)
        goes_away.start()
        return Said(process.returncode, out.decode(), "")

    said = update(first)
    assert (said.code, outcomes(said)) == (1, ["unknown", "untouched", "untouched"])
    until(lambda: not first.processes(), "it has come to its end")
    seen = told(cli("update", "check", "--json", env=new))
    assert [node["use"] for node in seen.values()] == ["current", "none", "none"]
    said = update(second)
    assert (said.code, outcomes(said)) == (1, ["present", "refused", "untouched"])
    assert "nothing was changed: it does not answer any more" in told(said)["n2"]["reason"]


def test_an_update_that_dies_on_the_node_is_no_refusal(nodes: Nodes, stoker: Stoker, tmp_path: Path) -> None:
    first, second = nodes(2)
    cli = stoker(first, second)
    said = cli("update", "nodes", "--json", env=release(tmp_path / "new", version_update=OUT_OF_MEMORY))
    assert (said.code, outcomes(said)) == (1, ["unknown", "untouched"])
    died = told(said)["n1"]
    assert lying(first) == {died["version"]}
    assert "the node's part of Stoker ended with 1: MemoryError" in died["reason"]
    assert died["next_step"] == "stoker update check --on n1"
    assert outcomes(cli("update", "nodes", "--json")) == ["updated"] * 2


@pytest.mark.accepts("C38")
def test_the_playbook_needs_no_wrapper(nodes: Nodes, inventory: Callable[..., Path], tmp_path: Path) -> None:
    three = nodes(3)
    hosts = inventory(three)
    (three[1].home / "breaks").touch()
    collections = release(tmp_path / "new", supervisor=BROKEN_SUPERVISOR)["PYTHONPATH"]

    def play(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "stoker.fleet.update", "-i", hosts, *options], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections}, stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip

    dry = play("--check")
    assert (dry.returncode, [node.state_dir.exists() for node in three]) == (0, [False] * 3), dry.stdout
    # A batch that failed in part is the last one, too.
    done = play("-e", "update_serial=2")
    assert done.returncode != 0
    assert "this version does not work here; it was removed, and nothing was there before" in done.stdout
    assert [len(lying(node)) if node.state_dir.exists() else None for node in three] == [1, 0, None]
    until(lambda: not three[1].processes(), "nothing is left of the test")
