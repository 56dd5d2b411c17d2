# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server: real SMTP, with a login, strict about what a message needs to be taken."""

from __future__ import annotations

import asyncio
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

NEEDED = ("From", "To", "Subject", "Date", "Message-ID")


class MailServer:
    """Listens on 127.0.0.1 until closed; ``mails`` are those taken. Only ``me`` with ``hunter22`` may send."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._loop.create_server(self._talk, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _talk(self) -> SMTP:
        return SMTP(self, authenticator=_login, auth_required=True, auth_require_tls=False, loop=self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        mail = cast(EmailMessage, message_from_bytes(envelope.content, policy=default))
        if missing := [name for name in NEEDED if not mail[name]]:
            return f"550 5.6.0 the header {missing[0]} is missing"
        if any(len(line) > 998 for line in envelope.content.splitlines()):
            return "550 5.6.0 a line is longer than 998 characters"
        self.mails.append(mail)
        return "250 taken"


def _login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"hunter22")
    return AuthResult(success=known, handled=False)
