# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project of many files of which one changed: what bringing it up to date takes, next to rsync alone."""

from __future__ import annotations

import random
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import Usage, interleaved
from tests.bench.place import Place
from tests.bench.table import Table


def second_sync(place: Place, files: int, runs: int) -> Table:
    """The second push of a project, one file changed each time."""
    (node,) = place.use(1)
    project = _project(place.bed.folder / "proj", files)
    changed = project / "pkg7" / "module7.py"
    words = place.ssh_words(node)
    shell = " ".join(shlex.quote(word) for word in words[:-1])
    rsync = ["rsync", "-a", "--exclude=.git", "-e", shell, f"{project}/", f"{words[-1]}:{node.home}/bare/"]
    bare, stoker = "rsync -a, shared connection", "stoker, warm: sync push"
    push = ("sync", "push", "n1", "--local", str(project), "--remote", "stoker")

    def after_a_change(call: Callable[[], Usage], there: Path) -> Callable[[], Usage]:
        def measured() -> Usage:
            changed.write_text(f"value = {random.random()}\n")
            usage = call()
            if (there / "pkg7/module7.py").read_bytes() != changed.read_bytes():
                raise RuntimeError(f"what changed did not get to {there}")
            return usage

        return measured

    place.warm()
    place.stoker(*push)
    place.meter.command(rsync)
    usages = interleaved(
        {
            bare: after_a_change(lambda: place.meter.command(rsync), node.home / "bare"),
            stoker: after_a_change(lambda: place.stoker(*push), node.home / "stoker"),
        },
        runs,
    )
    table = Table("sync", f"Push {files:,} files of which one changed", (bare,))
    table.add_all(usages)
    return table


def _project(folder: Path, files: int) -> Path:
    """A repository; 50 files to a folder, 2 kB each."""
    chance = random.Random(1)
    for number in range(files):
        path = folder / f"pkg{number // 50}" / f"module{number % 50}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {chance.random()}\n" + "x = 1\n" * 330)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    return folder
