# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments of Python with the real programs that tests need beside Stoker's own."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Mapping
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


def programs_of(
    name: str, wanted: Path, programs: str, *, by_pip: bool = False, timeout_s: float = 600, alone: Path | None = None,
    replaced: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """The Python of an environment with these programs, made once and kept in .cache.

    `by_pip`: pip alone knows where they are to be had here. `alone` lists those that are installed without what they
    say that they need. `replaced`: files of the environment's packages, and what stands in their place.
    """
    replaced = replaced or {}
    place, done = CACHE / name, CACHE / name / ".ready"
    made_of = "".join(path.read_text() for path in (wanted, *([alone] if alone else []), *replaced.values()))
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != made_of:
            # uv takes a quarter of pip's time; pip also knows of indexes that uv was not told about.
            uv, pip = str(Path(sys.executable).with_name("uv")), [str(place / "bin/pip"), "install", "--quiet"]
            by_uv = [uv, "pip", "install", "--quiet", "--python", str(place)]
            makers = [
                [[uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
                 *_installs(by_uv, wanted, alone)],
                [[sys.executable, "-m", "venv", "--clear", str(place)], *_installs(pip, wanted, alone)],
            ]  # fmt: skip
            makers = makers[by_pip:]
            problems = [problem for maker in makers if (problem := made(maker, timeout_s))]
            if len(problems) == len(makers):
                pytest.skip(f"{programs} cannot be had here: {problems[-1]}")
            for file, other in replaced.items():
                (packages,) = place.glob("lib/python3*/site-packages")
                shutil.copy(other, packages / file)
            done.write_text(made_of)
    return place / "bin/python"


def _installs(install: list[str], wanted: Path, alone: Path | None) -> list[list[str]]:
    return [
        [*install, "--requirement", str(wanted)],
        *([[*install, "--no-deps", "--requirement", str(alone)]] if alone else []),
    ]
