# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's way to a node within another command, and its results back; and which project that is."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli, until
from testbed import Bed, PlainNode

Stoker = Callable[..., Cli]
WORK = "cat in.txt; mkdir -p results; cp in.txt results/out.txt; echo x > other; exit $0"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one file, and results that git ignores."""
    folder = tmp_path / "proj"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / "in.txt").write_text("input\n")
    (folder / ".gitignore").write_text("results/\nother\n")
    return folder


@pytest.fixture
def state_home(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is remembered in this test is not known in others."""
    home = bed.new_folder("s")
    monkeypatch.setenv("STOKER_STATE_HOME", str(home))
    return home


def at(cli: Cli, folder: Path) -> Cli:
    """The same command line, called in another folder."""
    cli.folder = folder
    return cli


@pytest.mark.accepts("D27")
def test_results_come_by_themselves_once_or_the_answer_names_the_command(
    stoker: Stoker, node: PlainNode, project: Path
) -> None:
    cli = at(stoker(node), project)
    pulled = ("--on", "n1", "--sync", "--pull", "results", "--pull", "absent")
    failed = cli.run("sh", "-c", WORK, "3", options=pulled)
    row = cli.job(failed)
    assert (row["workdir"], row["results"]["fetched_at"]) == (str(node.home / "proj"), None)
    said = cli("wait", failed)
    assert (said.code, (project / "results/out.txt").read_text()) == (1, "input\n")
    assert not (project / "other").exists()
    assert f"{failed}: 1 file fetched from n1:{node.home}/proj to {project}" in said.err
    assert f"{failed}: there is no absent in {node.home}/proj on the node" in said.err
    # Once: what became of it here afterwards stays.
    shutil.rmtree(project / "results")
    assert cli("wait", failed).code == 1
    assert cli("dispatch").code == 0
    assert not (project / "results").exists()

    named = cli.run("sh", "-c", WORK, "0", options=("--on", "n1", "--sync"))
    said = cli("wait", named)
    (command,) = re.findall(r"results: (stoker sync pull .*)", said.out)
    assert not (project / "results").exists()
    assert cli(*shlex.split(command)[1:]).code == 0
    assert (project / "results/out.txt").exists()
    assert (project / "other").exists()


@pytest.mark.accepts("D27")
@pytest.mark.parametrize("by", ["follow", "logs", "dispatch", "snapshot", "api"])
def test_whoever_sees_the_end_fetches_the_results(stoker: Stoker, node: PlainNode, project: Path, by: str) -> None:
    cli = at(stoker(node), project)
    options = ("--on", "n1", "--snapshot" if by == "snapshot" else "--sync", "--auto-pull")
    go = node.home / "go"
    argv = ("sh", "-c", f"until test -e {go}; do sleep 0.1; done; {WORK}", "0")
    if by == "follow":
        go.touch()
        said = cli("run", *options, "--follow", "--", *argv)
        assert (said.code, said.out) == (0, "input\n"), said
    else:
        job = cli.run(*argv, options=options)
        assert not (project / "results").exists()
        go.touch()
        until(lambda: list(node.state_dir.glob(f"jobs/{job}/1/exit.json")), "its end")
        if by == "logs":
            assert cli("logs", "-f", job).code == 0
        elif by == "dispatch":
            assert "job.results" in cli("dispatch").out
        elif by == "snapshot":
            assert cli("wait", job).code == 0
        else:
            from stoker import Fleet

            with Fleet(cli.inventory, store_url=cli.env["STOKER_STORE_URL"]) as fleet:
                assert fleet.jobs[job].wait(60).view.results.files > 0
    assert (project / "results/out.txt").read_text() == "input\n"
    assert (project / "other").exists()


@pytest.mark.accepts("D27")
def test_results_that_cannot_be_fetched_are_due_until_they_can(
    stoker: Stoker, node: PlainNode, project: Path, tmp_path: Path
) -> None:
    cli = at(stoker(node), project)
    job = cli.run("sh", "-c", WORK, "0", options=("--on", "n1", "--sync", "--pull", "results"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rsync").write_text("#!/bin/sh\necho no luck >&2\nexit 12\n")
    (tmp_path / "bin/rsync").chmod(0o755)
    without = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "STOKER_LAUNCHER": "off"}
    said = cli("wait", job, env=without)
    assert (said.code, "could not be fetched: rsync failed with code 12: no luck" in said.err) == (1, True), said
    assert "succeeded" in said.out
    assert "no luck" in cli.job(job)["results"]["problem"]
    # What nobody else has is not cleared away unasked.
    kept = cli("clean", "--older-than", "0s", "--json").json()
    assert (kept["removed"], kept["unfetched"]) == ([], [job])
    assert cli("wait", job).code == 0
    assert (project / "results/out.txt").exists()
    gone = cli("clean", "--older-than", "0s", "--json").json()
    assert [entry["job"] for entry in gone["removed"]] == [job]


@pytest.mark.accepts("D27")
def test_results_of_any_size_come_and_what_looks_secret_is_named(
    stoker: Stoker, node: PlainNode, project: Path
) -> None:
    cli = at(stoker(node), project)
    make = "mkdir -p results; truncate -s 600M results/big; echo 1 > results/id_map"
    job = cli.run("sh", "-c", make, options=("--on", "n1", "--sync", "--pull", "results"))
    said = cli("wait", job)
    assert said.code == 0, said
    assert (project / "results/big").stat().st_size == 600 * 1024 * 1024
    assert f"{job}: left there, may hold secrets: results/id_map (next: stoker sync pull n1 results" in said.err
    assert "results/id_map" in cli.job(job)["results"]["problem"]


@pytest.mark.accepts("D27")
def test_results_that_were_pulled_by_hand_are_due_no_longer(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = at(stoker(node), project)
    job = cli.run("sh", "-c", WORK, "0", options=("--on", "n1", "--sync", "--pull", "results"))
    until(lambda: cli.job(job, "--live")["state"] == "succeeded", "its end")
    assert cli.job(job)["results"]["fetched_at"] is None
    assert cli("sync", "pull", "n1", "other", "--remote", str(node.home / "proj")).code == 0
    assert cli.job(job)["results"]["fetched_at"] is None, "these are not the results"
    assert cli("sync", "pull", "n1", "results", "--remote", str(node.home / "proj")).code == 0
    assert cli.job(job)["results"]["fetched_at"] is not None


@pytest.mark.accepts("D27")
def test_a_push_that_fails_leaves_no_job(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = at(stoker(node), project)
    (node.home / "proj").write_text("a file where the folder belongs")
    said = cli("run", "--on", "n1", "--sync", "--", "touch", "ran")
    assert (said.code, "the push failed, and nothing was started" in said.err) == (1, True), said
    assert cli("jobs", "--json").json()["jobs"] == []
    said = cli("run", "--sync", "--snapshot", "--", "true")
    assert (said.code, said.err.count("\n")) == (2, 1)


@pytest.mark.accepts("D18")
def test_a_template_pushes_starts_and_fetches(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = at(stoker(node), project)
    command = 'cat in.txt > "lr-$0"; mkdir -p results; echo "$0" > results/lr'
    assert cli("template", "save", "t", "-p", "lr=3", "--", "sh", "-c", command, "{{lr}}").code == 0
    said = cli("template", "run", "t", "-p", "lr=1e-3", "--sync", "--on", "n1", "--json")
    assert said.code == 0, said
    assert (node.home / "proj/in.txt").exists()
    job = said.json()["job"]["id"]
    assert cli("wait", job).code == 0
    assert (project / "results/lr").read_text() == "1e-3\n"
    assert (project / "lr-1e-3").read_text() == "input\n"


@pytest.mark.accepts("D40")
def test_exec_pushes_runs_and_fetches_whatever_the_code_is(stoker: Stoker, node: PlainNode, project: Path) -> None:
    cli = at(stoker(node), project)
    said = cli("exec", "--sync", "--pull", "results", "n1", "--", "sh", "-c", WORK, "7")
    assert (said.code, said.out) == (7, "input\n"), said
    assert (project / "results/out.txt").read_text() == "input\n"
    assert not (project / "other").exists()
    (project / "in.txt").write_text("second\n")
    said = cli("exec", "--sync", "n1", "--", "sh", "-c", WORK, "0")
    assert (said.code, said.out) == (0, "second\n")
    (command,) = re.findall(r"results: (stoker sync pull .*)", said.err)
    assert (project / "results/out.txt").read_text() == "input\n"
    assert cli(*shlex.split(command)[1:]).code == 0
    assert (project / "results/out.txt").read_text() == "second\n"
    # What cannot be pushed is not run; what cannot be fetched is no success.
    shutil.rmtree(node.home / "proj")
    (node.home / "proj").write_text("a file where the folder belongs")
    said = cli("exec", "--sync", "n1", "--", "touch", str(node.home / "ran"))
    assert (said.code, "the push failed" in said.err) == (1, True), said
    assert not (node.home / "ran").exists()


@pytest.mark.accepts("D40")
def test_every_mount_is_shown_with_its_room(stoker: Stoker, nodes: Callable[..., list[PlainNode]]) -> None:
    node, away = nodes(2)
    cli = stoker(node, away)
    away.down()
    said = cli("disk", "n1", "--warn", "0.01", "--json")
    assert said.code == 0
    lines = subprocess.run(["df", "-B1", "--output=target,size,used,avail", "/"], capture_output=True, text=True).stdout
    target, size, used, avail = lines.splitlines()[1].split()
    (root,) = [mount for mount in said.json()["mounts"] if mount["mount"] == target]
    assert root["total"] == int(size)
    assert abs(root["used"] - int(used)) + abs(root["free"] - int(avail)) < 500e6
    assert root["used_pct"] == pytest.approx(100 * int(used) / (int(used) + int(avail)), abs=1)
    assert root["full"] is True
    assert "almost full" in cli("disk", "n1", "--warn", "0.01").out
    assert cli("disk", "n1", "--warn", "0.01", "--strict").code == 1
    calm = cli("disk", "n1", "--warn", "100")
    assert (calm.code, "almost full" in calm.out) == (0, False)
    both = cli("disk")
    assert (both.code, "n1" in both.out, "n2  disks unknown: it cannot be reached" in both.out) == (1, True, True)
    assert cli("disk", "--warn", "0").code == 2


@pytest.mark.accepts("D28")
def test_the_last_project_is_used_and_said(stoker: Stoker, node: PlainNode, project: Path, state_home: Path) -> None:
    cli = stoker(node)
    said = cli("exec", "n1", "--sync", "--project", str(project), "--", "cat", "in.txt")
    assert (said.code, said.out, "the last one named" in said.err) == (0, "input\n", False), said
    told = f"project proj: {project}, the last one named (--project says another)\n"
    for words in (["sync", "push", "n1"], ["exec", "n1", "--sync", "--", "cat", "in.txt"],
                  ["run", "--on", "n1", "--sync", "--", "cat", "in.txt"]):  # fmt: skip
        said = cli(*words)
        assert (said.code, told in said.err) == (0, True), said
    # Per user, not per store or inventory; another user has another memory.
    other = stoker(node)
    assert told in other("sync", "diff", "n1").err
    apart = other("sync", "diff", "n1", env={"STOKER_STATE_HOME": f"{state_home}2"})
    assert "the last one named" not in apart.err
    shutil.rmtree(f"{state_home}2")
    # A command that is about no project does not become one.
    said = cli("exec", "n1", "--", "pwd")
    assert (said.out, said.err) == (f"{node.home}\n", "")


def test_a_long_push_shows_how_far_it_is(stoker: Stoker, node: PlainNode, project: Path, tmp_path: Path) -> None:
    cli = at(stoker(node), project)
    (project / "weights").write_bytes(random.Random(6).randbytes(10_000_000))
    (tmp_path / "rsync").write_text(f'#!/bin/sh\nexec {shutil.which("rsync")} --bwlimit=1500k "$@"\n')
    (tmp_path / "rsync").chmod(0o755)
    slow = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STOKER_LAUNCHER": "off", "TERM": "xterm", "COLUMNS": "120"}
    said = on_a_terminal(cli, "sync", "push", "n1", env=slow)
    shares = [int(share) for share in re.findall(r"sending to n1 [█░]{20} (\d+) %", said)]
    assert shares, said
    assert shares == sorted(shares)
    assert 0 < max(shares) <= 100
    assert "weights" in said.rpartition("\x1b[K")[2] or "weights" in said
    assert (node.home / "proj/weights").read_bytes() == (project / "weights").read_bytes()


def on_a_terminal(cli: Cli, *words: str, env: dict[str, str]) -> str:
    """What a command shows whose standard error is a terminal."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stoker", *words], cwd=cli.folder, env={**os.environ, **cli.env, **env},
        stdin=subprocess.DEVNULL, stdout=there, stderr=there,
    )  # fmt: skip
    os.close(there)
    data = b""
    try:
        while select.select([here], [], [], 60)[0]:
            piece = os.read(here, 65536)
            data += piece
    except OSError:
        pass  # the other end was closed
    finally:
        os.close(here)
        if process.poll() is None:
            process.wait(30)
    assert process.returncode == 0, data
    return data.decode()
