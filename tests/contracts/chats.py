# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes messages: Slack, Discord and Telegram under their own names, behind a proxy; a webhook; a mail server.

Each refuses what the real one refuses, in its words. The names are reached through ``proxy`` with the authority
``ca_file``, so that a client talks TLS to ``hooks.slack.com`` as ever.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOSTS = ("hooks.slack.com", "discord.com", "api.telegram.org")
Answer = tuple[int, str, str]


class Chats:
    """Listens on 127.0.0.1 until closed. ``taken`` holds each message that was accepted, by host; ``refused`` the
    status and words of each that was not. ``busy``: so many are answered with 429 first; ``silent`` never answers."""

    SLACK = "/services/T00000001/B00000001/abcdefghijklmnopqrstuvwx"
    DISCORD = "/api/webhooks/123456789012345678/" + "D" * 68
    TELEGRAM = "/bot123456789:" + "AbC-1" * 7 + "/sendMessage"

    def __init__(self, folder: Path) -> None:
        self.taken: list[tuple[str, Any]] = []
        self.refused: list[tuple[int, str]] = []
        self.busy, self.silent = 0, False
        self._written = 1000
        self.updates: list[dict[str, Any]] = []
        self._contexts, self.ca_file = _certificates(folder)
        handler = type("Bound", (_Handler,), {"chats": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def env(self) -> dict[str, str]:
        """What lets a client find the names here."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self.ca_file), "SSL_CERT_FILE": str(self.ca_file),
        }  # fmt: skip

    @property
    def webhook(self) -> str:
        """A plain webhook for JSON, without TLS."""
        return f"json://127.0.0.1:{self.port}/hook/opensesame-4711"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def judge(self, host: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the service of that name answers."""
        if not (headers.get("Content-Type") or "").startswith("application/json"):
            return 400, "text/plain", "invalid_payload"
        try:
            said = json.loads(body)
        except ValueError:
            return 400, "text/plain", "invalid_payload"
        if self.busy > 0:
            self.busy -= 1
            return 429, "application/json", json.dumps({"message": "You are being rate limited.", "retry_after": 0.1})
        services: Mapping[str, Callable[[str, Any], Answer]] = {
            "hooks.slack.com": self._slack, "discord.com": self._discord, "api.telegram.org": self._telegram,
        }  # fmt: skip
        return services.get(host, self._webhook)(path, said)

    def _slack(self, path: str, said: Any) -> Answer:
        if path != self.SLACK:
            return 404, "text/plain", "no_service"
        attachments = said.get("attachments") or []
        blocks = [block for one in attachments for block in one.get("blocks") or []]
        if not said.get("text") and not any(one.get("text") or one.get("blocks") for one in attachments):
            return 400, "text/plain", "no_text"
        if any(len(block.get("text", {}).get("text", "")) > 3000 for block in blocks):
            return 400, "text/plain", "invalid_blocks"
        return 200, "text/html", "ok"

    def _discord(self, path: str, said: Any) -> Answer:
        if path.partition("?")[0] != self.DISCORD:
            return 404, "application/json", json.dumps({"message": "Unknown Webhook", "code": 10015})
        content, embeds = said.get("content") or "", said.get("embeds") or []
        if not content and not embeds:
            return 400, "application/json", json.dumps({"message": "Cannot send an empty message", "code": 50006})
        if len(content) > 2000 or any(len(one.get("description", "")) > 4096 for one in embeds):
            return 400, "application/json", json.dumps({"content": ["Must be 2000 or fewer in length."]})
        return 204, "application/json", ""

    def write(self, user: int, text: str, *, kind: str = "private", ago_s: float = 0.0) -> None:
        """Let a user write to the bot."""
        sender = {"id": user, "is_bot": False, "first_name": "Jo"}
        chat = {"id": user if kind == "private" else -100, "type": kind}
        message = {"message_id": 1, "date": int(time.time() - ago_s), "from": sender, "chat": chat, "text": text}
        self._written += 1
        self.updates.append({"update_id": self._written, "message": message})

    def _telegram(self, path: str, said: Any) -> Answer:
        def error(code: int, words: str) -> Answer:
            told = {"ok": False, "error_code": code, "description": words}
            return code, "application/json", json.dumps(told)

        if path == self.TELEGRAM.replace("sendMessage", "getUpdates"):
            # What is asked for after a number was taken up to it.
            self.updates = [one for one in self.updates if one["update_id"] >= said.get("offset", 0)]
            return 200, "application/json", json.dumps({"ok": True, "result": self.updates[:100]})
        if path != self.TELEGRAM:
            return error(401, "Unauthorized")
        if str(said.get("chat_id")) not in ("4711", "12"):
            return error(400, "Bad Request: chat not found")
        if not 0 < len(said.get("text") or "") <= 4096:
            return error(400, "Bad Request: message is too long" if said.get("text") else "message text is empty")
        return 200, "application/json", json.dumps({"ok": True, "result": {"message_id": 1}})

    def _webhook(self, path: str, said: Any) -> Answer:
        if path != "/hook/opensesame-4711":
            return 403, "text/plain", "forbidden"
        if not isinstance(said, dict) or not {"version", "title", "message", "type"} <= set(said):
            return 422, "text/plain", "version, title, message and type are needed"
        return 200, "text/plain", "taken"

    def context(self, host: str) -> ssl.SSLContext | None:
        return self._contexts.get(host)


class _Handler(BaseHTTPRequestHandler):
    chats: Chats
    protocol_version = "HTTP/1.1"
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        context = self.chats.context(self.host)
        if context is None:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection: socket.socket = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
        self.close_connection = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.chats.silent:
            self.rfile.read(1)  # until the other side goes
            self.close_connection = True
            return
        status, kind, words = self.chats.judge(self.host, self.path, self.headers, body)
        if status < 300 and not self.path.endswith("/getUpdates"):
            self.chats.taken.append((self.host or "webhook", json.loads(body)))
        elif status >= 300:
            self.chats.refused.append((status, words))
        data = words.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if status != 204 else b"")

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _certificates(folder: Path) -> tuple[dict[str, ssl.SSLContext], Path]:
    """A context for each of the names, and the file of the authority that vouches for them."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of the tests")])
    authority = _signed(ca_name, ca_name, ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=None))
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(authority)
    contexts = {}
    for host in HOSTS:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        certificate = _signed(name, ca_name, key, ca_key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = folder / f"{host}.pem"
        file.write_bytes(pem + certificate)
        contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[host].load_cert_chain(file)
    return contexts, ca_file


def _signed(name: x509.Name, by: x509.Name, key: Any, by_key: Any, extension: Any) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(by).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2)).add_extension(extension, critical=True)
    )  # fmt: skip
    return builder.sign(by_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
