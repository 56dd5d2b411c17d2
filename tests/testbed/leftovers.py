# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clear what a killed test run left: beds whose owner is no more. Running beds and all else are left in peace."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .processes import Process, all_processes, descendants, environment, kill_until_gone, read_process
from .processes import working_directory as directory_of

PREFIX = "stk-"


def claim(folder: Path) -> None:
    """Write down that this process owns the bed."""
    me = read_process(os.getpid())
    assert me is not None
    (folder / "owner").write_text(f"{me.pid} {me.start}\n")


def clear_leftovers() -> list[Path]:
    """End processes, networks, cgroups and folders of this user's beds without an owner. Returns the folders."""
    cleared = []
    # Workers of one run start together, and would remove the same files: one after the other, each looks for itself.
    with alone():
        dead = [owner for owner in Path("/tmp").glob(f"{PREFIX}*/owner") if is_mine(owner)]
        for folder in (owner.parent for owner in dead if not owner_lives(owner)):
            kill_until_gone(partial(belonging, folder))
            remove_networks(folder)
            for cgroup in Path("/sys/fs/cgroup/systemd").glob(f"{folder.name}-*"):
                remove_cgroup(cgroup)
            shutil.rmtree(folder)
            cleared.append(folder)
    return cleared


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock for clearing: that of the folder itself, so that no file of it stays behind."""
    folder = os.open("/tmp", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def is_mine(owner: Path) -> bool:
    """False also for a bed that was removed meanwhile."""
    try:
        return owner.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def owner_lives(owner: Path) -> bool:
    """True while the process that claimed the bed runs (same pid, same start); false for an empty claim."""
    try:
        words = owner.read_text().split()
    except FileNotFoundError:
        return True  # just now removed by whoever it belonged to
    process = read_process(int(words[0])) if len(words) == 2 else None
    return process is not None and process.start == int(words[1])


def belonging(folder: Path) -> list[Process]:
    """The bed's processes: they name the folder in command line, environment, working directory or cgroup."""
    table = all_processes()
    found = {pid: process for pid, process in table.items() if names(folder, process)}
    return list((found | descendants(found, table)).values())


def names(folder: Path, process: Process) -> bool:
    """True when the process carries the folder's path or, in its cgroup, its name."""
    inside = f"{folder}/"
    if f"{directory_of(process.pid)}/".startswith(inside) or any(inside in word for word in process.argv):
        return True
    if any(inside.encode() in word for word in environment(process.pid)):
        return True
    try:
        return f"/{folder.name}-" in Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:
        return False


def remove_networks(folder: Path) -> None:
    """Remove the namespaces and the bridge that the bed wrote down."""
    note = folder / "bridge"
    if not note.exists():
        return
    bridge = note.read_text().strip()
    for namespace in Path("/run/netns").glob(f"{bridge}-*"):
        subprocess.run(["ip", "netns", "del", namespace.name], check=True)
    for link in Path("/sys/class/net").glob(f"{bridge}*"):
        # A cable may go by itself, with its namespace, while we look.
        subprocess.run(["ip", "link", "del", link.name], check=False, stderr=subprocess.DEVNULL)


def remove_cgroup(cgroup: Path) -> None:
    """Remove an empty cgroup with all below it."""
    for place, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(place)
