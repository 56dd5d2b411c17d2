# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench runs, says what it promises, and leaves nothing. No absolute times: only ratios, with wide margins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from testbed.processes import all_processes, environment

ROOT = Path(__file__).resolve().parents[2]
TABLES = [
    "look-1",
    "start-1",
    "telemetry-1",
    "start-2",
    "start-up",
    "queue",
    "listing",
    "refresh",
    "log",
    "scan",
    "sync",
    "assistant",
    "jsonl-2000",
    "tfevents-1",
    "tfevents-8",
    "wandb",
    "report",
    "tokens",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Report:
    """What one quick run printed, and wrote as JSON."""

    def __init__(self, printed: str, document: dict[str, Any]) -> None:
        self.printed = printed
        self.document = document
        self.tables = {table["id"]: table for table in document["tables"]}

    def row(self, table: str, start: str) -> dict[str, Any]:
        """The one row whose name begins so."""
        (row,) = (row for row in self.tables[table]["rows"] if row["name"].startswith(start))
        return row


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    written = tmp_path_factory.mktemp("bench") / "figures.json"
    argv = [sys.executable, "-m", "tests.bench", "--quick", "--json", str(written)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    return Report(done.stdout, json.loads(written.read_text()))


def test_every_figure_is_there_and_compared(report: Report) -> None:
    assert list(report.tables) == TABLES
    assert report.document["schema"] == "stoker.bench/1"
    for table in report.tables.values():
        by, rows = table["by"], [row for row in table["rows"] if table["by"] in row]
        assert len(rows) >= 2
        for row in rows:
            assert row[by] > 0
            assert all(ratio > 0 for ratio in row["ratios"].values())
        assert table["title"] in report.printed
    assert max(len(line) for line in report.printed.splitlines()) <= 100


@pytest.mark.accepts("D32", "D33")
def test_a_look_at_twenty_jobs_of_a_node_is_one_remote_command(report: Report) -> None:
    assert report.row("refresh", "stoker")["sessions"] == 1
    assert report.row("refresh", "ssh true, 20 times")["sessions"] == 20


@pytest.mark.accepts("B14")
def test_a_warm_call_takes_less_than_a_cold_one(report: Report) -> None:
    assert report.row("look-1", "stoker, warm")["cpu_s"] < report.row("look-1", "stoker, cold")["cpu_s"]
    assert report.row("look-1", "Fleet")["cpu_s"] < report.row("look-1", "stoker, cold")["cpu_s"]


@pytest.mark.accepts("D33", "B14")
def test_a_list_from_the_store_takes_less_than_to_import_ansible(report: Report) -> None:
    imported = "python -c 'import ansible.cli'"
    assert report.row("start-up", "Fleet.jobs.list()")["ratios"][imported] < 0.5
    assert report.row("start-up", "stoker jobs, 100")["ratios"][imported] < 2.5
    assert report.row("start-up", "stoker --version")["ratios"][imported] < 0.5


@pytest.mark.accepts("B15")
def test_an_assistant_pays_less_than_the_limits(report: Report) -> None:
    listing, answer = "limit: all tools listed", "limit: text of a usual answer"
    for row in report.tables["assistant"]["rows"]:
        if "tokens_json" in row:
            assert row["ratios"][answer] < 1, row["name"]
        elif not row["name"].startswith("limit"):
            assert row["ratios"][listing] < 1, row["name"]


def test_the_scanner_keeps_up_with_grep(report: Report) -> None:
    assert report.row("scan", "scanner, its own")["ratios"]["grep -c -P, the same patterns"] > 0.5


def test_nothing_is_left(report: Report) -> None:
    folder = report.document["folder"]
    assert not Path(folder).exists()
    marks = (f"STOKER_STATE_HOME={folder}/".encode(), f"STOKER_TESTBED_NODE={folder}/".encode())
    left = [p for p in all_processes().values() if any(e.startswith(marks) for e in environment(p.pid))]
    assert left == []
