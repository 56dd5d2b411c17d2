# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One measurement: wall time, CPU time of all that took part, and the largest memory of a process."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.testbed.processes import all_processes, descendants, environment

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """Seconds: of the clock, and of CPU on the controller's side (nodes' processes are not in it)."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


class Daemons:
    """What goes on behind the commands: the warm launcher, the masters of ssh connections. Known by `mark`, a
    variable of the bench's own environment that no node's process has."""

    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()

    def pids(self) -> list[int]:
        """Those that live."""
        return [pid for pid in all_processes() if self._mark in environment(pid)]

    def cpu_s(self) -> float:
        """CPU of those that live and of what they had waited for, in ticks of 10 ms."""
        return sum(_cpu_s(pid) for pid in self.pids())


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0  # it ended between two looks
    return sum(int(field) for field in fields[11:15]) * _TICK_S


class Meter:
    """Measures commands and calls, with the share of the daemons."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons

    def command(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, stdout: Path | None = None
    ) -> Usage:
        """Run one command to its end. Raises RuntimeError with its own words when it fails."""
        return self.together([argv], env=env, stdout=stdout)

    def together(
        self,
        commands: Sequence[Sequence[str | Path]],
        *,
        env: Mapping[str, str] | None = None,
        stdout: Path | None = None,
    ) -> Usage:
        """Run commands at the same time, to the end of the last one."""
        with self._measuring() as usage, open(stdout or os.devnull, "wb") as out:
            began = time.monotonic()
            children = [
                subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
                for argv in commands
            ]
            words = [child.stderr.read() if child.stderr else b"" for child in children]
            for child in children:
                child.wait()
                if child.stderr:
                    child.stderr.close()
            usage.wall_s = time.monotonic() - began
        for child, said in zip(children, words, strict=True):
            if child.returncode:
                text = said.decode(errors="replace").strip()
                raise RuntimeError(f"{child.args}: code {child.returncode}: {text[-800:]}")
        return usage

    def call(self, function: Callable[[], object]) -> Usage:
        """Call a function in this process."""
        with self._measuring() as usage:
            began = time.monotonic()
            function()
            usage.wall_s = time.monotonic() - began
        return usage

    @contextmanager
    def _measuring(self) -> Iterator[Usage]:
        usage = Usage()
        before, own = self.daemons.cpu_s(), _own_cpu_s()
        yield usage
        usage.cpu_s = _own_cpu_s() - own + self.daemons.cpu_s() - before


def _own_cpu_s() -> float:
    """CPU of this process and of the children it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class PeakMemory:
    """The largest resident memory of any one process under `name` while it watches, and under the daemons: looked at
    every 50 ms (the kernel keeps the peak of a process that lives: only one that begins and ends in between is missed).
    """

    def __init__(self, daemons: Daemons, is_main: Callable[[tuple[str, ...]], bool]) -> None:
        self._daemons, self._is_main = daemons, is_main
        self._over = threading.Event()
        self.main_bytes = 0
        self.others_bytes = 0

    def __enter__(self) -> PeakMemory:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            table = all_processes()
            for pid, process in descendants([os.getpid(), *self._daemons.pids()], table).items():
                if process.name.startswith("sshd") or os.path.basename(process.argv[0]) == "cat":
                    continue
                if self._is_main(process.argv):
                    self.main_bytes = max(self.main_bytes, _peak_bytes(pid))
                else:
                    self.others_bytes = max(self.others_bytes, _peak_bytes(pid))


def _peak_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it ended between two looks
    return 0


def interleaved(contenders: Mapping[str, Callable[[], Usage]], runs: int) -> dict[str, Usage]:
    """The median of `runs` rounds after a warm-up: A B C A B C, so that a noisy moment hits all alike. A single round
    is not warmed up: it shows that all of it works, and who asks for it does not wait for good figures."""
    if runs > 1:
        for contender in contenders.values():
            contender()
    seen: dict[str, list[Usage]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            seen[name].append(contender())
    return {
        name: Usage(median(u.wall_s for u in usages), median(u.cpu_s for u in usages)) for name, usages in seen.items()
    }
