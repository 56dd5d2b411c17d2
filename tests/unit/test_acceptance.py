# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of acceptance rows: what counts as a passing test, and when CI fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROWS = "| id | feature |\n|---|---|\n| D01 | one | x |\n| D02 | two | x |\n| V01 | three | x |\n"

TESTS = """
import pytest

@pytest.mark.accepts("D01")
def test_one(): pass

@pytest.mark.accepts("D02")
@pytest.mark.parametrize("value", [1, 2])
def test_two(value): assert value == 1

@pytest.mark.accepts("D03", "D01")
@pytest.mark.skip(reason="no root")
def test_three(): pass

@pytest.fixture
def breaks_at_the_end():
    yield
    raise RuntimeError

@pytest.mark.accepts("D04")
def test_four(breaks_at_the_end): pass
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a real run over TESTS, in two processes."""
    tmp_path = tmp_path_factory.mktemp("rows")
    (tmp_path / "test_rows.py").write_text(TESTS)
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.acceptance", "-n", "2", "--rootdir", str(tmp_path)]
    command += ["-c", "/dev/null", "--acceptance-results", str(results), str(tmp_path / "test_rows.py")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return results


def check(tmp_path: Path, results: Path, done: str, *options: str) -> subprocess.CompletedProcess[str]:
    rows, marked = tmp_path / "rows.md", tmp_path / "done.txt"
    rows.write_text(ROWS + "| D03 | skipped | x |\n| D04 | torn down badly | x |\n")
    marked.write_text(done)
    command = [sys.executable, str(ROOT / "tests/acceptance.py"), *options]
    command += ["--rows", str(rows), "--done", str(marked), "--results", str(results)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.accepts("C37")
def test_ci_fails_for_a_row_marked_done_that_no_passing_test_names(tmp_path: Path, recorded: Path) -> None:
    good = check(tmp_path, recorded, "D01  # comment\n", "--check")
    assert (good.returncode, good.stdout) == (0, "✓ all 1 rows marked done have a passing test\n")
    for row, reason in {
        "D02": "failed: ",
        "D03": "skipped: ",
        "D04": "failed: ",
        "V01": "no test names it",
        "X99": "there is no such row",
    }.items():
        bad = check(tmp_path, recorded, f"D01 {row}", "--check")
        assert bad.returncode == 1, row
        assert f"{row} " in bad.stdout
        assert reason in bad.stdout


@pytest.mark.accepts("C37")
def test_nothing_recorded_fails(tmp_path: Path) -> None:
    assert check(tmp_path, tmp_path / "absent.json", "D01", "--check").returncode == 1


def test_the_report_names_open_rows_and_why(tmp_path: Path, recorded: Path) -> None:
    said = check(tmp_path, recorded, "D01 V01").stdout
    assert "D01" not in said
    assert "jobs on a node (D): 1 of 4" in said
    assert "V01  three  [must hold; no test names it]" in said
    assert "1 of 5 rows have a passing test; 2 are marked done" in said


def test_a_test_may_not_name_a_row_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text('import pytest\n@pytest.mark.accepts("D999")\ndef test_it(): pass\n')
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.acceptance",
        "-c",
        "/dev/null",
        str(tmp_path / "test_wrong.py"),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "D999" in ended.stderr
