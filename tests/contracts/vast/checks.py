# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body or a query may say: exactly its fields, of their types and within their limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .refusal import Refusal

Check = Callable[[Any], bool]

RUNTYPES = (
    "ssh", "ssh_proxy", "ssh_direc ssh_proxy", "jupyter_proxy ssh_proxy", "jupyter_direc ssh_direc ssh_proxy", "args",
)  # fmt: skip


def text(most: int = 1 << 20, least: int = 0) -> Check:
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def number(least: float, most: float) -> Check:
    return lambda value: is_number(value) and least <= value <= most


def whole(least: int = 0, most: int = 1 << 53) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def ids(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 64 and all(whole(1)(item) for item in value)


def words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def environment(value: Any) -> bool:
    """Names with values, each within 256 characters, all within 32768, and at most 64 ports."""
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        return False
    ports = [name for name in value if name.startswith("-p ")]
    total = sum(len(name) + len(item) for name, item in value.items())
    return len(ports) <= 64 and total <= 32768 and all(len(item) <= 256 for item in value.values())


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def hold(body: Any, fields: Mapping[str, Check], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body, when it says what it must and nothing that it may not. Raises Refusal (400, invalid_args)."""
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_request", "Invalid json body")
    for name in needed:
        if name not in body:
            raise Refusal(400, "invalid_args", f"missing field: {name}")
    for name, value in body.items():
        if name not in fields:
            raise Refusal(400, "invalid_args", f"unknown field: {name}")
        if not fields[name](value):
            raise Refusal(400, "invalid_price" if name == "price" else "invalid_args", f"invalid value of {name}")
    return body


def query(given: Mapping[str, str], *names: str) -> dict[str, Any]:
    """The values of a query by name; those that are JSON are read. Raises Refusal for a name that is not expected."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name == "api_key":
            continue
        if name not in names:
            raise Refusal(400, "invalid_args", f"unknown parameter: {name}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


CREATE: dict[str, Check] = {
    "client_id": one_of("me"),
    "image": text(1024, 1),
    "env": environment,
    "price": optional(number(0.001, 128)),
    "disk": number(8, 100_000),
    "label": optional(text(256)),
    "extra": optional(text()),
    "onstart": optional(text()),
    "image_login": optional(text()),
    "python_utf8": flag,
    "lang_utf8": flag,
    "use_jupyter_lab": flag,
    "jupyter_dir": optional(text()),
    "force": flag,
    "cancel_unavail": flag,
    "template_hash_id": lambda value: value is None,
    "user": optional(text()),
    "runtype": one_of(*RUNTYPES),
    "args": words,
    "args_str": text(),
    "target_state": one_of("running", "stopped"),
}


def create(body: Any, *more: tuple[str, Check]) -> dict[str, Any]:
    """A create's body. Raises Refusal."""
    fields = hold(body, {**CREATE, **dict(more)}, ("image", "disk"))
    command = len(fields.get("onstart") or "") + len(fields.get("args_str") or "")
    if command + sum(map(len, fields.get("args") or [])) > 4096:
        raise Refusal(400, "invalid_args", "args, args_str and onstart: more than 4096 characters")
    return fields
