"""Which nodes a pattern means, as Ansible reads it. Pure: the inventory of a session and a round both ask here."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

from stoker.errors import UsageError

_SUBSCRIPT = re.compile(r"^(?P<name>.+)\[(?P<first>-?\d+)?(?P<range>:)?(?P<last>-?\d+)?\]$")


class UnknownPart(Exception):
    """A part of a pattern that names nothing. `rule`: it is a glob or a regular expression."""

    def __init__(self, part: str, *, rule: bool = False) -> None:
        super().__init__(part)
        self.part, self.rule = part, rule


def match(pattern: str, names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of `names` that `pattern` chooses, in their order.

    A pattern is a name of a node or group, ``all``, a glob, ``~`` and a regular expression, ``group[0:2]``, or several
    of these with commas or colons between: ``&`` before one keeps only its nodes, ``!`` takes them away. Raises
    UnknownPart, and UsageError for what is no pattern.
    """
    parts = _split(pattern)
    if not parts:
        raise UsageError("no node was named", next_step="stoker nodes lists them")
    plus = [p for p in parts if p[0] not in "&!"]
    chosen = {name for p in plus for name in _part(p, names, groups)} if plus else set(names)
    for part in parts:
        if part[0] == "&":
            chosen &= set(_part(part[1:], names, groups))
    for part in parts:
        if part[0] == "!":
            chosen -= set(_part(part[1:], names, groups))
    return [name for name in names if name in chosen]


def _part(part: str, names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    if part in ("all", "*"):
        return list(names)
    if part in names:
        return [part]
    if part in groups:
        return list(groups[part])
    subscript = _SUBSCRIPT.match(part)
    if subscript and subscript["name"] in (*names, *groups, "all"):
        return _slice(_part(subscript["name"], names, groups), subscript)
    if part.startswith("~"):
        return _by_rule(part, _regex(part[1:]), names, groups)
    if any(c in part for c in "*?["):
        return _by_rule(part, re.compile(fnmatch.translate(part)), names, groups)
    raise UnknownPart(part)


def _by_rule(part: str, rule: re.Pattern[str], names: Iterable[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    found = [name for group, members in groups.items() if rule.match(group) for name in members]
    found += [name for name in names if rule.match(name)]
    if not found:
        raise UnknownPart(part, rule=True)
    return found


def _split(pattern: str) -> list[str]:
    """The parts of a pattern. Commas part always; colons only outside brackets and not in an IPv6 address."""
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", pattern)]
    if len(parts) == 1 and pattern.count("::") == 0 and pattern.count(":") < 6:
        parts = [part.strip() for part in re.split(r":(?![^\[]*\])", pattern)] if not pattern.startswith("~") else parts
    return [part for part in parts if part and part not in ("&", "!")]


def _slice(names: list[str], found: re.Match[str]) -> list[str]:
    first = int(found["first"] or 0)
    if not found["range"]:
        return names[first : first + 1 or None]
    last = int(found["last"]) if found["last"] else len(names) - 1
    return names[first : last + 1 or None]


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"'~{text}' is not a regular expression: {error}") from error
