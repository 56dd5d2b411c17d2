# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of the Hugging Face hub that a download needs, as strict as they are: a listing, files, and storage on
another host, which refuses a request that brings the token of the hub along."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "8a1f3c5e" * 5
_SIGNED = "X-Amz-Signature=5f0c"


@dataclass
class Hub:
    """One repository. Files of more than 1 kB lie in the storage (LFS). `faults` count down by file name, `more` is
    sent after what the listing says."""

    repo: str
    files: Mapping[str, bytes]
    token: str | None = None
    kind: str = "models"
    sizes: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)
    commit: str = COMMIT
    url: str = ""
    storage: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    bytes: Counter[str] = field(default_factory=Counter)
    gate: threading.Event = field(default_factory=threading.Event)

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, data in self.files.items():
            size = self.sizes.get(name, len(data))
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": blob}
            if len(data) > 1000:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
            siblings.append(entry)
        return {
            "_id": "6",
            "id": self.repo,
            "sha": self.commit,
            "private": self.token is not None,
            "siblings": siblings,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    is_storage: bool

    def log_message(self, *_args: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        hub, address = self.hub, urlsplit(self.path)
        hub.asked.append((self.path, self.headers.get("Range")))
        if self.is_storage:
            self._from_storage(unquote(address.path).lstrip("/"), address.query)
            return
        if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._say(401, b'{"error":"Invalid username or password."}')
        elif address.path == f"/api/{hub.kind}/{hub.repo}/revision/main":
            if address.query != "blobs=true":
                hub.faults.append(f"{self.path}: sizes and digests come with blobs=true only")
            self._say(200, json.dumps(hub.listing()).encode())
        elif (name := self._named(address.path)) is None:
            self._say(404, b'{"error":"Repository not found"}')
        elif hub.busy.get(name, 0):
            hub.busy[name] -= 1
            self._say(429, b"", {"Retry-After": "1"})
        elif len(hub.files[name]) > 1000:
            self._say(302, b"", {"Location": f"{hub.storage}/{name}?{_SIGNED}", "X-Repo-Commit": COMMIT})
        else:
            self._send(name)

    def _named(self, path: str) -> str | None:
        prefix = "/datasets" if self.hub.kind == "datasets" else ""
        start = f"{prefix}/{self.hub.repo}/resolve/{COMMIT}/"
        name = unquote(path.removeprefix(start)) if path.startswith(start) else ""
        return name if name in self.hub.files else None

    def _from_storage(self, name: str, query: str) -> None:
        if self.headers.get("Authorization"):
            self.hub.faults.append(f"the storage was sent the hub's token for {name}")
            self._say(400, b"Only one auth mechanism allowed")
        elif query != _SIGNED or name not in self.hub.files:
            self._say(403, b"SignatureDoesNotMatch")
        else:
            self._send(name)

    def _send(self, name: str) -> None:
        hub, data, start = self.hub, self.hub.files[name], 0
        if asked := self.headers.get("Range"):
            found = re.fullmatch(r"bytes=(\d+)-", asked)
            if found is None or int(found[1]) >= len(data):
                self._say(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            start = int(found[1])
        if hub.wrong.get(name, 0):
            hub.wrong[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        data += bytes(hub.more.get(name, 0))
        hub.gate.wait(60)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if (most := hub.cut.pop(name, None)) is not None:
            body, self.close_connection = body[:most], True
        hub.bytes[name] += len(body)
        self.wfile.write(body)

    def _say(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(hub: Hub, *, held: bool = False) -> Iterator[Hub]:
    """The hub and its storage, each on a free port. `held`: no file comes before the gate is opened."""
    if not held:
        hub.gate.set()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub, "is_storage": storage}))
        for storage in (False, True)
    ]
    hub.url, hub.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.gate.set()
        for server in servers:
            server.shutdown()
            server.server_close()
