# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The round as Ansible plays it: plan, reconcile on the node (this machine), record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.store import JobRow, Store, open_store

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def play(tmp_path: Path, state_home: Path) -> Play:
    """A round over two nodes: here, which is this machine, and gone, which nobody answers for."""
    from ansible_collections.stoker.fleet.plugins import module_utils

    collections = Path(str(next(iter(module_utils.__path__)))).parents[4]
    inventory = {
        "here": {
            "ansible_connection": "local",
            "stoker_state_dir": str(tmp_path / "node"),
            "stoker_launch": "subreaper",
        },
        "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1},
    }
    hosts = {name: {**variables, "ansible_python_interpreter": sys.executable} for name, variables in inventory.items()}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))

    def run(*arguments: str, round: dict[str, Any] | None = None, **env: str) -> subprocess.CompletedProcess[str]:  # noqa: A002
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")), "stoker.fleet.dispatch",
            "-i", str(tmp_path / "inventory.json"), "-e", json.dumps({"stoker_round": round or {}}), *arguments,
        ]  # fmt: skip
        settings = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **env}
        return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, cwd=tmp_path)

    return run


def until_over(play: Play, store: Store, job_id: str) -> JobRow:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        played = play()
        assert played.returncode == 0, played.stdout
        job = store.job(job_id)
        assert job is not None
        if job.finished:
            return job
    raise AssertionError(f"{job} is not over")


def test_a_round_starts_a_job_and_another_sees_its_end(play: Play) -> None:
    script = "echo 'one {{ 1 + 1 }} {% raw %} $HOME | `x` \"\\n ☃'; exit 3"
    with open_store() as store:
        job = until_over(play, store, store.add_job("a", {"script": script}, target="here", max_retries=1).id)
        assert (job.state, job.reason, job.exit_code, job.attempt) == ("dead", "code", 3, 2)
        said = subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout
        assert [store.read_log_copy(job.id, number) for number in (1, 2)] == [(0, said)] * 2


def test_a_node_that_does_not_answer_is_written_down_and_does_not_hold_up_the_others(play: Play) -> None:
    with open_store() as store:
        lost = store.add_job("a", {"argv": ["true"]}, target="gone")
        job = until_over(play, store, store.add_job("a", {"argv": ["true"]}, target="here").id)
        assert job.state == "succeeded"
        row, found = store.node("gone"), store.job(lost.id)
        assert row is not None
        assert found is not None
        assert found.state == "starting"
        assert row.unreachable_since is not None
        assert str(row.unreachable_message).startswith("Data could not be sent")


def test_all_nodes_unreachable_is_written_down_too(play: Play) -> None:
    with open_store() as store:
        store.add_job("a", {"argv": ["true"]}, target="gone")
        assert play().returncode == 0
        row = store.node("gone")
        assert row is not None
        assert row.misses == 1


def test_a_round_with_nothing_to_do_asks_nobody(play: Play) -> None:
    played = play()
    assert played.returncode == 0
    assert "WARNING" not in played.stdout + played.stderr
    assert "changed=0" in played.stdout


def test_check_mode_claims_nothing(play: Play) -> None:
    with open_store() as store:
        job = store.add_job("a", {"argv": ["true"]}, target="here")
        played = play("--check")
        assert played.returncode == 0, played.stdout
        assert store.job(job.id) == job
        assert store.nodes() == []


def test_jobs_are_read_back_from_the_node_by_adopting(play: Play, state_home: Path) -> None:
    with open_store() as store:
        job = until_over(play, store, store.add_job("a", {"argv": ["true"]}, target="here").id)
    for file in state_home.glob("stoker.db*"):
        file.unlink()
    assert play(round={"mode": "adopt", "nodes": ["here"]}).returncode == 0
    with open_store() as store:
        found = store.job(job.id)
        assert found is not None
        assert (found.uid, found.state, found.spec) == (job.uid, "succeeded", job.spec)


@pytest.mark.parametrize(
    ("asked", "env", "said"),
    [
        ({"mode": "dance"}, {}, "'dance' is not one of dispatch, observe, adopt"),
        ({"nodes": ["spark"]}, {}, "there is no node 'spark' in the inventory (next: stoker nodes lists them)"),
        ({}, {"STOKER_STORE_URL": "nonsense"}, "the store URL is not a database URL"),
    ],
)
def test_an_error_is_one_sentence(play: Play, asked: dict[str, Any], env: dict[str, str], said: str) -> None:
    played = play(round=asked, **env)
    assert played.returncode != 0
    assert said in played.stdout
    assert "Traceback" not in played.stdout + played.stderr


def test_without_the_python_package_it_says_what_to_install(play: Play, tmp_path: Path) -> None:
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "stoker.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'stoker'\", name='stoker')\n"
    )
    path = os.pathsep.join([str(tmp_path / "hide"), os.environ.get("PYTHONPATH", "")])
    played = play(PYTHONPATH=path)
    assert played.returncode != 0
    assert "the Python package stoker is needed on the controller (next: pip install stoker)" in played.stdout
