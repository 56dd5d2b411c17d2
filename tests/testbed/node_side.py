# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node side of Stoker asked over ssh, without Ansible: what the backend and kill-matrix tests speak to."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .ssh_node import SshNode

ROOT = Path(__file__).parent.parent.parent
OVER = ("succeeded", "failed", "cancelled", "lost")


def build_bundle(backend: str | None = None) -> tuple[str, bytes]:
    """The very package that the actions push; with a backend of a package that is installed."""
    sys.path.insert(0, str(ROOT / "plugins" / "plugin_utils"))
    try:
        import bundle
    finally:
        sys.path.pop(0)
    return bundle.build(backend)


class NodeSide:
    """Requests to one node. ``rung`` restricts the launch ladder to one rung."""

    def __init__(self, node: SshNode, *, rung: str | None = None, state_dir: str | None = None, **more: Any) -> None:
        self.node = node
        self.state_dir = state_dir or str(node.state_dir)
        self.more = {**more, **({"rungs": [rung]} if rung else {})}
        named = more.get("backend")
        version, package = build_bundle(None if named in (None, "process", "container") else named)
        self.folder = f"{self.state_dir}/bin/{version}"
        unpack = (
            "import io,sys,zipfile,os;os.path.isdir(sys.argv[1]) or "
            "zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).extractall(sys.argv[1])"
        )
        command = f"umask 077; {node.python} -I -S -c {shlex.quote(unpack)} {self.folder}"
        subprocess.run([*node.ssh_command(), command], input=package, check=True, capture_output=True, timeout=120)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """One request, its reply as the node gave it."""
        request = {"schema": "stoker.request/1", "op": op, "state_dir": self.state_dir, **self.more, **fields}
        command = f"exec {self.node.python} -I -S {self.folder} ctl"
        # One connection for many questions: the handshake costs more than the answer.
        shared = (f"ControlPath={self.node.folder}/ask-%C", "ControlMaster=auto", "ControlPersist=5")
        options = [word for option in shared for word in ("-o", option)]
        done = subprocess.run(
            [*self.node.ssh_command(*options), command],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=180,
        )
        lines = [line for line in done.stdout.decode().splitlines() if line.startswith("STOKER-REPLY ")]
        assert lines, f"no reply, exit {done.returncode}: {done.stderr.decode()}"
        reply: dict[str, Any] = json.loads(lines[-1][len("STOKER-REPLY ") :])
        return reply

    def spec(self, job: str, **fields: Any) -> dict[str, Any]:
        return {"schema": "stoker.spec/1", "job": job, "uid": str(uuid.uuid4()), "grace_s": 2, **fields}

    def start(self, job: str, *argv: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
        """Start a job and return its observation; the order must be accepted."""
        spec = self.spec(job, **({"argv": list(argv)} if argv else {}), **fields)
        return self.start_spec(spec, attempt)

    def start_spec(
        self, spec: dict[str, Any], attempt: int = 1, secrets: dict[str, str] | None = None
    ) -> dict[str, Any]:
        order = {"order": "start", "attempt": attempt, "spec": spec, **({"secrets": secrets} if secrets else {})}
        reply = self.order(order)
        return next(item for item in reply["attempts"] if (item["job"], item["attempt"]) == (spec["job"], attempt))

    def order(self, *orders: dict[str, Any], accepted: bool = True) -> dict[str, Any]:
        reply = self.ask("reconcile", orders=list(orders))
        assert reply["ok"], reply
        if accepted:
            assert all(item["ok"] for item in reply["orders"]), reply["orders"]
        return reply

    def stop(self, job: str, attempt: int = 1, *, wait_s: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Stop a job and return its observation."""
        reply = self.order({"order": "stop", "job": job, "attempt": attempt, "wait_s": wait_s, **fields})
        return next(item for item in reply["attempts"] if (item["job"], item["attempt"]) == (job, attempt))

    def observe(self, job: str) -> dict[str, Any]:
        """The observation of a job's newest attempt."""
        reply = self.ask("reconcile", observe={"jobs": [job]})
        assert reply["ok"], reply
        found: dict[str, Any] = [item for item in reply["attempts"] if item["job"] == job][-1]
        return found

    def wait(
        self, job: str, until: Callable[[dict[str, Any]], bool] | None = None, timeout_s: float = 150.0
    ) -> dict[str, Any]:
        """Observe until the attempt is over, or ``until`` says so, less often the longer it takes.

        Fails with the last observation.
        """
        began = time.monotonic()
        while True:
            seen = self.observe(job)
            if until(seen) if until else seen["state"] in OVER:
                return seen
            passed = time.monotonic() - began
            assert passed < timeout_s, f"{job} did not get there within {timeout_s} s: {seen}"
            time.sleep(min(max(0.1, passed / 10), 0.5))

    def log(self, job: str, **fields: Any) -> bytes:
        """The whole log of a job, chunk by chunk."""
        data, offset = b"", 0
        while True:
            reply = self.ask("log", job=job, offset=offset, **fields)
            assert reply["ok"], reply
            chunk = reply["chunk"]
            data += zlib.decompress(base64.b64decode(chunk["data"]))
            if chunk["next"] == offset:
                return data
            offset = chunk["next"]

    def file(self, job: str, name: str, attempt: int = 1) -> Any:
        """A JSON file of an attempt, as it lies on the node."""
        done = self.node.ssh(f"cat {self.state_dir}/jobs/{job}/{attempt}/{name}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def kill(self, job: str, *roles: str) -> None:
        """SIGKILL to the processes that state.json names: supervisor, recorder, command."""
        state = self.file(job, "state.json")
        pids = " ".join(str(state[role]["pid"]) for role in roles)
        done = self.node.ssh(f"kill -9 {pids}")
        assert done.returncode == 0, done.stderr
