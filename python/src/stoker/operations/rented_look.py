"""One look at all that the provider lists, and what it shows of each instance of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoker.operations.rented_provider import Provider, ProviderError, seen_of
from stoker.rented.clock import APART_S
from stoker.rented.provided import Seen

if TYPE_CHECKING:
    from stoker.store.instance_rows import InstanceRow

Clock = Callable[[], float]
Listed = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What the provider listed when it was asked at `at` (Unix seconds): all instances of the account, or why not.

    `problem` is why there is no list: then nothing is known, and least of all that there are none. `account` is whose
    list it is: of a machine of another account it shows nothing.
    """

    at: float
    listed: Sequence[Listed] = ()
    problem: ProviderError | None = None
    labels: Mapping[str, Sequence[Listed]] = field(default_factory=dict)
    account: int | None = None

    def mine(self, row: InstanceRow) -> bool:
        """Whether an instance is of the account that was asked; so is one of which that is not known."""
        return row.account is None or row.account == self.account

    def blind(self, row: InstanceRow) -> str | None:
        """Why the look says nothing of one instance; None: it does."""
        if self.problem is not None:
            return self.problem.message
        if self.mine(row):
            return self._doubt(row)
        return f"it is of the provider's account {row.account}, and the key here is of account {self.account}"

    def _doubt(self, row: InstanceRow) -> str | None:
        """Whether one that has no label yet, as a new one may, could be what came of a create that nobody answered."""
        if row.provider_id is not None or row.phase != "asked" or row.label in self.labels:
            return None
        for one in self.listed:
            begun = one.get("start_date")
            before = isinstance(begun, int | float) and begun < (row.asked_at or 0.0) - APART_S
            same = row.machine_id is not None and one.get("machine_id") == row.machine_id
            if same and not before and not one.get("label"):
                return f"instance {one['id']} is on the machine that it was asked for of, and has no label yet"
        return None

    def seen(self, row: InstanceRow) -> Seen | None:
        """What was seen of one instance; None: the look failed, or was one at another account."""
        if self.blind(row) is not None:
            return None
        named = self.labels.get(row.label, ())
        own = next((one for one in self.listed if one["id"] == row.provider_id), None)
        if own is None and row.provider_id is None and named:
            own = named[0]
        twins = tuple(one["id"] for one in named if own is None or one["id"] != own["id"])
        if own is None:
            return Seen(self.at, "absent", "a complete list of the provider lacks it", twins=twins)
        return seen_of(own, self.at, twins)


def look(provider: Provider, now: Clock = time.time) -> Look:
    """List once. A provider that fails is told of in the look."""
    at, account = now(), None
    try:
        account = provider.account()
        return looked(at, provider.instances(), account)
    except ProviderError as problem:
        return Look(at, problem=problem, account=account)


def looked(at: float, listed: Iterable[Listed], account: int | None = None) -> Look:
    """A look that brought this complete list of an account."""
    rows = sorted(listed, key=lambda one: int(one["id"]))
    labels: dict[str, list[Listed]] = {}
    for one in rows:
        if isinstance(label := one.get("label"), str):
            labels.setdefault(label, []).append(one)
    return Look(at, rows, labels=labels, account=account)


def look_at(provider: Provider, number: int, now: Clock = time.time) -> Seen:
    """One instance, asked for by its number; `gone`: the provider says that there is none. Raises ProviderError."""
    at = now()
    found = provider.instance(number)
    if found is None:
        return Seen(at, "gone", f"asked for {number}, the provider says that there is none", number)
    return seen_of(found, at)
