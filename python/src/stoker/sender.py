"""Sends messages by apprise, as a process of its own: it may hang, and whoever started it ends it.

Standard input is JSON: {"url", "messages": [{"id", "title", "body", "mood"}]}. For each message a line of JSON is
printed: {"id", "sent", "why"}. After one that failed no other is tried.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

NEXT_STEP = "pip install 'stoker[notify]'"
_answers: list[TextIO] = []


def main() -> int:
    """Read what to send, send it, and say how each went."""
    asked = json.load(sys.stdin)
    # Whatever a library prints is no answer.
    _answers.append(sys.stdout)
    sys.stdout = sys.stderr
    try:
        import apprise
    except ImportError:
        _say(asked["messages"][0]["id"], False, f"apprise is not installed: {NEXT_STEP}")
        return 1
    service = apprise.Apprise.instantiate(
        asked["url"], asset=apprise.AppriseAsset(app_id="Stoker", app_desc="Stoker"), suppress_exceptions=True
    )
    for message in asked["messages"]:
        if service is None:
            _say(message["id"], False, "its address is none that apprise knows")
            return 1
        sent, why = _sent(apprise, service, message)
        _say(message["id"], sent, why)
        if not sent:
            return 1
    return 0


def _sent(apprise: Any, service: Any, message: dict[str, str]) -> tuple[bool, str | None]:
    """Whether it was taken; why not, in the words of the library."""
    with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as log:
        sent = bool(
            service.notify(
                title=message["title"], body=message["body"], notify_type=message["mood"], body_format="text"
            )
        )
        said = " ".join(log.getvalue().split())
    return sent, None if sent else said or "it was refused, and nothing was said about why"


def _say(number: str, sent: bool, why: str | None) -> None:
    _answers[-1].write(json.dumps({"id": number, "sent": sent, "why": why}) + "\n")
    _answers[-1].flush()


if __name__ == "__main__":
    sys.exit(main())
