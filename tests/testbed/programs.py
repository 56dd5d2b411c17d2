# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments of Python with the real programs that tests need beside Stoker's own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache"


def made(commands: list[list[str]], timeout_s: float) -> str:
    """Run them in turn; the last words of the one that failed, or nothing."""
    for command in commands:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if ended.returncode:
            return ended.stderr.strip().splitlines()[-1]
    return ""


def programs_of(name: str, wanted: Path, programs: str, *, by_pip: bool = False, timeout_s: float = 600) -> Path:
    """The Python of an environment with these programs, made once and kept in .cache.

    `by_pip`: pip alone knows where they are to be had here.
    """
    place, done = CACHE / name, CACHE / name / ".ready"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != wanted.read_text():
            # uv takes a quarter of pip's time; pip also knows of indexes that uv was not told about.
            uv = str(Path(sys.executable).with_name("uv"))
            makers = [
                [[uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
                 [uv, "pip", "install", "--quiet", "--python", str(place), "--requirement", str(wanted)]],
                [[sys.executable, "-m", "venv", "--clear", str(place)],
                 [str(place / "bin/pip"), "install", "--quiet", "--requirement", str(wanted)]],
            ]  # fmt: skip
            makers = makers[by_pip:]
            problems = [problem for maker in makers if (problem := made(maker, timeout_s))]
            if len(problems) == len(makers):
                pytest.skip(f"{programs} cannot be had here: {problems[-1]}")
            done.write_text(wanted.read_text())
    return place / "bin/python"
