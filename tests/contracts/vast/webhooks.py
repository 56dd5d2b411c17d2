# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices as the provider delivers them: signed, at least once, and what somebody else may send instead."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """Headers and body of one POST."""

    headers: Mapping[str, str]
    body: bytes

    def post(self, url: str) -> int:
        """Send it; the status of the answer."""
        request = urllib.request.Request(url, self.body, dict(self.headers), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)


def deliver(
    hook: Mapping[str, Any],
    event: str,
    now: float,
    *,
    message: str = "",
    age_s: float = 0.0,
    forged: bool = False,
    attempt: int = 1,
    event_id: str | None = None,
) -> Delivery:
    """A notice for this webhook. ``age_s``: sent so long ago; ``forged``: signed by who has not the secret; the same
    ``event_id`` again, with another ``attempt``: a duplicate. It names no instance, as the provider's does not."""
    stamp = str(int(now - age_s))
    identity = event_id or secrets.token_hex(8)
    said = {
        "event_id": identity, "user_id": 77, "notif_type": event, "subject": event, "message": message,
        "timestamp": int(stamp),
    }  # fmt: skip
    body = json.dumps(said).encode()
    secret = secrets.token_hex(32) if forged else str(hook["webhook_secret"])
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json", "X-Vast-Event-Id": identity, "X-Vast-Delivery-Attempt": str(attempt),
        "X-Vast-Timestamp": stamp, "X-Vast-Signature-256": f"sha256={signature}",
    }  # fmt: skip
    return Delivery(headers, body)
