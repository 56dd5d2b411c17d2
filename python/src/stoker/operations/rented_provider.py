"""The provider of rented machines as operations ask it: its client, typed, with the caller's key and our errors."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from stoker.errors import StokerError
from stoker.rented.figures import amount
from stoker.rented.provided import Seen

_PACKAGE = "ansible_collections.stoker.fleet.plugins.module_utils.vast"
Answer = TypeVar("Answer")
# Of which account a key is never changes: by a digest of both address and key, asked once in a process.
_accounts: dict[str, int] = {}


class ProviderError(StokerError):
    """What the provider refused, or did not answer. `kind`, `instance` and `sent` are those of its client's errors."""

    def __init__(self, problem: Any) -> None:
        super().__init__(problem.message, next_step=problem.next)
        self.kind: str = problem.kind
        self.instance: int | None = problem.instance
        self.sent: bool = problem.sent

    @property
    def refused(self) -> bool:
        """Whether it surely was not carried out."""
        return self.kind in ("auth", "gone", "taken", "refused", "busy", "quota") or not self.sent


class Provider:
    """The provider, asked with one key. Every method raises ProviderError. Safe to use from several threads."""

    def __init__(self, client: Any, key: str | None = None) -> None:
        self._client = client
        self._errors = importlib.import_module(f"{_PACKAGE}.errors")
        # Without a key to know it by it is asked for once by each of these.
        self._known: dict[str, int] = {} if key is None else _accounts
        self._name = hashlib.sha256(f"{client.url} {key}".encode()).hexdigest()

    @property
    def url(self) -> str:
        """Its address."""
        return str(self._client.url)

    def account(self) -> int:
        """The number of the account whose key this is."""
        known = self._known.get(self._name)
        if known is None:
            known = self._known[self._name] = self._asked(lambda: int(self._client.user()["id"]))
        return known

    def offers(self, filters: Mapping[str, Any], kind: str, disk_gb: float) -> list[dict[str, Any]]:
        """What can be rented now."""
        return self._asked(lambda: self._client.offers(filters, kind=kind, disk_gb=disk_gb))

    def create(self, offer: int, image: str, disk_gb: float, label: str, **more: Any) -> int:
        """Rent an offer, once, and return the instance's number."""
        return self._asked(lambda: int(self._client.create(offer, image, disk_gb, label, **more).id))

    def instances(self) -> list[dict[str, Any]]:
        """All instances of the account: complete, or it raises."""
        return self._asked(lambda: self._client.instances())

    def instance(self, number: int) -> dict[str, Any] | None:
        """One instance; None only where the provider says that there is none."""
        found: dict[str, Any] | None = self._asked(lambda: self._client.instance(number))
        return found

    def set_state(self, number: int, state: Literal["running", "stopped"]) -> None:
        """Ask for it to be started or stopped."""
        self._asked(lambda: self._client.set_state(number, state))

    def set_bid(self, number: int, price: float) -> None:
        """Bid so many dollars an hour."""
        self._asked(lambda: self._client.set_bid(number, price))

    def destroy(self, number: int) -> None:
        """Ask for its end."""
        self._asked(lambda: self._client.destroy(number))

    def attach_key(self, number: int, key: str) -> None:
        """Let a public key log in there."""
        self._asked(lambda: self._client.attach_key(number, key))

    def charges(self, start: float, end: float) -> list[dict[str, Any]]:
        """What was charged between two moments."""
        return self._asked(lambda: self._client.charges(start, end))

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except self._errors.VastError as problem:
            raise ProviderError(problem) from problem


class Unasked(Provider):
    """A provider that nobody here can ask: everything that needs it raises why."""

    def __init__(self, problem: ProviderError) -> None:
        self._problem = problem

    @property
    def url(self) -> str:
        """Raises ProviderError: there is nobody to ask."""
        raise self._problem

    def account(self) -> int:
        """Raises ProviderError: there is nobody to ask."""
        raise self._problem

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        raise self._problem


def provider() -> Provider:
    """The provider, with the key of VAST_API_KEY or of the official client's file. Raises ProviderError without one."""
    errors, keys = (importlib.import_module(f"{_PACKAGE}.{name}") for name in ("errors", "keys"))
    client = importlib.import_module(f"{_PACKAGE}.client")
    try:
        key = keys.find_key().value
        return Provider(client.Vast(key), key)
    except errors.VastError as problem:
        raise ProviderError(problem) from None


def seen_of(listed: Mapping[str, Any], at: float, twins: Sequence[int] = ()) -> Seen:
    """What one row of the provider says, looked at since `at` (Unix seconds)."""
    reading = importlib.import_module(f"{_PACKAGE}.reading")
    judged = reading.judge(listed)
    rates = listed.get("instance")
    rates = rates if isinstance(rates, Mapping) else {}
    return Seen(
        at, judged.phase, judged.evidence, int(listed["id"]), reading.address(listed), amount(listed.get("min_bid")),
        amount(rates.get("gpuCostPerHour")), amount(rates.get("diskHour")), tuple(twins),
    )  # fmt: skip
