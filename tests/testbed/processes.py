# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and end processes by evidence in /proc: parent, environment, working directory. Never by name alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One live process. ``start`` is in clock ticks since boot: with it a pid names one process for ever."""

    pid: int
    ppid: int
    start: int
    name: str
    argv: tuple[str, ...]

    def alive(self) -> bool:
        """True while this very process (same pid, same start) runs; a zombie does not."""
        now = read_process(self.pid)
        return now is not None and now.start == self.start


def read_process(pid: int) -> Process | None:
    """The process with this pid, or None when there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[0] in "ZX":
        return None
    words = tuple(w.decode(errors="replace") for w in argv.rstrip(b"\0").split(b"\0"))
    return Process(pid, int(fields[1]), int(fields[19]), name, words)


def all_processes() -> dict[int, Process]:
    """Every live process of the machine, by pid."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return {pid: process for pid in pids if (process := read_process(pid)) is not None}


def environment(pid: int) -> list[bytes]:
    """The environment the process was started with; empty when it may not be read or is gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def working_directory(pid: int) -> str:
    """The process's working directory; empty when it may not be read or is gone."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def listening(pid: int) -> set[int]:
    """The ports of TCP on which the process, or one that it began, takes connections."""
    own = set[str]()
    for one in (pid, *descendants([pid])):
        with suppress(OSError):  # it ended between two looks
            for fd in os.listdir(f"/proc/{one}/fd"):
                with suppress(OSError):
                    own.add(os.readlink(f"/proc/{one}/fd/{fd}"))
    ports = set[int]()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def descendants(roots: Iterable[int], table: dict[int, Process] | None = None) -> dict[int, Process]:
    """Children, grandchildren and so on of the given pids, without the pids themselves."""
    table = all_processes() if table is None else table
    seen, frontier = dict[int, Process](), set(roots)
    while frontier:
        found = {p.pid: p for p in table.values() if p.ppid in frontier and p.pid not in seen}
        seen.update(found)
        frontier = set(found)
    return seen


def send_signal(process: Process, number: int) -> None:
    """Signal this very process; one that ended meanwhile is left in peace."""
    if process.alive():
        with suppress(ProcessLookupError):  # it ended between the look and the signal
            os.kill(process.pid, number)


def kill_until_gone(find: Callable[[], Iterable[Process]], timeout_s: float = 150.0) -> None:
    """SIGKILL what ``find`` reports until it reports nothing: a process may fork between two looks.

    Raises TimeoutError, naming them, when some are left after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while found := list(find()):
        for process in found:
            send_signal(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes still alive after {timeout_s} s: {found}")
        time.sleep(0.01)
