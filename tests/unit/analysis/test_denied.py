# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may not be read is never said to be absent. Root may read everything, so the command runs without that right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asked import jsonl

RIGHTS = "-dac_override,-dac_read_search"


def runs(*argv: str | Path) -> tuple[int, str]:
    """`stoker runs ...` of somebody who is held to the modes of files: its exit code and all that it said."""
    drop: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not there")
        drop = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"]
    command = [*drop, str(Path(sys.executable).with_name("stoker")), "runs", *map(str, argv)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may look into, and beside it a file that nobody may read."""
    path = jsonl(tmp_path / "top/closed/m.jsonl", [{"step": 1, "loss": 1}])
    jsonl(tmp_path / "top/n.jsonl", [{"step": 1, "loss": 1}]).chmod(0)
    path.parent.chmod(0)
    yield path.parent
    path.parent.chmod(0o700)


@pytest.mark.accepts("R25")
def test_what_is_denied_is_said_so(closed: Path) -> None:
    top = closed.parent
    for asked in (
        ("summary", closed), ("summary", closed / "m.jsonl"), ("summary", top / "n.jsonl"),
        ("latest", closed / "m.jsonl"), ("best", "loss", top), ("summary", "m.jsonl", "--folder", closed),
    ):  # fmt: skip
        code, said = runs(*asked)
        assert code == 1, said
        assert "Permission denied" in said
        assert "Traceback" not in said
        assert "no file, folder or run" not in said
        assert "no run was found" not in said


@pytest.mark.accepts("R25")
def test_a_name_that_is_nowhere_may_be_in_what_is_denied(closed: Path) -> None:
    jsonl(closed.parent / "open.jsonl", [{"step": 1, "loss": 1}])
    code, said = runs("summary", "wide", "--folder", closed.parent)
    assert code == 2
    assert f"What cannot be read may be it: {closed.parent}" in said
    assert "Permission denied" in said
