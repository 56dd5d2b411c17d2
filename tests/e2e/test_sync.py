# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files to real ssh nodes and back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from plays import Plays
from testbed import PlainNode
from testbed.processes import descendants

ODD = [b"with space", b" lead", b"-rf", b"--delete", b"new\nline", b"#hash", b";semi", b"\xff\xfe", b"back\\#012slash",
       "ünï/日本".encode(), b"{{ x }}", b"a:b", b"sub/deep/x", b"quote'\""]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with odd names, ignored files and a secret."""
    folder = tmp_path / "proj"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    put(folder, **{os.fsdecode(name): "odd" for name in ODD}, **{"train.py": "print(1)", "x.log": "no", ".env": "T=1"})
    put(folder, **{".gitignore": "*.log\n/results/\n", "sub/.gitignore": "!keep.log\n", "sub/keep.log": "yes"})
    (folder / "train.py").chmod(0o755)
    (folder / "link").symlink_to("sub/keep.log")
    return folder


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Every file and link below the folder: what is in it, mode and time."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = ("link", str(path.readlink()))
        elif path.is_file() and ".git" not in path.parts:
            found[str(path.relative_to(folder))] = (path.read_bytes(), status.st_mode, status.st_mtime_ns)
    return found


def sync(stoker: Cli, *words: str, **more: Any) -> dict[str, Any]:
    """The answer of a sync with one node."""
    said = stoker("sync", *words, "--json", **more)
    assert said.code == 0, said
    answer: dict[str, Any] = said.json()["nodes"][0]
    return answer


def names(answer: dict[str, Any]) -> set[str]:
    return {change["name"] for change in answer["changes"]}


@pytest.fixture
def throttled(tmp_path: Path) -> dict[str, str]:
    """An environment in which rsync sends 2 MB a second."""
    place = tmp_path / "slow"
    place.mkdir()
    (place / "rsync").write_text(f'#!/bin/sh\nexec {shutil.which("rsync")} --bwlimit=2m "$@"\n')
    (place / "rsync").chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}


@pytest.mark.accepts("D04", "V12")
def test_a_push_and_a_pull_leave_identical_trees(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, tmp_path: Path
) -> None:
    cli = stoker(node)
    before = tree(project)
    pushed = sync(cli, "push", "n1", "--local", str(project))
    assert pushed["remote"] == str(node.home / "proj")
    assert pushed["left_out"] == [".env"]
    sent = {name: mark for name, mark in before.items() if name not in (".env", "x.log")}
    assert tree(node.home / "proj") == sent
    assert len(pushed["changes"]) == len(sent)
    back = tmp_path / "back"
    sync(cli, "pull", "n1", "--local", str(back), "--remote", "proj")
    assert tree(back) == sent
    assert tree(project) == before
    for direction in ("push", "pull"):
        assert sync(cli, direction, "n1", "--local", str(project))["changes"] == []
    # rsync went over the connection that Ansible had opened.
    assert node.authentications() == 1


@pytest.mark.accepts("D04")
def test_a_failed_rsync_fails_in_its_own_words_and_leaves_the_last_push_as_it_was(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    cli = stoker(node)
    sync(cli, "push", "n1", "--local", str(project))
    (written,) = node.state_dir.glob("sync/*/last_push.json")
    first = written.read_text()
    (node.home / "proj/train.py").unlink()
    put(node.home / "proj", **{"train.py/result": "a folder that is not empty"})
    said = cli("sync", "push", "n1", "--local", str(project))
    assert said.code == 1
    assert "rsync failed with code 23" in said.err
    assert "could not make way for new regular file: train.py" in said.err
    assert written.read_text() == first
    assert (node.home / "proj/train.py/result").exists()


@pytest.mark.accepts("D04")
def test_a_pull_keeps_what_is_newer_here_and_says_so(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    cli = stoker(node)
    put(node.home / "proj", **{"mine": "node", "theirs": "node", "dir/x": "node", "gone": "link", "same": "node"})
    put(node.home / "proj", later="later on the node")
    put(project, mine="newer here", theirs="older here", dir="a file here", same="by a moment", later="earlier")
    (project / "gone").symlink_to("newer")
    for path in (project / "theirs", node.home / "proj/gone", node.home / "proj/mine", node.home / "proj/dir/x"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    for path, nanoseconds in ((node.home / "proj/same", 1), (project / "same", 9), (project / "later", 1)):
        os.utime(path, ns=(0, 1_600_000_000_000_000_000 + nanoseconds * 100_000_000))
    os.utime(node.home / "proj/later", ns=(0, 1_600_000_000_900_000_000))
    seen = sync(cli, "diff", "n1", "--pull", "--local", str(project))
    assert (names(seen), seen["kept"]) == ({"theirs", "later"}, ["dir/x", "gone", "mine", "same"])
    assert (project / "theirs").read_text() == "older here"
    said = cli("sync", "pull", "n1", "--local", str(project))
    assert (said.code, said.err) == (0, "n1: kept, newer here: dir/x, gone, mine, same (--force)\n")
    assert (project / "theirs").read_text() == "node"
    assert (project / "mine").read_text() == "newer here"
    assert (project / "same").read_text() == "by a moment"
    assert (project / "later").read_text() == "later on the node"
    assert (project / "dir").read_text() == "a file here"
    assert (project / "gone").is_symlink()
    forced = sync(cli, "pull", "n1", "--local", str(project), "--force")
    assert names(forced) == {"dir/x", "gone", "mine", "same"}
    assert (project / "mine").read_text() == (project / "dir/x").read_text() == "node"


@pytest.mark.accepts("V03")
def test_a_secret_never_leaves_unless_that_is_said(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    said = cli("sync", "push", "n1", "--local", str(project))
    assert "n1: left out, may hold secrets: .env (--with-secrets)" in said.err
    assert not (node.home / "proj/.env").exists()
    assert names(sync(cli, "push", "n1", "--local", str(project), "--with-secrets")) == {".env"}
    assert (node.home / "proj/.env").read_text() == "T=1"


@pytest.mark.accepts("V13")
def test_only_what_changed_is_sent(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    put(project, **{f"many/{number}": "x" * 3000 for number in range(300)})
    (project / "weights").write_bytes(random.Random(1).randbytes(3_000_000))
    first = sync(cli, "push", "n1", "--local", str(project))
    assert first["bytes"] > 3_900_000
    put(project, **{"train.py": "print(22)"})
    second = sync(cli, "push", "n1", "--local", str(project))
    assert second["changes"] == [{"name": "train.py", "change": "changed", "bytes": 9}]
    assert (second["bytes"], second["wire_bytes"] < 20_000) == (9, True)
    with (project / "weights").open("ab") as file:
        file.write(b"a little more")
    third = sync(cli, "push", "n1", "--local", str(project))
    assert (names(third), third["bytes"], third["wire_bytes"] < 60_000) == ({"weights"}, 3_000_013, True)


def test_deleted_is_only_what_a_push_put_there(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    there = node.home / "proj"
    put(there, **{"foreign": "was here before", "pkg/theirs": "too"})
    put(project, **{"pkg/a.py": "1", "old/b.py": "1", "c.py": "1", "linked/d.py": "1"})
    sync(cli, "push", "n1", "--local", str(project))
    put(there, **{"c.py": "changed by a job"})
    elsewhere = node.home / "elsewhere"
    (there / "linked").rename(elsewhere)
    (there / "linked").symlink_to(elsewhere)
    for name in ("pkg", "old", "linked"):
        shutil.rmtree(project / name)
    (project / "c.py").unlink()
    told = sync(cli, "push", "n1", "--local", str(project))
    assert (told["deleted"], told["stale"]) == ([], ["old/b.py", "pkg/a.py"])
    before = tree(there)
    assert sync(cli, "diff", "n1", "--local", str(project))["stale"] == ["old/b.py", "pkg/a.py"]
    assert tree(there) == before
    done = sync(cli, "push", "n1", "--local", str(project), "--delete")
    assert done["deleted"] == ["old/b.py", "pkg/a.py"]
    assert not (there / "old").exists()
    assert {"foreign", "pkg/theirs", "c.py"} <= set(tree(there))
    assert (elsewhere / "d.py").exists()


def test_what_was_there_already_is_not_ours_to_delete(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    """The same file on both sides is not sent, so no push put it there."""
    cli = stoker(node)
    put(project, data="measured for weeks", mine="1")
    shutil.copytree(project, node.home / "proj")
    os.utime(project / "mine", (1_600_000_000, 1_600_000_000))
    sent = names(sync(cli, "push", "n1", "--local", str(project)))
    assert "mine" in sent
    assert "data" not in sent
    put(project, **{".gitignore": "data\nmine\n"})
    assert sync(cli, "push", "n1", "--local", str(project), "--delete")["deleted"] == ["mine"]
    assert (node.home / "proj/data").read_text() == "measured for weeks"


@pytest.mark.accepts("D04")
def test_what_lies_beyond_a_link_is_not_the_projects(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, tmp_path: Path
) -> None:
    """git goes on listing the files of a folder in whose place a link came."""
    cli = stoker(node)
    put(project, **{"data/x.bin": "old"})
    subprocess.run(["git", "add", "data"], cwd=project, check=True)
    shutil.rmtree(project / "data")
    big = tmp_path / "big"
    put(big, **{"x.bin": "the only copy", "y.bin": "too"})
    (project / "data").symlink_to(big)
    sent = names(sync(cli, "push", "n1", "--local", str(project)))
    assert "data" in sent
    assert "data/x.bin" not in sent
    assert (node.home / "proj/data").is_symlink()
    (project / "data").unlink()
    subprocess.run(["git", "rm", "-rq", "--cached", "data"], cwd=project, check=True)
    assert sync(cli, "push", "n1", "--local", str(project), "--delete")["deleted"] == ["data"]
    assert {path.name: path.read_text() for path in big.iterdir()} == {"x.bin": "the only copy", "y.bin": "too"}


def test_a_link_in_the_place_of_a_folder_over_there_is_followed_or_named(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    put(project, **{"data/x": "1"})
    (node.home / "big").mkdir()
    (node.home / "proj").mkdir()
    (node.home / "proj/data").symlink_to(node.home / "big")
    said = stoker(node)("sync", "push", "n1", "--local", str(project))
    # Newer releases of rsync follow none.
    if said.code:
        assert "rsync follows no link in the place of a folder: sync that folder by itself" in said.err
    else:
        assert (node.home / "big/x").read_text() == "1"


def test_settings_of_another_name_do_not_come_from_a_node(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    put(node.home / "proj", **{"fleet.yml": "access: {}\n", "other.yml": "x: 1\n"})
    settings = project / "fleet.yml"
    settings.write_text("{}\n")
    os.utime(settings, (1_600_000_000, 1_600_000_000))
    pulled = sync(stoker(node), "pull", "n1", "--local", str(project), "--remote", "proj", "--config", str(settings))
    assert "other.yml" in names(pulled)
    assert settings.read_text() == "{}\n"
    assert any(note.startswith("fleet.yml is not fetched") for note in pulled["notes"]), pulled


@pytest.mark.accepts("V04")
def test_a_path_that_is_missing_is_a_warning_and_the_others_come(
    stoker: Callable[..., Cli], node: PlainNode, project: Path
) -> None:
    cli = stoker(node)
    put(node.home / "proj", **{"results/a.csv": "1", "results/deep/b.csv": "2", "other": "3", "last.pt": "4"})
    said = cli("sync", "pull", "n1", "results", "nope/x", "last.pt", "--local", str(project))
    assert said.code == 0
    assert f"n1: there is no nope/x in {node.home}/proj on the node\n" in said.err
    assert {"results/a.csv", "results/deep/b.csv", "last.pt"} <= set(tree(project))
    assert not (project / "other").exists()
    said = cli("sync", "pull", "n1", "--local", str(project), "--remote", "no/such")
    assert (said.code, said.err) == (0, f"n1: there is no folder {node.home}/no/such on the node\n")


@pytest.mark.accepts("V04")
def test_a_transfer_that_was_killed_goes_on_where_it_stopped(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, throttled: dict[str, str]
) -> None:
    cli = stoker(node)
    (project / "weights").write_bytes(random.Random(2).randbytes(12_000_000))
    there = node.home / "proj"
    process = cli.start("sync", "push", "n1", "--local", str(project), env=throttled)
    until(lambda: any(path.stat().st_size > 2_000_000 for path in there.glob(".weights.*")), "part of it is there")
    (sender,) = [child for child in descendants([process.pid]).values() if child.name == "rsync"]
    os.kill(sender.pid, signal.SIGKILL)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"rsync was ended by SIGKILL" in err
    until(lambda: (there / ".stoker-partial/weights").exists(), "what had come is kept")
    assert not (there / "weights").exists()
    assert sync(cli, "diff", "n1", "--local", str(project))["last_push"] is None
    again = sync(cli, "push", "n1", "--local", str(project))
    assert again["wire_bytes"] < 11_000_000
    assert (there / "weights").read_bytes() == (project / "weights").read_bytes()
    assert not (there / ".stoker-partial").exists()


@pytest.mark.accepts("V04")
def test_a_pull_that_lost_its_connection_goes_on_where_it_stopped(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, throttled: dict[str, str]
) -> None:
    cli = stoker(node)
    put(node.home / "proj", **{"results/a.csv": "1"})
    (node.home / "proj/results/last.pt").write_bytes(random.Random(5).randbytes(12_000_000))
    process = cli.start("sync", "pull", "n1", "results", "--local", str(project), env=throttled)
    here = project / "results"
    until(lambda: any(path.stat().st_size > 2_000_000 for path in here.glob(".last.pt.*")), "part of it is here")
    node.cut()
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"rsync failed with code" in err
    assert not (here / "last.pt").exists()
    assert (here / ".stoker-partial/last.pt").exists()
    again = sync(cli, "pull", "n1", "results", "--local", str(project))
    assert again["wire_bytes"] < 11_000_000
    assert (here / "last.pt").read_bytes() == (node.home / "proj/results/last.pt").read_bytes()
    assert (here / "a.csv").exists()


def test_what_changes_or_goes_away_meanwhile_is_said_and_sent_the_next_time(
    stoker: Callable[..., Cli], node: PlainNode, project: Path, throttled: dict[str, str]
) -> None:
    cli = stoker(node)
    (project / "big").write_bytes(random.Random(3).randbytes(5_000_000))
    put(project, zz="goes away", zy="changes")
    there = node.home / "proj"
    process = cli.start("sync", "push", "n1", "--local", str(project), env=throttled)
    until(lambda: list(there.glob(".big.*")), "it is being sent")
    (project / "zz").unlink()
    put(project, zy="changed in between")
    _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert b"n1: zz went away before it was sent" in err
    assert b"n1: zy changed while it was sent: push again" in err
    assert "zz" not in tree(there)
    sync(cli, "push", "n1", "--local", str(project))
    assert (there / "zy").read_text() == "changed in between"


@pytest.mark.root
def test_a_full_disk_over_there_fails_and_is_no_push(
    stoker: Callable[..., Cli], isolated_nodes: Callable[..., list[Any]], project: Path
) -> None:
    (there,) = isolated_nodes(1)
    cli = stoker(there)
    assert there.ssh("mkdir ~/proj && mount -t tmpfs -o size=1m tmpfs ~/proj").returncode == 0
    (project / "weights").write_bytes(random.Random(4).randbytes(3_000_000))
    said = cli("sync", "push", "i1", "--local", str(project))
    assert said.code == 1
    assert "No space left on device" in said.err
    assert "free some space on i1" in said.err
    assert there.ssh("ls ~/.stoker/sync").stdout == ""


def test_it_goes_through_a_jump_host(stoker: Callable[..., Cli], nodes: Callable[..., Any], project: Path) -> None:
    near, far = nodes(2)
    hop = " ".join(["ssh", "-W", "%h:%p", *near.ssh_options(), "-p", str(near.port), f"{near.user}@{near.address}"])
    far.host_vars["ansible_ssh_common_args"] = (
        far.inventory_entry()["ansible_ssh_common_args"] + f" -o 'ProxyCommand={hop}'"
    )
    cli = stoker(near, far)
    assert "train.py" in names(sync(cli, "push", "n2", "--local", str(project)))
    assert (far.home / "proj/train.py").exists()
    assert near.authentications() == far.authentications() == 1
    # And over a connection of its own.
    far.host_vars["ansible_ssh_args"] = "-o ControlPath=none"
    put(project, **{"train.py": "more"})
    assert names(sync(stoker(near, far), "push", "n2", "--local", str(project))) == {"train.py"}
    assert far.authentications() > 1


def test_too_much_is_refused_before_anything_moves(stoker: Callable[..., Cli], node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    put(project, **{"data/a.bin": "a" * 2_500_000, "data/b.bin": "b" * 100_000})
    said = cli("sync", "push", "n1", "--local", str(project), "--max-size", "2M")
    assert said.code == 1
    assert "2.5 MB would be sent" in said.err
    assert "the biggest: data/a.bin (2.4 MB), data/b.bin (97.7 KB)" in said.err
    assert tree(node.home / "proj") == {}
    sync(cli, "push", "n1", "--local", str(project))
    # What is there already does not count.
    sync(cli, "push", "n1", "--local", str(project), "--max-size", "2M")
    shutil.rmtree(project / "data")
    said = cli("sync", "pull", "n1", "--local", str(project), "--max-size", "2M")
    assert "2.5 MB would be fetched" in said.err
    assert not (project / "data").exists()


def without_rsync(folder: Path) -> str:
    """A PATH with all programs of this machine but rsync."""
    for place in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(place).iterdir():
            if program.name != "rsync" and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_a_missing_rsync_is_said_on_either_side(
    stoker: Callable[..., Cli], nodes: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    path = without_rsync(tmp_path / "bin")
    with_it, without = nodes(1)[0], nodes(1, env={"PATH": path})[0]
    cli = stoker(with_it, without)
    said = cli("sync", "push", "n2", "--local", str(project))
    assert (said.code, "rsync is not installed on the node" in said.err) == (1, True), said
    assert not (without.home / "proj").exists()
    said = cli("sync", "push", "n1", "--local", str(project), env={"PATH": path, "STOKER_LAUNCHER": "off"})
    assert (said.code, "rsync is not installed on this machine" in said.err) == (1, True), said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["push", "n1", "--local", "absent"], "there is no folder"),
        (["push", "n1", "--max-size", "lots"], "--max-size: 'lots' is not a size"),
        (["pull", "all"], "all is 2 nodes, and their files would lie in one folder"),
        (["push", "nobody"], "nobody"),
        (["push", "n1", "--remote", ""], "--remote: an empty name is no folder"),
    ],
)
def test_bad_input_is_one_sentence(
    stoker: Callable[..., Cli], nodes: Callable[..., Any], words: list[str], sentence: str
) -> None:
    said = stoker(*nodes(2))("sync", *words)
    assert (said.code, sentence in said.err, said.err.count("\n")) == (2, True, 1), said


def test_from_a_playbook_here_and_there(
    node: PlainNode, inventory: Callable[..., Path], project: Path, tmp_path: Path
) -> None:
    plays = Plays(tmp_path, inventory([node], groups={"fleet": ["n1"]}))
    args = f"{{direction: push, local: {project}, remote: '{{{{ where }}}}'}}"
    played = plays.run(
        f"""
        - {{stoker.fleet.sync: {args}, check_mode: true, register: push_check}}
        - {{stoker.fleet.sync: {args}, register: push_1}}
        - {{stoker.fleet.sync: {args}, register: push_2}}
        - {{stoker.fleet.sync: {{direction: pull, local: back, remote: '{{{{ where }}}}'}}, check_mode: true,
           register: pull_check}}
        - {{stoker.fleet.sync: {{direction: pull, local: back, remote: '{{{{ where }}}}'}}, register: pull_1}}
        - {{stoker.fleet.sync: {{direction: pull, local: back, remote: '{{{{ where }}}}'}}, register: pull_2}}
        - {{stoker.fleet.sync: {{direction: pull, local: back, paths: [../x]}}, register: outside}}
        - {{stoker.fleet.sync: {args}, become: true, register: become}}
        - {{stoker.fleet.sync: {args}, connection: local, register: on_this_machine}}
        """,
        head=f"vars: {{where: {tmp_path}/there}}",
    )
    got = played.results["n1"]
    assert {name for name, one in got.items() if one["changed"]} == {"push_check", "push_1", "pull_check", "pull_1"}
    assert got["push_check"]["changes"] == got["push_1"]["changes"]
    assert tree(tmp_path / "there") == tree(tmp_path / "back")
    assert "train.py" in tree(tmp_path / "back")
    assert got["outside"]["msg"].startswith("paths: ../x is not below the remote folder")
    assert "set become to false" in got["become"]["msg"]
    assert got["on_this_machine"]["files"] == 0
    assert not got["on_this_machine"].get("failed")


def test_the_python_api_says_the_same(node: PlainNode, inventory: Callable[..., Path], project: Path) -> None:
    from stoker import Fleet

    with Fleet(inventory([node])) as fleet:
        report = fleet.sync.push("n1", local=str(project))
        assert report.nodes[0].left_out == (".env",)
        assert time.time() - (report.nodes[0].last_push or 0) < 60
        assert fleet.sync.diff("n1", local=str(project)).nodes[0].changes == ()
