"""Which rented machines know this controller's key: each controller has one of its own, and says so to each machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from stoker.errors import StokerError
from stoker.operations import rented_ssh
from stoker.operations.rented_provider import Provider, ProviderError
from stoker.runner.rented_nodes import RentedPlace
from stoker.written import alone_in, replace_file

_MOST = 10_000
_one_at_a_time = threading.Lock()


def known_to(place: RentedPlace) -> frozenset[int]:
    """The numbers of the machines that were told the key. A file that cannot be read costs telling them again."""
    try:
        return frozenset(int(number) for number in json.loads((place.folder / "attached.json").read_text()))
    except (OSError, ValueError, TypeError):
        return frozenset()


def attach(place: RentedPlace, provider: Provider, number: int) -> str | None:
    """Tell a machine the key, if it was not told yet. Returns why that failed: it may know it all the same.

    Raises StokerError where there is no key, or it cannot be written down who knows it.
    """
    if number in known_to(place):
        return None
    key = rented_ssh.public_key(place)
    try:
        provider.attach_key(number, key)
    except ProviderError as problem:
        return problem.message
    _write(place, lambda known: known | {number})
    return None


def forget(place: RentedPlace, number: int) -> None:
    """A machine that was told the key does not let anybody in with it: it is told again. Raises StokerError."""
    if number in known_to(place):
        _write(place, lambda known: known - {number})


def _write(place: RentedPlace, change: Callable[[frozenset[int]], frozenset[int]]) -> None:
    file = place.folder / "attached.json"
    try:
        with _one_at_a_time, alone_in(place.folder):
            told = sorted(change(known_to(place)))[-_MOST:]
            replace_file(file, json.dumps(told).encode(), mode=0o600)
    except OSError as problem:
        raise StokerError(f"{file} cannot be written: {problem.strerror or problem}") from problem
