# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of docs/acceptance.md have a passing test.

As a pytest plugin it records how each test with ``@pytest.mark.accepts("D07")`` ended, in ``.acceptance.json``. As a
program it says which rows have no passing test; with ``--check`` it fails when that is one of docs/acceptance-done.txt.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "docs/acceptance.md"
DONE = ROOT / "docs/acceptance-done.txt"
RESULTS = ROOT / ".acceptance.json"
AREAS = {"D": "jobs on a node", "V": "rented instances", "C": "cluster", "R": "analysis", "B": "beyond"}

Results = dict[str, dict[str, Any]]  # test -> {"rows": [ids], "outcome": passed | failed | skipped}


def read_rows(path: Path) -> dict[str, str]:
    """The id and the feature of each row of the tables."""
    return dict(re.findall(r"^\| ([A-Z]\d+) \| ([^|]+?) \|", path.read_text(encoding="utf-8"), re.MULTILINE))


def read_done(path: Path) -> list[str]:
    """The ids that must have a passing test: words of the file, `#` starts a comment."""
    return [word for line in path.read_text().splitlines() for word in line.partition("#")[0].split()]


def read_results(path: Path) -> Results:
    """What the last runs recorded; nothing when there was none."""
    return json.loads(path.read_text())["tests"] if path.exists() else {}


def tests_of_rows(results: Results) -> dict[str, dict[str, str]]:
    """Row -> test -> outcome."""
    tests: dict[str, dict[str, str]] = defaultdict(dict)
    for test, result in results.items():
        for row in result["rows"]:
            tests[row][test] = result["outcome"]
    return tests


def passing(tests: Mapping[str, str]) -> bool:
    """A row stands when one of its tests passed and none failed; a skipped test proves nothing."""
    outcomes = set(tests.values())
    return "passed" in outcomes and "failed" not in outcomes


def why_not(tests: Mapping[str, str]) -> str:
    """Why a row does not stand, in a few words."""
    for outcome in ("failed", "skipped"):
        named = [test for test, result in tests.items() if result == outcome]
        if named:
            return f"{outcome}: {', '.join(sorted(named)[:3])}" + (
                f" and {len(named) - 3} more" if len(named) > 3 else ""
            )
    return "no test names it"


def unknown(ids: Iterable[str], rows: Mapping[str, str]) -> list[str]:
    """The ids that are no row."""
    return sorted(set(ids) - set(rows))


def report(rows: Mapping[str, str], done: list[str], results: Results) -> None:
    """Print the rows without a passing test, by area."""
    tests = tests_of_rows(results)
    for letter, area in AREAS.items():
        ids = [row for row in rows if row[0] == letter]
        open_rows = [row for row in ids if not passing(tests.get(row, {}))]
        print(f"{area} ({letter}): {len(ids) - len(open_rows)} of {len(ids)}")
        for row in open_rows:
            mark = "must hold; " if row in done else ""
            print(f"  {row}  {rows[row]}  [{mark}{why_not(tests.get(row, {}))}]")
    stand = sum(passing(tests.get(row, {})) for row in rows)
    print(f"{stand} of {len(rows)} rows have a passing test; {len(done)} are marked done")


def check(rows: Mapping[str, str], done: list[str], results: Results) -> int:
    """The exit code: 1 when a row that is marked done does not stand."""
    tests = tests_of_rows(results)
    problems = [f"{row} is marked done, but there is no such row" for row in unknown(done, rows)]
    problems += [
        f"{row} ({rows[row]}) is marked done, but {why_not(tests.get(row, {}))}"
        for row in done
        if row in rows and not passing(tests.get(row, {}))
    ]
    for problem in problems:
        print(f"✗ {problem}")
    if not problems:
        print(f"✓ all {len(done)} rows marked done have a passing test")
    return 1 if problems else 0


def main() -> int:
    """Report, or check."""
    parser = argparse.ArgumentParser(description="Which acceptance rows have a passing test.")
    parser.add_argument("--check", action="store_true", help="fail when a row that is marked done has no passing test")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--done", type=Path, default=DONE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows, done, results = read_rows(options.rows), read_done(options.done), read_results(options.results)
    if options.check:
        return check(rows, done, results)
    report(rows, done, results)
    return 0


# --- the pytest plugin


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--acceptance-results", default=str(RESULTS), help="where the outcome of acceptance tests is kept")


def pytest_configure(config: Any) -> None:
    """Record in one process only: with pytest-xdist, the one that sees the reports of all workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(
            Recorder(Path(str(config.getoption("acceptance_results")))), "acceptance-recorder"
        )


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Write the ids where the report carries them to the process that records; a wrong id ends the run."""
    import pytest

    rows = read_rows(ROWS)
    for item in items:
        ids = [row for marker in item.iter_markers("accepts") for row in marker.args]
        if wrong := unknown(ids, rows):
            raise pytest.UsageError(f"{item.nodeid} names {', '.join(wrong)}: no such row in {ROWS.name}")
        if ids:
            item.user_properties.append(("accepts", sorted(set(ids))))


class Recorder:
    """Collects the outcome of each phase of each test that names a row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: Results = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        rows = dict(report.user_properties).get("accepts")
        if not rows:
            return
        result = self.results.setdefault(report.nodeid, {"rows": list(rows), "outcome": "skipped"})
        if report.failed:
            result["outcome"] = "failed"
        elif report.when == "call" and report.passed and result["outcome"] != "failed":
            result["outcome"] = "passed"

    def pytest_sessionfinish(self) -> None:
        if self.results:
            tests = read_results(self.path) | self.results
            self.path.write_text(json.dumps({"tests": dict(sorted(tests.items()))}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
