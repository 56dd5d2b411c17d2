# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ran before with the same code, data and parameters is not run again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, Said
from testbed import PlainNode

Stoker = Callable[..., Cli]


@pytest.mark.accepts("V36")
def test_the_same_code_data_and_parameters_run_once_unless_forced(
    stoker: Stoker, node: PlainNode, tmp_path: Path
) -> None:
    cli = stoker(node)
    project, ran = tmp_path / "proj", tmp_path / "ran"
    project.mkdir()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / ".gitignore").write_text("results\n")
    (project / "train.sh").write_text(f'echo "$1 $LR" >> {ran}; mkdir results; echo "$1" > results/out; exit $2\n')

    def run(*argv: str, options: tuple[str, ...] = ()) -> Said:
        given = ("--snapshot", "--project", str(project), "--pull", "results", "--cached", *options)
        said = cli("run", *given, "--follow", "--", "sh", "train.sh", *argv)
        assert said.code == int(argv[1] != "0"), said
        return said

    def count() -> int:
        return len(ran.read_text().splitlines())

    first = run("a", "0", options=("--env", "LR=1"))
    assert ("cached" not in first.err, count()) == (True, 1)
    hit = run("a", "0", options=("--env", "LR=1", "--name", "other", "--timeout", "1h"))
    assert count() == 1
    (job,) = [each["id"] for each in cli("jobs", "--json").json()["jobs"]]
    assert f"cached: result of {job}" in hit.err
    assert "--force" in hit.err
    run("a", "0", options=("--env", "LR=2"))
    run("b", "0", options=("--env", "LR=1"))
    assert count() == 3, "other parameters"
    run("a", "0", options=("--env", "LR=1", "--data", "imagenet"))
    assert count() == 4, "other data"
    forced = run("a", "0", options=("--env", "LR=1", "--force"))
    assert ("cached" not in forced.err, count()) == (True, 5)
    for expected in (6, 7):
        run("c", "3")
        assert count() == expected, "what failed has no result"
    (project / "train.sh").write_text(f"echo new >> {ran}; exit $2\n")
    run("a", "0", options=("--env", "LR=1"))
    assert count() == 8, "other code"
    refused = cli("run", "--cached", "--", "true")
    assert (refused.code, "which files it runs with is not known" in refused.err) == (2, True), refused


@pytest.mark.accepts("V36")
def test_a_result_that_is_not_there_any_more_is_none(stoker: Stoker, node: PlainNode, tmp_path: Path) -> None:
    cli = stoker(node)
    project, ran = tmp_path / "proj", tmp_path / "ran"
    project.mkdir()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / ".gitignore").write_text("out\n")
    (project / "train.sh").write_text(f"echo $LR >> {ran}; mkdir -p out; echo lr=$LR > out/r.txt\n")
    result = project / "out" / "r.txt"

    def run(rate: int, *options: str) -> Said:
        given = ("--snapshot", "--project", str(project), "--cached", "--env", f"LR={rate}", *options)
        said = cli("run", *given, "--follow", "--", "sh", "train.sh")
        assert said.code == 0, said
        return said

    def count() -> int:
        return len(ran.read_text().splitlines())

    pull = ("--pull", "out")
    run(1, *pull)
    shutil.rmtree(result.parent)
    said = run(1, *pull)
    assert (result.read_text(), count(), "1 file fetched again" in said.err) == ("lr=1\n", 1, True), said
    run(2, *pull)
    said = run(1, *pull)
    assert (result.read_text(), count(), "newer than its results" in said.err) == ("lr=1\n", 3, True), said
    run(1)
    assert count() == 3, "its node has what the job made"
    shutil.rmtree(node.state_dir / "jobs")
    said = run(1)
    assert (count(), "is gone" in said.err) == (4, True), said
    shutil.rmtree(node.state_dir / "jobs")
    given = ("--snapshot", "--project", str(project), "--cached", "--env", "LR=1", *pull)
    said = cli("run", *given, "--follow", "--", "sh", "train.sh")
    assert (said.code, count()) == (0, 4), said
    assert "cached: result of" in said.out + said.err, "the files are here as they came"
