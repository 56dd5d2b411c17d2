"""Figures as the provider sends them: what cannot be right is not known."""

from __future__ import annotations

from typing import Any

# More than any of them is: a price, a size, a speed.
_MOST = 1e12


def amount(value: Any) -> float | None:
    """A number that is not below 0; None for anything else, such as no number at all, NaN, or a price of -1.

    One that is wrong would be in every sum: nothing were within its budget any more, or everything.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MOST else None
