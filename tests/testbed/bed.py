# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed: one short folder that holds the client key and every node of a test run, and its clean end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]

from .leftovers import PREFIX, claim, clear_leftovers


class MissingError(Exception):
    """Something that this machine lacks (root, a package). Fixtures turn it into a skip with this one line."""


class Part(Protocol):
    """What the bed closes at its end: a node, a server."""

    name: str

    def close(self) -> None:
        """End everything of it, for good."""


class InventoryNode(Protocol):
    """What can stand in an inventory."""

    name: str

    def inventory_entry(self) -> dict[str, Any]:
        """The node's host variables."""


class Bed:
    """A folder ``/tmp/stk-XXXXXX`` (short, since paths of Unix sockets end at some 100 characters) and its nodes."""

    def __init__(self) -> None:
        clear_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
        claim(self.folder)
        self.key = self.folder / "client_key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stoker-testbed", "-f", str(self.key)])
        self._open: list[Part] = []
        self._count = 0

    def new_folder(self, prefix: str) -> Path:
        """A new, empty folder of the bed, 0700; its name is short and never used twice."""
        self._count += 1
        folder = self.folder / f"{prefix}{self._count}"
        folder.mkdir(mode=0o700)
        return folder

    def adopt(self, part: Part) -> None:
        """Have the bed close this part at the latest when the bed itself is closed."""
        self._open.append(part)

    def release(self, part: Part) -> None:
        """The part closed itself."""
        if part in self._open:
            self._open.remove(part)

    def close(self) -> None:
        """Close what is still open and remove the folder. What fails is raised at the end, after all had their turn."""
        failures = []
        for part in reversed(list(self._open)):  # a network after the nodes on it
            try:
                part.close()
            except (OSError, RuntimeError, subprocess.SubprocessError) as failure:
                failures.append(failure)
        shutil.rmtree(self.folder)
        if failures:
            raise ExceptionGroup(f"the bed {self.folder} did not end cleanly", failures)

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of the bed's own; on failure the exception's text carries the command's stderr."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def need_tools(*names: str) -> None:
    """Raise MissingError, naming the package list, when one of these commands is not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in names if shutil.which(name, path=path) is None]
    if absent:
        raise MissingError(f"{', '.join(absent)} not installed (apt-get install: tests/testbed/packages.txt)")


def need_root() -> None:
    """Raise MissingError when the tests do not run as root."""
    if os.geteuid() != 0:
        raise MissingError("needs root (network and mount namespaces)")


def default_python() -> str:
    """The interpreter behind this one, never a virtual environment's and never a pyenv shim."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.base_prefix, "bin", version).resolve())


def programs_without(folder: Path, *absent: str) -> Path:
    """Fill a folder with links to all programs of this machine but these: a PATH for a node that lacks them."""
    for place in ("/usr/sbin", "/usr/bin"):
        for program in Path(place).iterdir():
            if program.name not in absent and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder


def find_python(version: str) -> str:
    """An installed interpreter of this version, as "3.8". Raises MissingError when there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [*sorted(pyenv.glob(f"{version}.*/bin/python{version}")), Path(f"/usr/bin/python{version}")]
    for candidate in candidates:
        if candidate.exists():
            return str(candidate.resolve())
    raise MissingError(f"no Python {version} on this machine")


def write_inventory(
    path: Path,
    nodes: Iterable[InventoryNode],
    groups: Mapping[str, Iterable[str]] | None = None,
    group_vars: Mapping[str, Any] | None = None,
) -> Path:
    """Write an Ansible inventory of these nodes. ``groups``: node names by group; ``group_vars``: variables for all."""
    content: dict[str, Any] = {"hosts": {node.name: node.inventory_entry() for node in nodes}}
    if groups:
        content["children"] = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
    if group_vars:
        content["vars"] = dict(group_vars)
    path.write_text(yaml.safe_dump({"all": content}, sort_keys=False))
    return path
