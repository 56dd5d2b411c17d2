# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments on the node side: which are kept for jobs that are still to come, and a job whose own is gone."""

from __future__ import annotations

import json
import shutil
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
