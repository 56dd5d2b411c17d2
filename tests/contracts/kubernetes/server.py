# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server over HTTPS: who asks, for what, whether he may; and the answer, or what a fault makes of it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from .authority import Authority
from .controller import Controller
from .objects import VERSION, Object, checked, scale
from .refusal import Refusal
from .world import RESOURCES, World

Fault = Literal["busy", "broken", "hang", "cut", "garbage", "drip", "expired", "conflict", "late", "slow", "continue"]
HELD_AT_MOST_S = 120.0
NOBODY = "system:anonymous"
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>apps/v1))(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>scale))?)?"
)
# What a list takes; everything else is refused, which a real server does not: it is never meant.
LIST_TAKES = {"limit", "continue", "labelSelector", "fieldSelector"}
PATCHES = {
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What was asked, without credentials; ``status`` 0 where no whole answer left."""

    method: str
    path: str
    query: Mapping[str, str]
    user: str
    headers: Mapping[str, str]
    status: int


class Server:
    """Listens on 127.0.0.1 until closed."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.world = World()
        self.controller = Controller(self.world)
        self.tokens: dict[str, str] = {}
        self.forbidden: set[tuple[str, str]] = set()
        self.faults: list[tuple[Fault, str]] = []
        self.retry_after_s = 1
        self.together: threading.Barrier | None = None
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.context = _context(folder, authority)
        handler = type("Bound", (_Handler,), {"server_of": self})
        self._http = _Http(("127.0.0.1", 0), handler)
        self.url = f"https://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def fault_of(self, asked: str) -> Fault | None:
        """The fault that this question (`GET /version`) meets, once."""
        with self.lock:
            for number, (fault, where) in enumerate(self.faults):
                if re.search(where, asked):
                    del self.faults[number]
                    return fault
        return None

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, user: str) -> Object:
        """What is asked for. Raises Refusal."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if "application/json" not in headers.get("Accept", ""):
            raise Refusal(406, "only application/json is served here")
        if parts.path == "/version" and method == "GET":
            return {
                "major": "1",
                "minor": VERSION.split(".")[1],
                "gitVersion": f"v{VERSION}",
                "platform": "linux/amd64",
            }
        found = PATH.fullmatch(parts.path)
        resource = found["resource"] if found else ""
        if found is None or resource not in RESOURCES or (found["group"] or "v1") != RESOURCES[resource][0]:
            raise Refusal(404, "the server could not find the requested resource")
        namespace, name = (unquote(found[part] or "") for part in ("namespace", "name"))
        verb = {"GET": "get" if name else "list", "PATCH": "patch"}.get(method)
        if verb is None or (verb == "patch") != (method == "PATCH" and bool(found["sub"])):
            raise Refusal(405, "the server does not allow this method on the requested resource")
        whole = f"{resource}/{found['sub']}" if found["sub"] else resource
        self._admit(user, verb, whole, RESOURCES[resource][0], namespace, name)
        with self.lock:
            if not name:
                return self._list(resource, namespace, query)
            if query:
                raise Refusal(400, f"unknown parameters {sorted(query)}")
            return self._one(resource, namespace, name, found["sub"], method, headers, body)

    def _admit(self, user: str, verb: str, resource: str, group: str, namespace: str, name: str) -> None:
        if user != NOBODY and not {(verb, resource), (verb, "*")} & self.forbidden:
            return
        shown = f'{resource}.apps "{name}"' if "/" in group and name else resource
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        raise Refusal(
            403,
            f'{shown} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group '
            f'"{group.partition("/")[0] if "/" in group else ""}" {where}',
        )

    def _list(self, resource: str, namespace: str, query: Mapping[str, str]) -> Object:
        unknown = set(query) - LIST_TAKES
        if unknown or not re.fullmatch(r"\d*", query.get("limit", "")):
            raise Refusal(400, f"unknown or wrong parameters: {sorted(query)}")
        return self.world.listed(resource, namespace or None, query)

    def _one(
        self, resource: str, namespace: str, name: str, sub: str | None, method: str, headers: Mapping[str, str],
        body: bytes,
    ) -> Object:  # fmt: skip
        found = self.world.get(resource, namespace, name)
        if method == "PATCH":
            kind = headers.get("Content-Type", "")
            if kind not in PATCHES:
                raise Refusal(
                    415, f"the body of the request was in an unknown format - accepted media types: {PATCHES}"
                )
            patch = json.loads(body)
            if kind != "application/merge-patch+json" or not isinstance(patch, dict):
                raise Refusal(400, f"not played here: {kind}")
            return self.world.patch_scale(found, patch)
        if sub == "scale":
            return checked(scale(found))
        if resource in ("deployments", "statefulsets"):
            self.controller.step(found)
        return found


def _context(folder: Path, authority: Authority) -> ssl.SSLContext:
    """TLS with a certificate of this authority; a client may have one of it, too."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = authority.server()
    file, trusted = folder / "server.pem", folder / "clients.pem"
    file.write_bytes(key + certificate)
    trusted.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.load_verify_locations(trusted)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate, or goes away, is no trouble of a server."""


class _Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        # Here, in a thread of its own: a client that never begins with TLS holds up nobody else.
        self.request.settimeout(HELD_AT_MOST_S)
        self.request = self.server_of.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        server = self.server_of
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = server.fault_of(f"{self.command} {self.path}")
        if server.together is not None:
            server.together.wait(HELD_AT_MOST_S)
        if fault == "hang":
            server.over.wait(HELD_AT_MOST_S)
            self.close_connection = True
            return
        user, status = "", 0
        try:
            user = self._user()
            if fault is not None:
                self._meet(fault)
            answer = server.answer(self.command, self.path, self.headers, body, user)
            status, headers = 200, dict[str, str]()
            if fault == "late":
                # It was done; whoever is between the two did not wait for that.
                raise Refusal(503, "no answer of the server in time", {"Retry-After": str(server.retry_after_s)})
        except Refusal as refusal:
            status, answer, headers = refusal.code, refusal.body, refusal.headers
        except Exception as problem:
            server.problems.append(repr(problem))
            raise
        finally:
            parts = urlsplit(self.path)
            shown = {name: value for name, value in self.headers.items() if name != "Authorization"}
            server.requests.append(Request(self.command, parts.path, dict(parse_qsl(parts.query)), user, shown, status))
        self._send(status, json.dumps(answer).encode(), headers, fault)

    do_PATCH = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _user(self) -> str:
        """By token, else by certificate; a token that nobody has is refused, whatever else there is."""
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if kind:
            if kind != "Bearer" or token not in self.server_of.tokens:
                raise Refusal(401, "Unauthorized")
            return self.server_of.tokens[token]
        certificate = self.request.getpeercert()
        names = [value for part in (certificate or {}).get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else NOBODY

    def _meet(self, fault: Fault) -> None:
        if fault == "busy":
            raise Refusal(
                429, "too many requests, please try again later", {"Retry-After": str(self.server_of.retry_after_s)}
            )
        if fault == "broken":
            raise Refusal(500, "etcdserver: request timed out")
        if fault == "expired":
            self.server_of.world.forget_pages()
        if fault == "conflict":
            self._change_meanwhile()

    def _change_meanwhile(self) -> None:
        """Somebody else changes what is patched, just before."""
        found = PATH.fullmatch(self.path)
        if found is not None:
            with self.server_of.lock:
                self.server_of.world.touch(
                    self.server_of.world.get(found["resource"], found["namespace"], found["name"])
                )

    def _send(self, status: int, data: bytes, headers: Mapping[str, str], fault: Fault | None) -> None:
        if fault == "slow":
            self._dawdle([b"HTTP/1.1 100 Continue\r\nX-Slow: ", *[b"x"] * 60, b"\r\n\r\n"])
        elif fault == "continue":
            self._dawdle([b"HTTP/1.1 100 Continue\r\n\r\n"] * 60)
        data = b"<html>gateway</html>" if fault == "garbage" else data
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.request.shutdown(socket.SHUT_RDWR)
            return
        if fault == "drip":
            for byte in data:
                if self.server_of.over.is_set():
                    return
                self.wfile.write(bytes([byte]))
                time.sleep(0.2)
            return
        self.wfile.write(data)

    def _dawdle(self, parts: list[bytes]) -> None:
        """Half a minute before the answer, and never silent."""
        for part in parts:
            self.wfile.write(part)
            if self.server_of.over.wait(0.5):
                return

    def log_message(self, *_: Any) -> None:
        """Said nowhere: ``requests`` has it."""
