"""Telegram's Bot API: what was written to a bot, and answers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.errors import StokerError
from stoker.redaction import redact

_API = "https://api.telegram.org"
# How much longer than it was asked to wait the server may take.
_SLACK_S = 15.0
MOST = 4000


@dataclass(frozen=True)
class Written:
    """A message to the bot. `private`: nobody else reads the answer."""

    number: int
    at: float
    user: str
    name: str
    chat: int
    private: bool
    text: str


class Bot:
    """A bot by its token. Every method raises StokerError, without the token, when Telegram does not do it."""

    def __init__(self, token: str) -> None:
        self._token = token
        # What stands before the colon is no secret: it is the bot's id.
        self.number = token.partition(":")[0] if ":" in token else ""
        self._opener = urllib.request.build_opener()

    def written(self, after: int, wait_s: float) -> list[Written]:
        """The messages after that number, oldest first; waits so long for the first. What is not text is left out."""
        asked = {"offset": after + 1, "timeout": int(wait_s), "allowed_updates": ["message"]}
        return [found for update in self._ask("getUpdates", asked, wait_s) if (found := _written(update)) is not None]

    def answer(self, chat: int, text: str) -> None:
        """Send a text to a chat; what is too long is cut at the front, since the end says how it went."""
        shown = text if len(text) <= MOST else "…" + text[-MOST:]
        self._ask("sendMessage", {"chat_id": chat, "text": shown, "disable_web_page_preview": True}, 0.0)

    def _ask(self, method: str, asked: Mapping[str, Any], wait_s: float) -> Any:
        request = urllib.request.Request(
            f"{_API}/bot{self._token}/{method}", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=wait_s + _SLACK_S) as reply:
                told = json.loads(reply.read(1 << 24))
        except urllib.error.HTTPError as problem:
            raise self._refused(method, _described(problem.read(1 << 16)) or f"HTTP {problem.code}") from None
        except (OSError, ValueError) as problem:
            raise self._refused(method, str(getattr(problem, "reason", problem))) from None
        if not isinstance(told, dict) or told.get("ok") is not True:
            raise self._refused(method, "its answer is not as documented")
        return told["result"]

    def _refused(self, method: str, why: str) -> StokerError:
        return StokerError(f"Telegram did not do {method}: {redact(why, [self._token])}")


def _written(update: Mapping[str, Any]) -> Written | None:
    message = update.get("message") or {}
    sender, chat = message.get("from") or {}, message.get("chat") or {}
    return Written(
        int(update["update_id"]), float(message.get("date") or 0.0), str(sender.get("id") or ""),
        str(sender.get("username") or sender.get("first_name") or ""), int(chat.get("id") or 0),
        chat.get("type") == "private" and not sender.get("is_bot"), str(message.get("text") or ""),
    )  # fmt: skip


def _described(body: bytes) -> str | None:
    try:
        said = json.loads(body).get("description")
    except (ValueError, AttributeError):
        return None
    return str(said) if said else None
