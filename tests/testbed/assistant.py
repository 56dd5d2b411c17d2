# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An assistant: the official client of the Model Context Protocol, over stdio or HTTP; and its wire, bare."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

SERVER = [sys.executable, "-m", "stoker", "mcp"]


class Assistant:
    """A client that is connected. `call` gives the SDK's result."""

    def __init__(self, client: Client, portal: Any) -> None:
        self.client, self._portal = client, portal

    def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the SDK's client."""
        return self._portal.call(partial(getattr(self.client, method), *args, **kwargs))

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.ask("call_tool", tool, arguments)

    def value(self, tool: str, **arguments: Any) -> Any:
        """The structured answer of a call that has to be good."""
        answered = self.call(tool, **arguments)
        assert not answered.is_error, answered.content[0].text
        return answered.structured_content


@contextlib.contextmanager
def assistant(transport: Any, **options: Any) -> Iterator[Assistant]:
    """Connect by a transport of the SDK."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(transport, **options)) as client,
    ):
        yield Assistant(client, portal)


def over_stdio(env: Mapping[str, str], cwd: Path, *options: str) -> Any:
    """A server of its own, as an assistant starts one."""
    command, *arguments = [*SERVER, *options]
    return stdio_client(StdioServerParameters(command=command, args=arguments, env={**os.environ, **env}, cwd=str(cwd)))


def over_http(url: str, token: str | None, **headers: str) -> Any:
    """A server that listens."""
    import httpx2

    given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    return streamable_http_client(url, http_client=httpx2.AsyncClient(headers=given, timeout=180))


class Wire:
    """The bare protocol over stdio: what is written, and each line that comes back."""

    def __init__(self, env: Mapping[str, str], cwd: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*SERVER, *options], env={**os.environ, **env}, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self.errors = bytearray()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()
        self._count = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while data := self.process.stderr.read1(65536):  # type: ignore[attr-defined]
            self.errors += data

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def begin(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request and return its number."""
        self._count += 1
        self.write(json.dumps({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params or {}}))
        return self._count

    def tell(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification."""
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}}))

    def line(self, timeout_s: float = 150) -> dict[str, Any] | None:
        """The next line, which has to be a message; None at the end."""
        line = self._lines.get(timeout=timeout_s)
        if line is None:
            return None
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def answer(self, number: int) -> dict[str, Any]:
        """The answer to a request; notifications before it are passed over."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            message = self.line()
            assert message is not None, bytes(self.errors).decode(errors="replace")
            if message.get("id") == number and "method" not in message:
                return message
        raise AssertionError(f"no answer to {number}")

    def initialize(self) -> dict[str, Any]:
        client = {"name": "test", "version": "1"}
        number = self.begin("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        answered = self.answer(number)
        self.tell("notifications/initialized")
        return answered

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=180)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
