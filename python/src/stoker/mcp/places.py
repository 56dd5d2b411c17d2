"""How many calls may be under way, so that nobody is kept waiting by others, nor by what he waits for himself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from stoker.errors import StokerError

# Of one caller: calls at once, those that last apart from the others; and how many of the others may wait their turn.
AT_ONCE = 8
LASTING_AT_ONCE = 8
QUEUED = 32
# Of all callers: each is a process.
OF_ALL = 64
_HEARTBEAT_S = 5.0

Caller = tuple[str, str]
Progress = Callable[[float, str], Awaitable[None]]


class Places:
    """The places of one server."""

    def __init__(self) -> None:
        self._quick: dict[Caller, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._queued: Counter[Caller] = Counter()
        self._lasting: Counter[Caller] = Counter()
        self._all = 0

    @asynccontextmanager
    async def taken(self, caller: Caller, lasts: bool, progress: Progress) -> AsyncIterator[None]:
        """Hold a place for a call; where the caller has too many under way, wait for one of them, and say so.

        Raises StokerError when there is none: of those that last nobody knows when one becomes free.
        """
        if lasts and self._lasting[caller] >= LASTING_AT_ONCE:
            raise StokerError(
                f"{LASTING_AT_ONCE} calls of yours wait or follow something, and no more may at once: nothing was done",
                next_step="cancel one of them, or look without waiting: jobs with do='job'",
            )
        if not lasts and self._queued[caller] >= QUEUED:
            raise StokerError(
                f"{QUEUED} calls of yours wait for their turn already: nothing was done",
                next_step="ask again when some are answered",
            )
        if self._all >= OF_ALL:
            raise StokerError(
                f"{OF_ALL} calls are under way here, and no more may at once: nothing was done",
                next_step="ask again in a while",
            )
        self._all += 1
        try:
            if lasts:
                self._lasting[caller] += 1
                try:
                    yield
                finally:
                    self._lasting[caller] -= 1
            else:
                await self._turn(caller, progress)
                try:
                    yield
                finally:
                    self._quick[caller].release()
        finally:
            self._all -= 1

    async def _turn(self, caller: Caller, progress: Progress) -> None:
        began = time.monotonic()
        self._queued[caller] += 1
        try:
            while True:
                try:
                    await asyncio.wait_for(self._quick[caller].acquire(), _HEARTBEAT_S)
                    return
                except TimeoutError:
                    elapsed = time.monotonic() - began
                    await progress(elapsed, f"{elapsed:.0f} s, behind {AT_ONCE} other calls of yours")
        finally:
            self._queued[caller] -= 1
