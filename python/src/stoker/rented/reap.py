"""What is billed and should not be: instances at the provider that no row of this store stands for.

Whose an instance is says its label alone. One of another store, or of a person, is shown and never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stoker.store.instance_rows import InstanceRow

_LABEL = re.compile(r"stoker/([0-9a-z-]{1,64})/([0-9a-f]{12})")


@dataclass(frozen=True)
class Reap:
    """What to do with one instance that the provider lists, and why.

    `known`: a row stands for it. `adopt`: its row does not have its number yet. `destroy`: it is this store's, and
    nothing stands for it. `foreign`: it is not this store's, and is left alone.
    """

    provider_id: int
    label: str
    what: Literal["known", "adopt", "destroy", "foreign"]
    why: str
    instance: str | None = None


def label(store_id: str, instance: str) -> str:
    """The label of an intent of a store."""
    return f"stoker/{store_id}/{instance}"


def plan(listed: Iterable[Mapping[str, Any]], rows: Iterable[InstanceRow], store_id: str) -> list[Reap]:
    """What to do with each instance of a complete list, in the order of their numbers.

    `rows` are all of the store, those that are over included.
    """
    by_label: dict[str, InstanceRow] = {row.label: row for row in rows}
    numbers = sorted(
        (number, str(one.get("label") or "")) for one in listed if isinstance(number := one.get("id"), int)
    )
    first: dict[str, int] = {}
    for number, text in numbers:
        first.setdefault(text, number)
    return [_judged(number, text, by_label.get(text), store_id, first[text]) for number, text in numbers]


def _judged(number: int, text: str, row: InstanceRow | None, store_id: str, first: int) -> Reap:
    found = _LABEL.fullmatch(text)
    if found is None or found[1] != store_id:
        return Reap(number, text, "foreign", "its label is not of this store" if text else "it has no label")
    if row is None:
        return Reap(number, text, "destroy", "its label is of this store, which has no such intent", found[2])
    if not row.live:
        return Reap(number, text, "destroy", f"it was taken for {row.phase}, and is there", row.id)
    if row.provider_id is None and number == first:
        return Reap(number, text, "adopt", "the answer to its create was lost", row.id)
    if row.provider_id == number:
        return Reap(number, text, "known", row.phase, row.id)
    return Reap(number, text, "destroy", f"another one with this label stands for {row.id}", row.id)
