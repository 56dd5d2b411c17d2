"""A claim that is kept while somebody works on what was claimed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stoker.errors import StokerError


@contextmanager
def holding(renew: Callable[[], bool], lease_s: float) -> Iterator[None]:
    """Renew a claim three times in its `lease_s` seconds, and no longer than this process lives.

    `renew` says whether the claim still holds: where not, or where the store fails, writing down what came tells.
    """
    over = threading.Event()

    def keep() -> None:
        while not over.wait(lease_s / 3):
            try:
                if not renew():
                    return
            except StokerError:
                continue

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
