# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire format of protocol buffers, walked without a schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """These bytes are no protocol buffer message."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, position after it)."""
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number that does not end")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def fields(data: Any) -> Iterator[tuple[int, int, Any]]:
    """Each field of a message as (number, wire type, value); a value is an int, or bytes. Raises WireError."""
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length, at = varint(data, at)
            if at + length > end:
                raise WireError("a field longer than its message")
            yield number, wire, data[at : at + length]
            at += length
        elif wire == VARINT:
            value, at = varint(data, at)
            yield number, wire, value
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            if at + size > end:
                raise WireError("a field longer than its message")
            yield number, wire, data[at : at + size]
            at += size
        else:
            raise WireError(f"wire type {wire}")


def signed(value: int, bits: int = 64) -> int:
    """A varint as the signed number it stands for."""
    value &= (1 << 64) - 1
    value = value - (1 << 64) if value >> 63 else value
    if bits == 32:
        value &= (1 << 32) - 1
        value = value - (1 << 32) if value >> 31 else value
    return value


def text(value: Any) -> str:
    """A field as text, whatever it holds."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
