"""Parts of what somebody else wrote: what is not of the kind that is expected is as if it were not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Said = Mapping[str, Any]


def mapped(said: Any) -> Said:
    """An object, else an empty one."""
    return said if isinstance(said, Mapping) else {}


def listed(said: Any) -> list[Said]:
    """The objects of a list."""
    return [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []


def text_of(said: Any) -> str | None:
    """A text, else None."""
    return said if isinstance(said, str) else None
