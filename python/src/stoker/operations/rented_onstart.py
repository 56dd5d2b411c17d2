"""What a rented machine runs by itself at each of its starts."""

from __future__ import annotations

import importlib

from stoker.pool_settings import MOST_ONSTART, Pool


def onstart(pool: Pool, lease_s: float, url: str) -> str | None:
    """Its lease, so that it stops when nobody asks it anything any more, then what the pool says.

    A text that is longer than the provider takes goes without the lease: the time to live ends the machine then.
    """
    deadman = importlib.import_module("ansible_collections.stoker.fleet.plugins.module_utils.deadman")
    lease: str = deadman.onstart(lease_s, url)
    whole = lease + (pool.onstart or "")
    return whole if len(whole) <= MOST_ONSTART else pool.onstart
