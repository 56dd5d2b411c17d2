# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files belong to a project: git's own answer, less what .stokerignore and the rules for secrets leave out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import project_files
from ansible_collections.stoker.fleet.plugins.module_utils.project_files import choose, is_secret

ODD = [b"with space", b" lead", b"trail ", b"-rf", b"--delete", b"new\nline", b"#hash", b";semi", b"\xff\xfe", b"tab\t",
       b"back\\#012slash", "ünï/日本".encode(), b"{{ x }}", b"a:b", b"~", b"*", b"[x]", b"quote'\""]  # fmt: skip


def write(folder: Path, *names: bytes | str) -> None:
    for name in names:
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"content of " + os.path.basename(path))


def git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with nested ignore files and negation."""
    folder = tmp_path / "proj"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.log\nbuild/\n/data/*\n!/data/keep\n")
    write(folder, "a.py", "x.log", "build/out", "data/big", "data/keep", "sub/keep.log", "sub/deep/b.log", "sub/c.tmp")
    (folder / "sub/.gitignore").write_text("!keep.log\n*.tmp\n")
    write(folder, "tracked.log", "gone.py", *ODD)
    git(folder, "add", "-f", "tracked.log", "gone.py")
    (folder / "gone.py").unlink()
    return folder


def listed(folder: Path) -> set[bytes]:
    return set(choose(os.fsencode(folder)).names)


@pytest.mark.accepts("V03", "V12")
def test_what_is_sent_is_what_git_lists(project: Path) -> None:
    said = set(git(project, "ls-files", "-co", "--exclude-standard", "-z").split(b"\0")) - {b"", b"gone.py"}
    assert listed(project) == said
    assert said == {b".gitignore", b"sub/.gitignore", b"a.py", b"data/keep", b"sub/keep.log", b"tracked.log", *ODD}
    # Of a folder within the repository, only what is in there.
    assert listed(project / "sub") == {b".gitignore", b"keep.log"}


@pytest.mark.accepts("V03", "V12")
def test_secrets_stay_and_are_named(project: Path) -> None:
    secrets = {
        b".env",
        b"conf/.env.production",
        b"tls/Server.PEM",
        b"id_ed25519",
        b"id_work",
        b".netrc",
        b".ssh/config",
    }
    write(project, *secrets, "id_ed25519.pub", "id_map.py", "environment.yml", "src/.envy")
    git(project, "add", "-f", ".env")
    chosen = choose(os.fsencode(project))
    assert set(chosen.secrets) == secrets
    assert not secrets & set(chosen.names)
    assert {b"id_ed25519.pub", b"id_map.py", b"environment.yml", b"src/.envy"} <= set(chosen.names)
    assert secrets <= set(choose(os.fsencode(project), with_secrets=True).names)


def test_a_stokerignore_leaves_out_more_also_of_what_is_committed(project: Path) -> None:
    (project / ".stokerignore").write_text("/tracked.log\nsub/\n*.py\n!a.py\n-rf\n")
    left = {b".gitignore", b".stokerignore", b"a.py", b"data/keep", *ODD} - {b"-rf"}
    assert listed(project) == left


def test_without_a_repository_everything_is_sent_but_what_stokerignore_names(tmp_path: Path) -> None:
    write(tmp_path, "a", "d/.gitignore", "d/b.log", "data/x", *ODD)
    # What an interrupted run left is not half a file to send.
    write(tmp_path, ".stoker-partial/a", "d/.stoker-partial/b.log")
    (tmp_path / "d/.gitignore").write_text("*.log\n")
    (tmp_path / "link").symlink_to("d")
    (tmp_path / ".stokerignore").write_text("data/\n")
    chosen = choose(os.fsencode(tmp_path))
    assert not chosen.git
    assert set(chosen.names) == {b"a", b"d/.gitignore", b"d/b.log", b"link", b".stokerignore", *ODD}


def test_a_repository_within_goes_by_its_own_rules(project: Path) -> None:
    inner = project / "lib"
    write(inner, "x.py", "y.o")
    git(inner, "init", "-q")
    (inner / ".gitignore").write_text("*.o\n")
    assert {name for name in listed(project) if name.startswith(b"lib")} == {b"lib/x.py", b"lib/.gitignore"}


def test_git_that_cannot_answer_is_not_taken_for_no_repository(project: Path) -> None:
    (project / ".git/index").write_bytes(b"not an index")
    with pytest.raises(project_files.ProjectError, match=r"git cannot say what belongs to .*index"):
        choose(os.fsencode(project))


def test_the_rules_for_secrets() -> None:
    assert all(
        map(
            is_secret,
            [
                b".ENV",
                b"a/prod.env",
                b"k.key",
                b"id_rsa.bak",
                b".aws/credentials",
                b"x/.pgpass",
                b"credentials",
                b"a/Credentials.json",
            ],
        )
    )
    assert not any(
        map(is_secret, [b"env.py", b"id_rsa.pub", b"ids", b"keys.py", b"pem/readme", b"a.envelope", b"credentials.py"])
    )
