# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider over HTTP: who asks, how often, for what; and the answer, or what a fault makes of it."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .api_account import AccountApi
from .api_instances import InstancesApi
from .calls import PENALTIES, THRESHOLDS, Call, Route
from .provider import Provider
from .refusal import Refusal, Reply

HELD_AT_MOST_S = 120.0
SCOPED = re.compile(r"/api/v0/instances/([0-9]+)/")


@dataclass(frozen=True)
class Request:
    """What was asked, without the key; ``at`` is the provider's time, ``status`` 0 where no answer left."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    endpoint: str
    status: int
    at: float


class Server:
    """Listens on 127.0.0.1 until closed. ``paced``: calls that come faster than the thresholds are refused."""

    def __init__(self, provider: Provider, *, paced: bool) -> None:
        self.provider, self.paced = provider, paced
        self.key = secrets.token_hex(32)
        self.requests: list[Request] = []
        self.problem: Exception | None = None
        self.lock = threading.RLock()
        handler = type("Bound", (_Handler,), {"server_of": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.account = AccountApi(provider)
        self._routes = [*self.account.routes(), *InstancesApi(provider, self.url).routes()]
        self._free_at: dict[tuple[str, str], float] = {}
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, method: str, target: str, headers: Mapping[str, str], data: bytes) -> Reply:
        """One at a time, in the order of their coming; what is due happens first."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body: Any = None
        with self.lock:
            self.provider.settle()
            endpoint = ""
            try:
                found, match = self._route(method, parts.path)
                endpoint = found.name
                self._admit(found, parts.path, headers, query)
                body = _body(method, headers, data)
                numbers = {name: int(text) for name, text in match.groupdict().items() if name != "token"}
                call = Call(method, parts.path, query, body, **numbers, token=match.groupdict().get("token", ""))
                said = found.answer(call)
                reply = said if isinstance(said, Reply) else Reply.of(said)
                self.provider.settle()
            except Refusal as refusal:
                reply = refusal.reply
            except Exception as problem:  # noqa: BLE001  the double's own: it fails the test at the end
                self.problem = problem
                reply = Reply(500, b"the double failed: see the end of the test", {}, "text/plain")
            shown = {name: value for name, value in query.items() if name != "api_key"}
            status = 0 if reply.cut else reply.status
            self.requests.append(Request(method, parts.path, shown, body, endpoint, status, self.provider.now))
            return reply

    def _route(self, method: str, path: str) -> tuple[Route, re.Match[str]]:
        matches = [(one, match) for one in self._routes if (match := one.pattern.fullmatch(path))]
        for one, match in matches:
            if one.method == method:
                return one, match
        raise Refusal(405 if matches else 404, "not_found", "Not found")

    def _admit(self, found: Route, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        """Raises Refusal for a key that is not known or may not, and for calls in too quick a succession."""
        kind, _, key = (headers.get("Authorization") or "").partition(" ")
        key = key if kind == "Bearer" else query.get("api_key", "")
        if found.login and not key:
            raise Refusal(403, "auth_error", "This action requires login.")
        if found.login and key != self.key:
            self._scoped(found, path, key)
        self._pace(found.name, key)
        faults = self.provider.faults
        if (broken := faults.take("broken", endpoint=found.name)) is not None:
            raise Refusal(broken["status"], "internal_error", text="<html><h1>error</h1></html>")
        if (busy := faults.take("too-frequent", endpoint=found.name)) is not None:
            raise too_frequent(busy["form"], THRESHOLDS.get(found.name, 1.0))

    def _scoped(self, found: Route, path: str, key: str) -> None:
        """An instance's own key starts and stops that instance, and does nothing else."""
        owner = next((one for one in self.provider.instances.values() if secrets.compare_digest(one.key, key)), None)
        if owner is None:
            raise Refusal(found.denied, "auth_error", "Invalid user key")
        own = SCOPED.fullmatch(path)
        if found.name != "change" or own is None or int(own[1]) != owner.id:
            raise Refusal(401, "auth_error", "This key may not do that.")

    def _pace(self, endpoint: str, key: str) -> None:
        threshold = THRESHOLDS.get(endpoint)
        if not self.paced or threshold is None:
            return
        now, slot = self.provider.clock.pace(), (endpoint, key)
        early = now < self._free_at.get(slot, now)
        self._free_at[slot] = now + (PENALTIES.get(endpoint, threshold) if early else threshold)
        if early:
            raise too_frequent("plain", threshold)


def too_frequent(form: str, threshold: float) -> Refusal:
    """Each of the four ways in which the service says 429."""
    said = f"API requests too frequent: endpoint threshold={threshold}"
    if form == "plain":
        return Refusal(429, "", text=said)
    if form == "json":
        return Refusal(
            429, "", text=json.dumps({"detail": f"API requests too frequent endpoint threshold={threshold}"})
        )
    if form == "retry-after":
        return Refusal(429, "", text=said, headers={"Retry-After": str(int(threshold) + 1)})
    if form == "quota":
        return Refusal(429, "search_quota_exceeded", headers={"X-RateLimit-Reset": "0"})
    raise ValueError(f"429 has no form {form}")


def _body(method: str, headers: Mapping[str, str], data: bytes) -> Any:
    """The body of a call. Raises Refusal when it is no JSON, or there is one where none belongs."""
    if method == "GET":
        if data not in (b"", b"{}", b"null"):
            raise Refusal(400, "invalid_request", "GET takes no body")
        return None
    if not (headers.get("Content-Type") or "").startswith("application/json"):
        raise Refusal(400, "invalid_request", "Invalid json body")
    try:
        return json.loads(data)
    except ValueError:
        raise Refusal(400, "invalid_request", "Invalid json body") from None


class _Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server_of.answer(self.command, self.path, self.headers, data)
        if reply.held is not None:
            reply.held.wait(HELD_AT_MOST_S)
        if reply.cut:
            self.close_connection = True
            return
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.data)))
            self.end_headers()
            self.wfile.write(reply.data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked is gone: a killed controller is what tests are about

    do_GET: Callable[[_Handler], None] = _serve  # noqa: N815
    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""
