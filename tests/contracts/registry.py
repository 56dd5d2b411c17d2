# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry of images as the distribution specification and its token flow want it, strict about what it is asked.

Tags come in pages, tokens are good for one repository, manifests and blobs can be pulled by a real engine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Listens on ``address`` until closed. ``login`` (user, password): only who has it gets a token. ``page``: the most
    tags at once. ``busy``: so many questions are answered with 429 first."""

    def __init__(
        self, address: str = "127.0.0.1", *, login: tuple[str, str] | None = None, page: int = 100, busy: int = 0
    ) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.login, self.page, self.busy = login, page, busy
        self.tokens: dict[str, str] = {}
        self.asked: list[str] = []
        handler = type("Bound", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer((address, 0), handler)
        self.host = f"{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, repository: str, *tags: str, layer: bytes = b"", config: Mapping[str, Any] | None = None) -> None:
        """Have these tags, all of one image: a tar as its only layer, ``config`` as in a Dockerfile."""
        settings = {
            "architecture": "amd64", "os": "linux", "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}, "history": [{"created_by": "test"}],
        }  # fmt: skip
        packed = json.dumps(settings).encode()
        kinds = ((packed, "container.image.v1+json"), (layer, "image.rootfs.diff.tar"))
        parts = [
            {"mediaType": f"application/vnd.docker.{kind}", "size": len(data), "digest": _digest(data)}
            for data, kind in kinds
        ]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
        data = json.dumps(manifest).encode()
        self.blobs |= {_digest(packed): packed, _digest(layer): layer}
        self.repositories.setdefault(repository, {}).update(dict.fromkeys(tags, data))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.registry.asked.append(self.path)
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if self.registry.busy > 0:
            self.registry.busy -= 1
            self._error(429, "TOOMANYREQUESTS", {"Retry-After": "1"})
        elif parts.path == "/token":
            self._token(query)
        elif found := re.fullmatch(r"/v2/(?:(.+)/(tags/list|manifests/([^/]+)|blobs/([^/]+)))?", parts.path):
            self._api(found, query)
        else:
            self._error(404, "NOT_FOUND")

    do_HEAD = do_GET  # noqa: N815

    def _token(self, query: Mapping[str, str]) -> None:
        given = self.headers.get("Authorization") or ""
        if self.registry.login is not None:
            wanted = base64.b64encode(":".join(self.registry.login).encode()).decode()
            if given != f"Basic {wanted}":
                self._error(401, "UNAUTHORIZED")
                return
        scope = re.fullmatch(r"repository:([a-z0-9/._-]+):pull", query.get("scope", ""))
        if scope is None or query.get("service") != "contract":
            self._error(400, "DENIED")
            return
        token = secrets.token_hex(8)
        self.registry.tokens[token] = scope[1]
        self._json({"token": token, "expires_in": 60})

    def _api(self, found: re.Match[str], query: Mapping[str, str]) -> None:
        name = found[1]
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if kind != "Bearer" or token not in self.registry.tokens or (name and self.registry.tokens[token] != name):
            scope = f',scope="repository:{name}:pull"' if name else ""
            challenge = f'Bearer realm="http://{self.registry.host}/token",service="contract"{scope}'
            self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        elif name is None:
            self._json({})
        elif name not in self.registry.repositories:
            self._error(404, "NAME_UNKNOWN")
        elif found[2] == "tags/list":
            self._tags(name, query)
        elif found[3]:
            kept = self.registry.repositories[name]
            by_digest = {_digest(data): data for data in kept.values()}
            self._data(kept.get(found[3]) or by_digest.get(found[3]), MANIFEST)
        else:
            self._data(self.registry.blobs.get(found[4]), "application/octet-stream")

    def _tags(self, name: str, query: Mapping[str, str]) -> None:
        count = min(int(query.get("n") or self.registry.page), self.registry.page)
        tags = [tag for tag in sorted(self.registry.repositories[name]) if tag > query.get("last", "")]
        more = {"last": tags[count - 1], "n": str(count)} if len(tags) > count else None
        link = {"Link": f'</v2/{name}/tags/list?{urlencode(more)}>; rel="next"'} if more else {}
        self._json({"name": name, "tags": tags[:count]}, link)

    def _data(self, data: bytes | None, kind: str) -> None:
        if data is None:
            self._error(404, "UNKNOWN")
        else:
            self._answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": _digest(data)})

    def _json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: ``asked`` has it."""
