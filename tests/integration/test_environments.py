# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments on the node side: which are kept for jobs that are still to come, and a job whose own is gone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from testbed import PlainNode
from testbed.node_side import NodeSide


@pytest.fixture
def side(node: PlainNode) -> NodeSide:
    return NodeSide(node)


def installed(side: NodeSide, name: str) -> Path:
    """The folder of an environment, as an install leaves it; its Python says where it is."""
    folder = Path(side.state_dir, "environments", f"{name}-1")
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").write_text(f"#!/bin/sh\necho {name}\n")
    (folder / "bin/python").chmod(0o755)
    record = {
        "name": name, "build": "1", "folder": str(folder), "project": "/proj", "source": "requirements.txt",
        "tool": "pip", "python": "3.11", "started_at": 0, "elapsed_s": 1,
    }  # fmt: skip
    (folder.parent / f"{name}.json").write_text(json.dumps(record))
    return folder


def test_what_a_controller_still_needs_is_not_removed(side: NodeSide) -> None:
    wanted, other = installed(side, "aa"), installed(side, "bb")
    told = side.ask("environments", older_than_s=0, keep={str(wanted): ["train-1"]})
    assert [(e["name"], e["used_by"]) for e in told["environments"]] == [("aa", ["train-1"])]
    assert [e["name"] for e in told["removed_environments"]] == ["bb"]
    assert (wanted.is_dir(), other.exists()) == (True, False)


@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_a_job_whose_environment_is_gone_does_not_run_in_another(side: NodeSide, name: str) -> None:
    folder = installed(side, "aa")
    env = {name: str(folder), "PATH": f"{folder}/bin:/usr/local/bin:/usr/bin:/bin"}
    side.start("before", "python", env=env)
    assert side.wait("before")["state"] == "succeeded"
    assert side.log("before") == b"aa\n"
    shutil.rmtree(folder)
    # As a Python that is no matter whose: here one that would be found.
    side.start("after", "sh", "-c", "echo ran", env=env)
    seen = side.wait("after")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert seen["error"] == f"its environment {folder} is not there any more ({name})"
    assert side.log("after") == b""
    # Elsewhere it is the user's own business.
    side.start("own", "true", env={name: "/no/such/folder"})
    assert side.wait("own")["state"] == "succeeded"


@pytest.fixture
def project(node: PlainNode) -> Path:
    """A folder on the node, which gets uv: it is quick."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None, "uv belongs to what the tests install: make venv"
    (node.home / ".local/bin").mkdir(parents=True)
    (node.home / ".local/bin/uv").symlink_to(uv)
    folder = node.home / "proj"
    folder.mkdir()
    return folder


def test_a_job_that_brings_its_project_begins_when_that_has_what_it_needs(side: NodeSide, project: Path) -> None:
    (project / "requirements.txt").write_text("")
    asks = ("sh", "-c", 'echo "$VIRTUAL_ENV"; command -v python; echo "$PATH"')
    side.start("first", *asks, workdir="proj", environment=True, env={"PATH": "/usr/bin:/bin", "A": "b"})
    assert side.wait("first")["state"] == "succeeded"
    active, python, path = side.log("first").decode().splitlines()
    assert (python, path) == (f"{active}/bin/python", f"{active}/bin:/usr/bin:/bin")
    # The same again is not installed again, and while a job is in it, it is not removed.
    side.start("second", "sh", "-c", 'echo "$VIRTUAL_ENV"; sleep 600', workdir="proj", environment=True)
    side.wait("second", lambda seen: seen["state"] == "running" and side.log("second") != b"")
    assert side.log("second").decode().split() == [active]
    told = side.ask("environments", older_than_s=0)
    assert ([e["used_by"] for e in told["environments"]], told["removed_environments"]) == ([["second"]], [])
    side.stop("second")
    assert [e["folder"] for e in side.ask("environments", older_than_s=0)["removed_environments"]] == [active]


@pytest.mark.accepts("V11")
def test_what_cannot_be_installed_keeps_its_job_from_beginning(side: NodeSide, project: Path) -> None:
    (project / "requirements.txt").write_text("--no-index\nno-such-thing-at-all\n")
    side.start("train", "touch", "begun", workdir="proj", environment=True)
    seen = side.wait("train")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert seen["error"].startswith("the install of requirements.txt ended with 1: "), seen
    assert seen["error"].endswith("; stoker logs train shows what it said")
    # What the installer said is kept as the job's log.
    assert b"no-such-thing-at-all" in side.log("train")
    assert not (project / "begun").exists()
    side.start("nothing", "true", workdir=".", environment=True)
    assert "says nowhere what it needs" in side.wait("nothing")["error"]


def test_a_job_is_stopped_while_its_environment_is_installed(side: NodeSide, project: Path, tmp_path: Path) -> None:
    uv, hold = project.parent / ".local/bin/uv", tmp_path / "hold"
    uv.unlink()
    uv.write_text(f"#!/bin/sh\nwhile [ ! -e {hold} ]; do sleep 0.1; done\n")
    uv.chmod(0o755)
    (project / "requirements.txt").write_text("")
    side.start("train", "touch", "begun", workdir="proj", environment=True)
    words = "what its project needs is being installed: requirements.txt with uv"
    try:
        side.wait("train", lambda seen: words in seen["evidence"])
        side.stop("train")
        assert side.wait("train")["state"] == "cancelled"
        assert not (project / "begun").exists()
    finally:
        hold.touch()
