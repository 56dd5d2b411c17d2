# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages with plugins, installed into a folder of a test: the example, and small ones that misbehave."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import os
import time
from dataclasses import dataclass

from pydantic import BaseModel

from stoker.plugin import Resource, hookimpl, operation, settings_of


@dataclass(frozen=True)
class Said:
    text: str

"""


def install_example(site: Path) -> None:
    """docs/examples/plugin, as pip installs it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    # A copy: the build leaves nothing in the checkout.
    copied = site.parent / "energy-source"
    subprocess.run(["cp", "-r", str(ROOT / "docs/examples/plugin"), str(copied)], check=True, timeout=180)
    done = subprocess.run(
        [*command, "--target", str(site), str(copied)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


def install(site: Path, name: str, body: str, *, package: str | None = None) -> None:
    """A package with one plugin: the class Plugin of `body`, which follows HEAD."""
    package = package or f"stoker-{name}"
    module = package.replace("-", "_")
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(HEAD + textwrap.dedent(body))
    info = site / f"{module}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[stoker.plugins]\n{name} = {module}:Plugin\n")
