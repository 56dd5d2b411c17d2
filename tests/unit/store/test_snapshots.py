# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a snapshot: the same for the same files, whole also while somebody writes, cleared away unneeded."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.stoker.fleet.plugins.action import plan
from ansible_collections.stoker.fleet.plugins.module_utils import tree
from stoker.errors import StokerError, UsageError
from stoker.store import open_store
from stoker.store.snapshots import Snapshots

MOST = 100_000_000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "proj"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("a")
    (folder / "sub/b.py").write_text("b")
    return folder


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


def taken(snapshots: Snapshots, folder: Path) -> str:
    found = snapshots.take(folder, max_bytes=MOST).digest
    # What the node will read there.
    assert tree.digest(os.fsencode(snapshots.tree(found)))[0] == found
    return found


@pytest.mark.accepts("B20")
def test_the_digest_is_of_names_modes_and_contents(snapshots: Snapshots, project: Path) -> None:
    first = taken(snapshots, project)
    os.utime(project / "a.py", (1, 1))
    assert taken(snapshots, project) == first
    changes = {
        "content": lambda: (project / "a.py").write_text("A"),
        "mode": lambda: (project / "a.py").chmod(0o755),
        "name": lambda: (project / "a.py").rename(project / "c.py"),
        "link": lambda: (project / "d").symlink_to("c.py"),
        "target": lambda: ((project / "d").unlink(), (project / "d").symlink_to("sub/b.py")),
        "folder": lambda: (project / "c.py").rename(project / "sub/c.py"),
    }
    seen = {first}
    for what, change in changes.items():
        change()
        new = taken(snapshots, project)
        assert new not in seen, what
        seen.add(new)
    (project / "empty").mkdir()
    assert taken(snapshots, project) in seen
    assert snapshots.here() == seen


def test_what_is_the_same_is_kept_once_unless_it_was_damaged(snapshots: Snapshots, project: Path) -> None:
    first = snapshots.tree(taken(snapshots, project))
    (project / "a.py").write_text("A")
    second = snapshots.tree(taken(snapshots, project))
    assert (first / "sub/b.py").samefile(second / "sub/b.py")
    assert not (first / "a.py").samefile(second / "a.py")
    assert (first / "a.py").read_text() == "a"
    (second / "sub/b.py").write_text("x")
    (project / "a.py").write_text("AA")
    third = snapshots.tree(taken(snapshots, project))
    assert (third / "sub/b.py").read_text() == "b"


def _rewrite(path: Path, quiet: str) -> None:
    """Two halves that belong together, again and again; at the end for good."""
    end = time.monotonic() + 1.5
    number = 0
    while time.monotonic() < end:
        number += 1
        path.write_bytes(b"%07d" % number * 300_000)
    path.write_text(quiet)


@pytest.mark.accepts("B20")
def test_a_file_that_is_written_meanwhile_is_read_again(snapshots: Snapshots, project: Path) -> None:
    """What is kept is either whole, or it is said that there was nothing whole to keep."""
    big = project / "big"
    big.write_bytes(b"0000000" * 300_000)
    writer = multiprocessing.get_context("fork").Process(target=_rewrite, args=(big, "quiet"))
    writer.start()
    outcomes = []
    try:
        while writer.is_alive():
            try:
                found = snapshots.take(project, max_bytes=MOST)
            except UsageError as problem:
                outcomes.append(str(problem))
            else:
                outcomes.append("whole")
                data = (snapshots.tree(found.digest) / "big").read_bytes()
                # Of one writing, be it half done: nobody can see that from outside. Never of two.
                assert data == b"quiet" or data == (data[:7] * 300_000)[: len(data)]
    finally:
        writer.join()
    assert all(outcome == "whole" or "do not hold still: big changed each of" in outcome for outcome in outcomes)
    assert outcomes
    found = snapshots.take(project, max_bytes=MOST)
    assert (snapshots.tree(found.digest) / "big").read_text() == "quiet"
    assert not list(snapshots.root.glob(".new-*"))


def test_files_that_come_and_go_while_it_is_taken(
    snapshots: Snapshots, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of one file is the moment in which the others change: what is kept lay there together."""
    import stoker.store.taking as module

    copied, calls = module._copied, list[bytes]()

    def slow(path: bytes, target: bytes, mode: str) -> tuple[str, int]:
        calls.append(path)
        if len(calls) == 2:
            (project / "a.py").unlink()
            (project / "z.py").write_text("new")
            (project / "sub/b.py").unlink()
            (project / "sub").rmdir()
            (project / "sub").write_text("a file now")
        return copied(path, target, mode)

    monkeypatch.setattr(module, "_copied", slow)
    found = taken(snapshots, project)
    kept = snapshots.tree(found)
    assert {p.name: p.read_text() for p in kept.iterdir()} == {"z.py": "new", "sub": "a file now"}


@pytest.mark.accepts("B20")
def test_what_changes_while_it_is_read_is_read_again(
    snapshots: Snapshots, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stoker.store.taking as module

    copied, calls = module._copied, list[bytes]()

    def slow(path: bytes, target: bytes, mode: str) -> tuple[str, int]:
        found = copied(path, target, mode)
        if path.endswith(b"a.py") and len(calls) < 3:
            calls.append(path)
            # Size and time as before: the change still shows.
            before = os.stat(path)
            Path(os.fsdecode(path)).write_text("bcd"[len(calls) - 1])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return found

    monkeypatch.setattr(module, "_copied", slow)
    assert (snapshots.tree(taken(snapshots, project)) / "a.py").read_text() == "d"
    (project / "a.py").write_text("0")

    def restless(path: bytes, target: bytes, mode: str) -> tuple[str, int]:
        found = copied(path, target, mode)
        Path(os.fsdecode(path)).write_text(str(time.monotonic_ns()))
        return found

    monkeypatch.setattr(module, "_copied", restless)
    with pytest.raises(UsageError, match=r"do not hold still: a\.py changed each of 5 times"):
        snapshots.take(project, max_bytes=MOST)
    assert len(snapshots.here()) == 1


def test_what_lies_beyond_a_link_is_neither_taken_nor_touched(
    snapshots: Snapshots, project: Path, tmp_path: Path
) -> None:
    """git goes on listing the files of a folder in whose place a link came."""
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=project, check=True)
    big = tmp_path / "big"
    (project / "sub").rename(big)
    (project / "sub").symlink_to(big)
    for _ in range(2):
        tree_of = snapshots.tree(taken(snapshots, project))
        assert sorted(os.listdir(tree_of)) == ["a.py", "sub"]
        assert (tree_of / "sub").is_symlink()
        assert (big / "b.py").read_text() == "b"


def test_a_file_called_git_is_no_content(snapshots: Snapshots, project: Path) -> None:
    """A submodule or a worktree below a folder that is no repository; no push ever moves it."""
    before = taken(snapshots, project)
    (project / "sub/.git").write_text("gitdir: /elsewhere")
    assert taken(snapshots, project) == before


def test_git_facts_and_what_is_left_out(snapshots: Snapshots, project: Path) -> None:
    plain = snapshots.take(project, max_bytes=MOST)
    assert (plain.commit, plain.changes, plain.ignored, plain.files, plain.bytes) == (None, None, None, 2, 2)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=project, check=True)
    (project / ".gitignore").write_text("*.log\nbuild/\n")
    assert snapshots.take(project, max_bytes=MOST).commit is None
    subprocess.run([*git, "add", "."], cwd=project, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], cwd=project, check=True)
    clean = snapshots.take(project, max_bytes=MOST)
    assert (len(clean.commit or ""), clean.changes, clean.ignored) == (40, 0, 0)
    (project / "build").mkdir()
    for name in ("x.log", "build/1", "build/2", "id_rsa", "new.py"):
        (project / name).write_text("1")
    found = snapshots.take(project, max_bytes=MOST)
    assert (found.ignored, found.secrets, found.changes) == (2, ("id_rsa",), 1)


def test_the_store_itself_is_no_part_of_a_snapshot(project: Path) -> None:
    """To read its files would cost this process all locks on them: it would look at an old store for ever."""
    own = open_store(f"sqlite:///{project}/own.db")
    try:
        (project / "other.db").write_text("of the project")
        seen = own.snapshots.take(project, max_bytes=MOST)
        assert (project / "own.db-wal").exists()
        kept = {path.name for path in own.snapshots.tree(seen.digest).rglob("*") if path.is_file()}
        assert kept == {"a.py", "b.py", "other.db"}
        again = "import sys; from stoker.store import open_store; s = open_store(sys.argv[1]); s.jobs(); s.close()"
        subprocess.run([sys.executable, "-c", again, f"sqlite:///{project}/own.db"], check=True)
        assert (project / "own.db-wal").exists(), "who closes it last tidies up: this one is not the last"
    finally:
        own.close()


def test_what_cannot_be_taken_is_one_sentence(snapshots: Snapshots, project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has more than 1 bytes"):
        snapshots.take(project, max_bytes=1)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="there is nothing to take"):
        snapshots.take(empty, max_bytes=MOST)
    assert not list(snapshots.root.glob(".new-*"))
    snapshots.root.rmdir()
    snapshots.root.write_text("a file")
    with pytest.raises(StokerError, match="is not a folder"):
        snapshots.take(project, max_bytes=MOST)


def test_only_what_no_job_of_any_store_uses_is_cleared(snapshots: Snapshots, project: Path) -> None:
    digests = []
    for text in ("1", "2", "3", "4"):
        (project / "a.py").write_text(text)
        digests.append(taken(snapshots, project))
    snapshots.use(digests[0], "sqlite:///one", "here-1")
    snapshots.use(digests[1], "sqlite:///one", "gone-1")
    snapshots.use(digests[2], "sqlite:///other", "gone-1")
    snapshots.use(digests[3], "sqlite:///one", "gone-2")
    for digest in digests[:3]:
        os.utime(snapshots.root / digest, (time.time() - 3600,) * 2)
    assert [d for d, _ in snapshots.clear("sqlite:///one", ["here-1"], 0, dry_run=True)] == [digests[1]]
    assert len(snapshots.here()) == 4
    # The file that only this one had; the other is shared.
    assert snapshots.clear("sqlite:///one", ["here-1"], 0)[0][0] == digests[1]
    # The newest is too young.
    assert snapshots.here() == {digests[0], digests[2], digests[3]}
    with pytest.raises(UsageError, match="is not on this machine"):
        snapshots.use(digests[1], "sqlite:///one", "a-1")


@pytest.mark.accepts("V35")
def test_data_is_brought_from_where_this_machine_read_it_while_it_is_there(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    digest, mine = "d" * 64, tmp_path / "mnt" / "x"
    snapshots.root.mkdir()

    def sent(host: str, folder: Path) -> str:
        order = {"order": "start", "spec": {"dataset": {"digest": digest, "host": host, "folder": str(folder)}}}
        store = SimpleNamespace(snapshots=snapshots, checkpoints=SimpleNamespace(files=snapshots))
        needed = plan.needed_snapshots({"n1": {"orders": [order]}}, store)
        return str(needed["n1"][digest])

    mine.mkdir(parents=True)
    snapshots.note_data(digest, mine)
    assert snapshots.data_here() == {digest}
    # The job was submitted elsewhere: what lies under that name here is something else.
    assert sent("elsewhere", tmp_path) == str(mine)
    assert sent(platform.node(), tmp_path) == str(tmp_path)
    assert sent(platform.node(), tmp_path / "moved") == str(mine)
    mine.rmdir()
    assert snapshots.data_here() == frozenset()
