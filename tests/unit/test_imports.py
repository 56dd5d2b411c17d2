# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each part of the collection may import. Within the package `stoker`, import-linter holds the layers."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = [*sorted((ROOT / "plugins").rglob("*.py")), *sorted((ROOT / "python/src").rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The level (dots) and the full name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def files(folder: str) -> list[Path]:
    return [path for path in ALL if path.is_relative_to(ROOT / folder)]


# It talks to the provider of rented machines from the controller, and is not pushed to nodes.
CLIENT = ROOT / "plugins/module_utils/vast"


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("path", files("plugins/module_utils"), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_runs_on_a_node_needs_only_the_standard_library(path: Path) -> None:
    depth = len(path.relative_to(ROOT / "plugins/module_utils").parts)
    for level, name in imports(path):
        if level:
            assert level <= depth, f"{'.' * level}{name} leaves module_utils"
            assert path.is_relative_to(CLIENT) or "vast" not in name.split("."), f"{path.name} imports the client"
        elif not (path.is_relative_to(CLIENT) and name == "ansible.module_utils.urls"):
            assert top(name) in sys.stdlib_module_names, f"{name} is not in the standard library"


def test_only_what_runs_on_the_controller_imports_the_package() -> None:
    users = {
        path.stem for path in files("plugins") for level, name in imports(path) if not level and top(name) == "stoker"
    }
    assert users <= {"controller", "plan", "record", "workflow"}


def test_modules_import_only_ansible_and_the_collection() -> None:
    for path in files("plugins/modules"):
        for level, name in imports(path):
            allowed = top(name) in sys.stdlib_module_names or name.startswith("ansible.module_utils.") or level
            allowed = allowed or name.startswith("ansible_collections.stoker.fleet.plugins.module_utils")
            assert allowed, f"{path.name} imports {name}"


def test_the_package_takes_only_module_utils_from_the_collection() -> None:
    for path in files("python/src"):
        for _, name in imports(path):
            inside = name.startswith("ansible_collections.stoker.fleet.plugins.module_utils")
            assert inside or not name.startswith("ansible_collections"), f"{path.name} imports {name}"


def test_only_the_runner_imports_ansible() -> None:
    for path in files("python/src"):
        if "runner" not in path.parts:
            names = [name for level, name in imports(path) if not level and top(name) in {"ansible", "ansible_runner"}]
            assert not names, f"{path.relative_to(ROOT)} imports {names}"
