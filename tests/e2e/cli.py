# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stoker`, as a process of its own.

The first command of each test starts as a user's does. Those after it may be forked from a process that has imported
Stoker already (testbed/warm.py); with STOKER_TESTS_COLD=1 none is.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from testbed.warm import WarmProcesses


@cache
def warm() -> WarmProcesses:
    """Those of this process."""
    processes = WarmProcesses()
    atexit.register(processes.close)
    return processes


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)["value"]


class Cli:
    """Call it with a command line. `env` is what all its processes get on top of the tests' own environment.

    `cold`: each of them starts as a user's does, its command line there for all to see."""

    def __init__(self, folder: Path, inventory: Path) -> None:
        self.folder, self.inventory = folder, inventory
        self.cold = bool(os.environ.get("STOKER_TESTS_COLD"))
        self.env = {"STOKER_INVENTORY": str(inventory), "STOKER_STORE_URL": f"sqlite:///{folder}/store.db"}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """The process, its streams piped."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stoker", *argv], cwd=self.folder, env={**os.environ, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._started.append(process)
        return process

    def __call__(self, *argv: str, env: Mapping[str, str] | None = None, timeout_s: float = 120) -> Said:
        whole = {**os.environ, **self.env, **(env or {})}
        if self._started and not self.cold and warm().fits(whole):
            code, out, err = warm().run(list(argv), cwd=self.folder, env=whole, timeout_s=timeout_s)
        else:
            process = self.start(*argv, env=env)
            out, err = process.communicate(timeout=timeout_s)
            code = process.returncode
        return Said(code, out.decode(errors="surrogateescape"), err.decode(errors="replace"))

    def run(self, *argv: str, options: tuple[str, ...] = (), **more: Any) -> str:
        """`stoker run`; the id."""
        said = self("run", "--json", *options, "--", *argv, **more)
        assert said.code == 0, said
        return str(said.json()["job"]["id"])

    def job(self, job: str, *options: str) -> dict[str, Any]:
        """`stoker job`; the job."""
        answer: dict[str, Any] = self("job", job, "--json", *options).json()["job"]
        return answer

    def close(self) -> None:
        """End what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def until(true: Callable[[], object], what: str, timeout_s: float = 150) -> None:
    """Wait for it. What is dear to ask, a process mostly, is asked less often the longer it takes: what is waited for
    needs the processor."""
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        if true():
            return
        now = time.monotonic()
        assert now - began < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(min(2.0, max(0.1, (now - asked) * (2 + (now - began) / 10))))
