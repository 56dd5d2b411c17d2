# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job runs the files that it was submitted with, whatever becomes of the folder that they came from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, Said
from testbed import PlainNode

Stoker = Callable[..., Cli]
OLD = """
import pathlib
print('old', pathlib.Path('data/in.txt').read_text(), sorted(p.name for p in pathlib.Path().iterdir()))
"""


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        cwd=folder, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "proj"
    folder.mkdir()
    git(folder, "init", "-q")
    put(folder, **{"train.py": OLD, "data/in.txt": "one", ".gitignore": "*.log\n", "data/.gitignore": "!keep.log\n"})
    put(folder, **{"x.log": "ignored", "data/keep.log": "kept", ".env": "T=1"})
    (folder / "odd \udcff\n{{ x }}").write_text("odd")
    (folder / "link").symlink_to("data/in.txt")
    git(folder, "add", "train.py", "data/in.txt", ".gitignore")
    git(folder, "commit", "-qm", "first")
    return folder


def submit(cli: Cli, *argv: str, options: tuple[str, ...] = ()) -> Said:
    return cli("run", "--on", "n1", "--snapshot", *options, "--json", "--", *argv)


@pytest.mark.accepts("B20")
def test_what_runs_is_what_was_submitted(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    elsewhere, cli.folder = cli.folder, project
    commit = git(project, "rev-parse", "HEAD")
    put(project, **{"data/in.txt": "submitted"})
    node.down()
    said = submit(cli, "python3", "train.py")
    job = said.json()["job"]
    assert "✓ snapshot of 7 files" in said.err
    assert f"1 ignored by git, commit {commit[:7]} +6 changes" in said.err
    assert "left out, may hold secrets: .env" in said.err
    put(project, **{"train.py": "print('new')", "data/in.txt": "edited"})
    cli.folder = elsewhere
    shutil.rmtree(project)
    node.start()
    assert cli("wait", job["id"]).code == 0
    names = [".gitignore", "data", "link", "odd \udcff\n{{ x }}", "train.py"]
    assert cli("logs", job["id"]).out == f"old submitted {names!r}\n"
    shown = cli("job", job["id"]).out
    assert job["snapshot"]["digest"][:12] in shown
    assert f"commit {commit[:7]} +6 changes" in shown
    again = cli("retry", job["id"], "--json").json()["job"]
    assert again["snapshot"] == job["snapshot"]
    assert cli("wait", again["id"]).code == 0
    assert cli("logs", again["id"]).out.startswith("old submitted ")
