# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every backend has to do, as the conformance tests ask for it: start, cancel, observe, read_log."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from testbed.node_side import NodeSide

Observation = dict[str, Any]


class Backend:
    """One backend on one node. ``promises`` names what not every backend can do; ``needs`` skips a test without it.

    job folder: the documented files of an attempt lie on the node; processes: a job's processes are the node's own and
    can be listed there; limits: CPU and memory limits are enforced; leavings: what the command leaves behind lives on
    for a moment, and is counted; sockets: the node's user sees whose they are.
    """

    def __init__(self, side: NodeSide, promises: frozenset[str]) -> None:
        self.side = side
        self.node = side.node
        self.promises = promises

    def needs(self, *promises: str) -> None:
        for promise in promises:
            if promise not in self.promises:
                pytest.skip(f"this backend does not promise: {promise}")

    # -- start

    def start(
        self, job: str, *argv: str, attempt: int = 1, secrets: dict[str, str] | None = None, **fields: Any
    ) -> Observation:
        """Start a job, which must be accepted, and give its first observation."""
        spec = self.side.spec(job, **({"argv": list(argv)} if argv else {}), **fields)
        return self.side.start_spec(spec, attempt, secrets)

    def try_start(self, spec: dict[str, Any], attempt: int = 1, **more: Any) -> dict[str, Any]:
        """The answer to a start order, whatever it is: ok, changed, error."""
        reply = self.side.order({"order": "start", "attempt": attempt, "spec": spec, **more}, accepted=False)
        answer: dict[str, Any] = reply["orders"][0]
        return answer

    def run(self, job: str, *argv: str, **fields: Any) -> Observation:
        """Start a job and wait for its end."""
        self.start(job, *argv, **fields)
        return self.wait(job)

    # -- cancel

    def cancel(self, job: str, attempt: int = 1, *, wait_s: float = 60.0, **fields: Any) -> tuple[Observation, bool]:
        """Ask for the end. Gives the observation, and whether that changed anything."""
        reply = self.side.order({"order": "stop", "job": job, "attempt": attempt, "wait_s": wait_s, **fields})
        seen = next(item for item in reply["attempts"] if (item["job"], item["attempt"]) == (job, attempt))
        return seen, reply["orders"][0]["changed"]

    # -- observe

    def observe(self, job: str) -> Observation:
        return self.side.observe(job)

    def wait(
        self, job: str, until: Callable[[Observation], bool] | None = None, timeout_s: float = 150.0
    ) -> Observation:
        return self.side.wait(job, until, timeout_s)

    def wait_for_line(self, job: str, line: str, timeout_s: float = 150.0) -> Observation:
        return self.wait(job, lambda seen: seen["last_line"] == line, timeout_s)

    # -- read_log

    def read_log(self, job: str, **fields: Any) -> tuple[bytes, dict[str, Any], Observation]:
        """One chunk: its bytes, the chunk, and what was observed with it."""
        reply = self.side.ask("log", job=job, **fields)
        assert reply["ok"], reply
        return zlib.decompress(base64.b64decode(reply["chunk"]["data"])), reply["chunk"], reply["observation"]

    def log(self, job: str, **fields: Any) -> bytes:
        return self.side.log(job, **fields)

    # -- the node, for those backends that promise it

    def processes(self, *words: str) -> list[str]:
        """Command lines on the node that hold one of these words."""
        lines = [" ".join(process.argv) for process in self.node.processes()]
        return [line for line in lines if any(word in line for word in words)]
