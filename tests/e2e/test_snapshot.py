# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job runs the files that it was submitted with, whatever becomes of the folder that they came from."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, Said
from testbed import Bed, PlainNode

from stoker.store import open_store

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
    assert f"1 ignored by git, commit {commit[:7]} +5 changes" in said.err
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
    assert f"commit {commit[:7]} +5 changes" in shown
    again = cli("retry", job["id"], "--json").json()["job"]
    assert again["snapshot"] == job["snapshot"]
    assert cli("wait", again["id"]).code == 0
    assert cli("logs", again["id"]).out.startswith("old submitted ")


def test_a_job_has_a_copy_of_its_own_and_what_is_the_same_is_there_once(
    stoker: Stoker, node: PlainNode, project: Path
) -> None:
    cli = stoker(node)
    cli.folder = project
    spoil = "echo spoilt > data/in.txt; rm .gitignore; echo new > new; chmod 600 train.py; cat data/in.txt"
    first = submit(cli, "sh", "-c", spoil).json()["job"]
    assert cli("wait", first["id"]).code == 0
    there = node.state_dir / "snapshots" / first["snapshot"]["digest"]
    assert (there / "data/in.txt").read_text() == "one"
    assert sorted(path.name for path in there.iterdir()) == sorted(
        [".gitignore", "data", "link", "odd \udcff\n{{ x }}", "train.py"]
    )
    put(project, **{"train.py": "print('second')"})
    second = submit(cli, "cat", "data/in.txt", options=("--workdir", ".")).json()["job"]
    assert cli("wait", second["id"]).code == 0
    assert cli("logs", second["id"]).out == "one"
    newer = node.state_dir / "snapshots" / second["snapshot"]["digest"]
    assert (there / "data/in.txt").samefile(newer / "data/in.txt")
    assert not (there / "train.py").samefile(newer / "train.py")
    here = Path(os.environ["STOKER_STATE_HOME"]) / "snapshots"
    kept = [here / job["snapshot"]["digest"] / "tree" for job in (first, second)]
    assert (kept[0] / "data/in.txt").samefile(kept[1] / "data/in.txt")
    assert not (kept[0] / "train.py").samefile(kept[1] / "train.py")
    # The very same files again: nothing is sent, and nothing is kept twice.
    before = len(list(here.iterdir()))
    third = submit(cli, "true").json()["job"]
    assert (third["snapshot"]["digest"], len(list(here.iterdir()))) == (second["snapshot"]["digest"], before)


@pytest.mark.accepts("B20")
def test_a_job_that_waits_for_a_gpu_runs_what_was_submitted(stoker: Stoker, gpu_node: PlainNode, project: Path) -> None:
    cli = stoker(gpu_node)
    cli.folder = project
    go = gpu_node.home / "go"
    hold = cli.run("sh", "-c", f"until test -e {go}; do sleep 0.1; done", options=("--on", "n1", "--gpus", "2"))
    said = submit(cli, "python3", "train.py", options=("--gpus", "1"))
    job = said.json()["job"]
    assert (job["state"], job["waiting"]["held_by"]) == ("queued", [hold])
    put(project, **{"train.py": "print('new')", "data/in.txt": "edited"})
    go.touch()
    assert cli("wait", job["id"]).code == 0
    assert cli("logs", job["id"]).out.startswith("old one ")


def test_what_was_damaged_on_the_node_is_refused(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = stoker(node)
    cli.folder = project
    job = submit(cli, "true").json()["job"]
    assert cli("wait", job["id"]).code == 0
    (node.state_dir / "snapshots" / job["snapshot"]["digest"] / "data/in.txt").write_text("ond")
    again = cli("retry", job["id"], "--json").json()["job"]
    said = cli("wait", again["id"])
    assert said.code == 1
    row = cli.job(again["id"])
    assert (row["state"], row["reason"]) == ("failed", "start")
    assert "is not what was submitted any more" in said.out


def test_a_broken_way_to_the_node_leaves_the_job_for_a_later_round(
    stoker: Stoker, node: PlainNode, project: Path, tmp_path: Path
) -> None:
    cli = stoker(node)
    cli.folder = project
    (tmp_path / "rsync").write_text("#!/bin/sh\necho the way broke >&2\nexit 12\n")
    (tmp_path / "rsync").chmod(0o755)
    broken = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}
    said = cli("run", "--on", "n1", "--snapshot", "--json", "--", "cat", "data/in.txt", env=broken)
    job = said.json()["job"]
    assert (said.code, job["state"], job["confirmed"], "the way broke" in said.err) == (1, "starting", False, True)
    put(project, **{"data/in.txt": "edited"})
    assert cli("wait", job["id"]).code == 0
    assert cli("logs", job["id"]).out == "one"
    # What no later round can mend is an end.
    (tmp_path / "rsync").write_text("#!/bin/sh\necho No space left on device >&2\nexit 11\n")
    said = cli("run", "--on", "n1", "--snapshot", "--json", "--", "cat", "data/in.txt", env=broken)
    row = said.json()["job"]
    assert (row["state"], row["reason"]) == ("failed", "start")
    assert "No space left on device" in row["detail"]
    assert list(node.state_dir.glob("jobs/*/2")) == []


def test_another_controller_says_where_the_files_are(stoker: Stoker, node: PlainNode, project: Path, bed: Bed) -> None:
    cli = stoker(node)
    cli.folder = project
    node.down()
    job = submit(cli, "cat", "data/in.txt").json()["job"]
    node.start()
    other = {"STOKER_STATE_HOME": str(bed.new_folder("s"))}
    assert cli("dispatch", env=other).code == 0
    assert (cli.job(job["id"])["state"], list(node.state_dir.glob("jobs/*"))) == ("starting", [])
    fresh = cli("stop", job["id"], env=other)
    assert fresh.code == 0, fresh
    again = cli("retry", job["id"], env=other)
    assert (again.code, "is not on this machine; it was taken on" in again.err) == (2, True), again
    store = cli.env["STOKER_STORE_URL"]
    with open_store(store) as opened:
        row = opened.job(job["id"])
        assert row is not None
        waits = opened.add_job("waits", {**row.spec}, "n1")
    assert cli("dispatch", env=other).code == 0
    told = cli.job(waits.id)
    assert (told["state"], "is not on this machine but on" in told["detail"]) == ("queued", True)
    assert cli("wait", waits.id).code == 0
    assert cli("logs", waits.id).out == "one"


def test_snapshots_go_with_their_last_job(
    stoker: Stoker, node: PlainNode, project: Path, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_STATE_HOME", str(bed.new_folder("s")))
    cli = stoker(node)
    cli.folder = project
    over = submit(cli, "true").json()["job"]
    assert cli("wait", over["id"]).code == 0
    put(project, **{"train.py": "print('second')"})
    waiting = submit(cli, "sleep", "600").json()["job"]
    there, here = node.state_dir / "snapshots", Path(os.environ["STOKER_STATE_HOME"]) / "snapshots"
    digests = {job["snapshot"]["digest"] for job in (over, waiting)}

    def age() -> None:
        for place in (*there.iterdir(), *here.iterdir()):
            os.utime(place, (time.time() - 7200,) * 2)

    age()
    assert cli("clean", "--older-than", "1h").code == 0
    assert {path.name for path in here.iterdir()} == {path.name for path in there.iterdir()} == digests
    said = cli("clean", "--older-than", "0", "--dry-run")
    assert "snapshots that no job uses, would be deleted: 1 here, 0 on the nodes" in said.out, said
    said = cli("clean", "--older-than", "0")
    assert "snapshots that no job uses, deleted: 1 here, 1 on the nodes" in said.out, said
    left = {waiting["snapshot"]["digest"]}
    assert {path.name for path in here.iterdir()} == {path.name for path in there.iterdir()} == left
    assert cli("stop", waiting["id"]).code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--snapshot", "--workdir", "/srv"], "with --snapshot it is a folder within the project's"),
        (["--snapshot", "--pull", "../x"], "is not a path within the folder of the job"),
        (["--pull", "x"], "there is no folder to fetch results from"),
        (["--snapshot", "--project", "nowhere"], "--project: there is no folder"),
        (["--snapshot"], "there is nothing to take"),
    ],
)
def test_bad_input_is_one_sentence_and_no_job(stoker: Stoker, node: PlainNode, words: list[str], sentence: str) -> None:
    cli = stoker(node)
    (cli.folder / ".stokerignore").write_text("*\n")
    said = cli("run", "--on", "n1", *words, "--", "true")
    assert (said.code, sentence in said.err, said.err.count("\n")) == (2, True, 1), said
    assert cli("jobs", "--json").json()["jobs"] == []
