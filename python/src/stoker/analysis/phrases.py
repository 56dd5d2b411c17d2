"""Numbers, spans of time and names in few characters."""

from __future__ import annotations

import math
from typing import Any


def number(value: float) -> str:
    """A value in four digits, steps and counts whole."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Inf" if value > 0 else "-Inf"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def short(value: Any) -> str:
    """A setting in few characters."""
    return (
        number(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else cut(str(value), 24)
    )


def span(seconds: float) -> str:
    """`0.3 s`, `40 s`, `12 m`, `3.2 h`, `5 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1g} s" if 0 < seconds < 0.95 else f"{seconds:.0f} s"


def cut(text: str, most: int) -> str:
    """The text on one line, at most `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
