# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's own time: moved by the test, or running with (or faster than) the real one."""

from __future__ import annotations

import time


class Clock:
    """``speed`` 0: stands still but for ``advance``; 1: real time; 60: a minute per real second. It begins at the whole
    second of now, so that whole seconds stay exact."""

    def __init__(self, speed: float = 0.0, start: float | None = None) -> None:
        self.speed = speed
        self._base = float(int(time.time())) if start is None else start
        self._began = time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._base + self.speed * (time.monotonic() - self._began)

    def pace(self) -> float:
        """What the intervals between calls are measured by: real seconds where time runs."""
        return time.monotonic() if self.speed else self.now()

    def advance(self, seconds: float) -> None:
        """Move on by so much; never back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._base += seconds
