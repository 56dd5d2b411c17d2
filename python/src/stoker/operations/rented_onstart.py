"""What a rented machine runs by itself at each of its starts."""

from __future__ import annotations

import importlib

from stoker.pool_settings import Pool


def onstart(pool: Pool, lease_s: float, url: str) -> str:
    """Its lease, so that it stops when nobody asks it anything any more, then what the pool says.

    The settings leave room for the lease; what is longer all the same the provider's client refuses.
    """
    deadman = importlib.import_module("ansible_collections.stoker.fleet.plugins.module_utils.deadman")
    lease: str = deadman.onstart(lease_s, url)
    return lease + (pool.onstart or "")
