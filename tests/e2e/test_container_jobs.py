# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container from the command line and from a playbook, on a node with a real Podman."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli import Cli
from plays import Plays
from testbed import PodmanNode
from testbed.podman import IMAGE

pytestmark = pytest.mark.root


@pytest.mark.accepts("C15")
def test_from_submit_to_result(stoker: Callable[..., Cli], podman_node: PodmanNode) -> None:
    cli = stoker(podman_node)
    podman_node.ssh("mkdir -p $HOME/data; echo told > $HOME/data/f")
    words = ("--on", "p1", "--container", IMAGE, "--mount", "~/data:/data:ro", "--shm", "8M", "--gpus", "1")
    said = cli("run", *words, "--follow", "--", "sh", "-c", "cat /data/f; env | grep -c TEST_GPU; exit 7")
    assert said.out == "told\n1\n", said
    (job,) = cli("jobs", "--json").json()["jobs"]
    assert (job["state"], job["exit_code"], job["container"]) == ("failed", 7, IMAGE)
    detail = cli("job", job["id"]).out
    assert f"container {IMAGE}" in detail, detail
    assert podman_node.containers() == []


@pytest.mark.accepts("C15")
def test_stop(stoker: Callable[..., Cli], podman_node: PodmanNode) -> None:
    cli = stoker(podman_node)
    job = cli.run("sleep", "641", options=("--on", "p1", "--container", IMAGE))
    said = cli("stop", job)
    assert said.code == 0, said
    assert cli.job(job)["state"] == "cancelled"
    assert podman_node.containers() == []


def test_a_node_whose_jobs_are_containers(
    inventory: Callable[..., Path], tmp_path: Path, podman_node: PodmanNode
) -> None:
    """Every job of the node is a container then; check mode starts nothing, and again changes nothing."""
    settings = {"stoker_backend": "container", "stoker_container_image": IMAGE, "stoker_container_engine": "podman"}
    plays = Plays(tmp_path, inventory([podman_node], groups={"fleet": ["p1"]}, group_vars=settings))
    tasks = """
- name: Start it
  stoker.fleet.job: &job
    id: by-play
    script: test -e /run/stoker/begin && echo inside; exit 3
  register: first
- name: Again
  stoker.fleet.job: *job
  register: again
- name: What it says
  stoker.fleet.job_log: {id: by-play, wait: 30}
  register: told
- name: Read-only, with more of everything
  stoker.fleet.job:
    id: by-play-2
    argv: [sh, -c, "touch /x || echo denied"]
    sandbox: container
    user: worker
    container:
      image: localhost/stoker-test:1
      workdir: /
      shm_bytes: 1048576
      mounts:
        - {source: /usr/share, target: /shared, read_only: true}
  register: second
- name: What that says
  stoker.fleet.job_log: {id: by-play-2, wait: 30}
  register: told2
"""
    checked = plays.run(tasks.split("- name: Again")[0], "--check").results["p1"]["first"]
    assert (checked["changed"], checked["job"]["state"]) == (True, "absent")
    results = plays.run(tasks).results["p1"]
    assert [results[name]["changed"] for name in ("first", "again", "second")] == [True, False, True]
    assert "inside" in results["told"]["content"]
    assert "denied" in results["told2"]["content"]
    assert podman_node.containers() == []


@pytest.mark.accepts("B20", "C15")
def test_a_snapshot_runs_in_a_container(stoker: Callable[..., Cli], podman_node: PodmanNode) -> None:
    cli = stoker(podman_node)
    project = cli.folder / "proj"
    project.mkdir()
    (project / "f").write_text("as submitted\n")
    words = ("--on", "p1", "--container", IMAGE, "--snapshot", "--project", str(project), "--pull", "out")
    job = cli.run("sh", "-c", "cat f; echo made > out", options=words)
    (project / "f").write_text("changed since\n")
    assert cli("wait", job).code == 0
    assert cli("logs", job).out == "as submitted\n"
    assert (project / "out").read_text() == "made\n"
