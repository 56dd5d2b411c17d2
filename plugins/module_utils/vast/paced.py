# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the provider may be asked: so many seconds between two calls of an endpoint, as it documents them."""

from __future__ import annotations

import threading
import time

# Seconds between two calls of one endpoint. Those that the provider does not publish are held to one second.
INTERVALS = {
    "list": 1.0,
    "show": 2.0,
    "change": 1.0,
    "destroy": 3.0,
    "create": 4.5,
    "bid": 5.5,
    "execute": 1.5,
    "charges": 1.0,
    "keys": 1.0,
    "attach": 2.0,
    "search": 1.0,
    "user": 1.0,
}
# What a create waits for after it was called too frequent.
PENALTIES = {"create": 12.0}


class Pace:
    """The calls of one process with one key, by endpoint. ``sleep`` and ``clock``: of ``time``, or a test's."""

    def __init__(self, sleep=time.sleep, clock=time.monotonic):
        self._sleep, self._clock = sleep, clock
        self._due = {}
        self._locks = {endpoint: threading.Lock() for endpoint in INTERVALS}

    def call(self, endpoint, work):
        """``work()``, begun no sooner than the endpoint allows after the end of its last call."""
        with self._locks[endpoint]:
            wait = self._due.get(endpoint, 0.0) - self._clock()
            if wait > 0:
                self._sleep(wait)
            try:
                return work()
            finally:
                self._due[endpoint] = self._clock() + INTERVALS[endpoint]


def pause_after(endpoint, tries, named=None):
    """Seconds to wait before try number ``tries`` + 1; longer each time, and no less than the provider ``named``."""
    if named is not None:
        return max(named, 0.5) * (1 + 0.5 * (tries - 1))
    return max(PENALTIES.get(endpoint, INTERVALS[endpoint]), 1.0) * 2 ** min(tries - 1, 4)
