"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from typing import Any

from stoker.config import MOST
from stoker.errors import UsageError

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    unit + suffix: 1024**power
    for power, unit in enumerate(("", "k", "m", "g", "t"))
    for suffix in (("", "b") if power == 0 else ("", "b", "i", "ib"))
}


def seconds(value: float | str, what: str) -> float:
    """`90`, `90s`, `2h`, `1h30m` in seconds. Raises UsageError that names `what`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        total = float(value)
    else:
        parts = re.findall(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).lower())
        rest = re.sub(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", "", str(value).lower())
        if not parts or rest.strip() or any(unit not in _SECONDS for _, unit in parts):
            raise UsageError(
                f"{what}: {value!r} is not a duration", next_step="write it as 90, 90s, 15m, 2h, 1h30m or 7d"
            )
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 <= total < 1e10:
        raise UsageError(f"{what}: {value!r} is not a duration of 0 seconds or more")
    return total


def size(value: int | str, what: str) -> int:
    """`8G`, `512M`, `1073741824` in bytes (powers of 1024). Raises UsageError that names `what`."""
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(value).lower())
        if not match or match[2] not in _BYTES:
            raise UsageError(f"{what}: {value!r} is not a size", next_step="write it as 8G, 512M or a number of bytes")
        total = int(float(match[1]) * _BYTES[match[2]])
    if total <= 0:
        raise UsageError(f"{what}: {value!r} is not a size of more than 0 bytes")
    return total


def count(value: Any, what: str, *, least: int = 0) -> int:
    """A whole number from `least` to the largest that a store holds. Raises UsageError that names `what`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{what}: {value!r} is not a whole number")
    if not least <= value <= MOST:
        words = f"{least:,} or more" if value < least else f"at most {MOST:,}"
        raise UsageError(f"{what}: {value} is not a number of {words}")
    return int(value)
