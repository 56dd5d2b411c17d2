# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker update`: another version of Stoker, installed as a user installs it, brought to real nodes; some of it broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, Said
from testbed import PlainNode

Stoker = Callable[..., Cli]
Nodes = Callable[..., list[PlainNode]]
ROOT = Path(__file__).parents[2]
COLLECTION = ("plugins", "playbooks", "roles", "meta", "inventories", "galaxy.yml")
# A supervisor that ends at once, where the home folder has this file.
ENDS = """
import os, sys
if os.path.exists(os.path.expanduser("~/breaks")):
    sys.exit("this version does not work here")
"""


def release(folder: Path, **changed: str) -> dict[str, str]:
    """Another version, as `pip install --target` would put it; to `module=text` the text is added. Returns who runs it."""
    fleet = folder / "ansible_collections/stoker/fleet"
    shutil.copytree(ROOT / "python/src/stoker", folder / "stoker", ignore=shutil.ignore_patterns("__pycache__"))
    for name in COLLECTION:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, fleet / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, fleet / name)
    for module, text in changed.items():
        with (fleet / "plugins/module_utils" / f"{module}.py").open("a") as file:
            file.write(text)
    return {"PYTHONPATH": str(folder)}


def lying(node: PlainNode) -> list[str]:
    """What lies among the versions of a node, hidden files and notes, too."""
    return sorted(path.name for path in (node.state_dir / "bin").glob("*")) if node.state_dir.exists() else []


def outcomes(said: Said) -> dict[str, Any]:
    return {one["node"]: one for one in said.json()["nodes"]}
