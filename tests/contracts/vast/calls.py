# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call, and the table of what can be called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Callable[["Call"], object]


@dataclass(frozen=True)
class Call:
    """``part``: the number in the path; ``second``: the one after it. ``instance``: whose scoped key was given."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    part: int = 0
    second: int = 0
    token: str = ""


@dataclass(frozen=True)
class Route:
    """``name`` is the endpoint's, for pacing and faults; ``denied``: the status for a key that is not known."""

    method: str
    pattern: re.Pattern[str]
    name: str
    answer: Answer
    denied: int = 401
    login: bool = True


def route(method: str, path: str, name: str, answer: Answer, *, denied: int = 401, login: bool = True) -> Route:
    """``{id}`` and ``{key}`` in the path are numbers, ``{token}`` is letters and digits."""
    pattern = path.replace("{id}", r"(?P<part>[1-9][0-9]*)").replace("{key}", r"(?P<second>[1-9][0-9]*)")
    return Route(method, re.compile(pattern.replace("{token}", r"(?P<token>[0-9a-f]+)")), name, answer, denied, login)


# Seconds between two calls of one key to one endpoint.
THRESHOLDS = {
    "list": 1.0, "show": 2.0, "change": 1.0, "reboot": 1.0, "destroy": 3.0, "create": 4.5, "bid": 5.5, "command": 1.5,
    "charges": 1.0, "invoices": 3.0, "ssh-keys": 1.0, "detach": 2.0, "prepay": 2.0,
}  # fmt: skip
PENALTIES = {"create": 12.0}
