# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the provider says no, and how it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


class Refusal(Exception):
    """An answer that is an error. ``more``: what else its body says; ``text``: a body that is no JSON."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str = "",
        *,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(f"{status} {error} {message}")
        body = {"success": False, "error": error, "msg": message or error, **more}
        data = json.dumps(body).encode() if text is None else text.encode()
        self.reply = Reply(status, data, dict(headers or {}), "text/plain" if text is not None else "application/json")


@dataclass
class Reply:
    """An answer. ``cut``: the connection ends without it; ``held``: it leaves when this is set."""

    status: int
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    cut: bool = False
    held: threading.Event | None = None

    @classmethod
    def of(cls, body: object, status: int = 200) -> Reply:
        return cls(status, json.dumps(body).encode())


def no_such_instance(number: int) -> Refusal:
    return Refusal(404, "no_such_instance", f"Instance {number} not found.")
