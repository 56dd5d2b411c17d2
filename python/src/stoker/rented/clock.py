"""A clock that was set back: what was written down before lies in the future, and would wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.store.instance_rows import InstanceRow

# So much the clocks of controllers that share a store may differ, in seconds.
APART_S = 120.0
_TIMES = ("phase_since", "problem_since", "asked_at", "seen_at", "booted_at", "ready_at", "idle_since",
          "destroy_asked_at", "ended_at")  # fmt: skip


def ahead_s(row: InstanceRow, now: float) -> float:
    """How far its times lie in the future, in seconds; 0 where they do not, or no more than clocks differ."""
    times = [at for name in ("created_at", *_TIMES) if (at := getattr(row, name)) is not None]
    ahead = max(times) - now
    return ahead if ahead > APART_S else 0.0


def set_right(row: InstanceRow, now: float) -> Mapping[str, Any]:
    """What changes in a row so that it goes on: what lies in the future is of now, and it lives no longer than it may.

    Else nobody asked again for its end, nobody missed it, and its idle time did not pass until then.
    """
    if not ahead_s(row, now):
        return {}
    late = max(0.0, row.created_at - now)
    values: dict[str, Any] = {"created_at": now, "expires_at": row.expires_at - late} if late else {}
    return values | {name: now for name in _TIMES if (at := getattr(row, name)) is not None and at > now}
