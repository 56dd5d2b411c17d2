# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker runs ...` typed in a test, and what it said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stoker.analysis import Found, Run, read, runs_in
from stoker.cli.main import main


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)["value"]


class Asked:
    """Call it with what stands after `stoker runs`."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *argv: str | Path | float) -> Said:
        self._capture.readouterr()
        code = main(["runs", *map(str, argv)])
        printed = self._capture.readouterr()
        return Said(code, printed.out, printed.err)


def the_run(path: Path) -> Run:
    """The only run in a folder, or the file itself."""
    (found,) = runs_in(path)
    return read(found)


def by_id(folder: Path) -> dict[str, Found]:
    return {found.info.id: found for found in runs_in(folder)}


def jsonl(path: Path, rows: list[Any]) -> Path:
    """A file with a row in each line; a text is a line as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
