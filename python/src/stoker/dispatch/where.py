"""`--where`: what a node's host variables have to say. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.errors import UsageError

_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*")


@dataclass(frozen=True)
class Condition:
    """One condition: `sign` is =, !=, <, <=, > or >=. A list in the inventory is equal to each of its entries."""

    name: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """`stoker_gpu_model=H100`. Raises UsageError for what is no condition."""
        found = _FORM.fullmatch(text)
        if found is None or not found[3]:
            raise UsageError(
                f"--where: {text!r} is no condition", next_step="write it as stoker_gpu_model=H100 (or != < <= > >=)"
            )
        name, sign, value = found.groups()
        if not name.startswith("stoker_"):
            raise UsageError(
                f"--where: {name} is no variable that a round sees: their names begin with stoker_",
                next_step=f"set stoker_{name} in the inventory",
            )
        if sign in ("<", "<=", ">", ">=") and _number(value) is None:
            raise UsageError(f"--where: {text!r}: {value!r} is not a number")
        return cls(name, sign, value)

    def lacks(self, variables: Mapping[str, Any]) -> str | None:
        """What a node with these variables has instead; None: it meets the condition."""
        if self.name not in variables:
            return "not set" if self.sign != "!=" else None
        told = variables[self.name]
        if isinstance(told, str) and "{{" in told:
            return "a template, which a round does not fill in"
        entries = told if isinstance(told, list | tuple) else [told]
        met = self._compared(entries) if self.sign not in ("=", "!=") else self._equal(entries) == (self.sign == "=")
        return None if met else ", ".join(_text(entry) for entry in entries)

    def _equal(self, entries: Sequence[Any]) -> bool:
        wanted = _number(self.value)
        return any(
            _text(entry).casefold() == self.value.casefold() or (wanted is not None and _number(entry) == wanted)
            for entry in entries
        )

    def _compared(self, entries: Sequence[Any]) -> bool:
        limit, numbers = _number(self.value) or 0.0, [_number(entry) for entry in entries]
        rules = {
            "<": lambda n: n < limit,
            "<=": lambda n: n <= limit,
            ">": lambda n: n > limit,
            ">=": lambda n: n >= limit,
        }
        return any(number is not None and rules[self.sign](number) for number in numbers)

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
