# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch loops that are killed, stopped, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from tests.chaos.ring import Ring
from tests.testbed.processes import descendants


class Dispatchers:
    """Some loops, each a controller with a state folder of its own. All have ended when the block is left."""

    def __init__(self, ring: Ring, count: int) -> None:
        self._ring = ring
        self._count = count
        self.running: list[subprocess.Popen[bytes]] = []
        self._stopped: dict[int, list[int]] = {}
        self.started = 0

    def __enter__(self) -> Dispatchers:
        for _ in range(self._count):
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for loop in list(self.running):
            self.kill(loop)

    def start(self) -> None:
        """One more loop."""
        self.started += 1
        state = self._ring.folder / f"controller{self.started % self._count}"
        state.mkdir(mode=0o700, exist_ok=True)
        words = ["dispatch", "--loop", "--interval", "1s", "--lease", "3s"]
        with (self._ring.folder / f"loop{self.started}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "stoker", *words], env={**self._ring.env, "STOKER_STATE_HOME": str(state)},
                    cwd=state, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip

    def kill(self, loop: subprocess.Popen[bytes]) -> None:
        """SIGKILL: the loop and what it started, in the middle of whatever it does."""
        pids = [loop.pid, *descendants([loop.pid])]
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        loop.wait()
        self.running.remove(loop)
        self._stopped.pop(loop.pid, None)

    def stop(self, loop: subprocess.Popen[bytes]) -> None:
        """SIGSTOP: the loop and what it started stand still."""
        self._stopped[loop.pid] = [loop.pid, *descendants([loop.pid])]
        for pid in self._stopped[loop.pid]:
            _signal(pid, signal.SIGSTOP)

    def wake_all(self) -> None:
        """SIGCONT for all that stand still."""
        for pids in self._stopped.values():
            for pid in reversed(pids):
                _signal(pid, signal.SIGCONT)
        self._stopped = {}

    def moving(self) -> list[subprocess.Popen[bytes]]:
        """Those that do not stand still."""
        return [loop for loop in self.running if loop.pid not in self._stopped]

    def words(self) -> list[str]:
        """What all loops wrote so far."""
        logs = sorted(self._ring.folder.glob("loop*.log"))
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended between the look and the signal
        os.kill(pid, number)
