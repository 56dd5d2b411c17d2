"""The nodes and groups of an inventory, and the choice of some of them by a pattern."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import NotFound, UsageError

_SUBSCRIPT = re.compile(r"^(?P<name>.+)\[(?P<first>-?\d+)?(?P<range>:)?(?P<last>-?\d+)?\]$")


@dataclass(frozen=True)
class InventoryNode:
    """A node as the inventory describes it. ``vars`` holds only ``ansible_*`` and ``stoker_*``, no secrets.

    ``secrets`` are the names in its ``stoker_secrets``, None when they are encrypted, too.
    """

    name: str
    groups: tuple[str, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class Inventory:
    """Nodes in inventory order and groups (name -> node names, children included). ``source`` is the file.

    ``outside`` are nodes of the file that may not be used, each with the reason.
    """

    source: Path
    nodes: tuple[InventoryNode, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)

    def without(self, outside: Mapping[str, str]) -> Inventory:
        """The same without these nodes; asked for one of them, it tells the reason."""
        left = {group: tuple(name for name in members if name not in outside) for group, members in self.groups.items()}
        nodes = tuple(node for node in self.nodes if node.name not in outside)
        return Inventory(self.source, nodes, left, dict(outside))

    def node(self, name: str) -> InventoryNode:
        """The node named `name`. Raises NotFound with a suggestion."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise self._unknown(name, "node", [n.name for n in self.nodes])

    def match(self, pattern: str) -> list[str]:
        """Names of the nodes that `pattern` chooses, in inventory order.

        A pattern is a name of a node or group, ``all``, a glob, ``~`` and a regular expression, ``group[0:2]``, or
        several of these with commas or colons between: ``&`` before one keeps only its nodes, ``!`` takes them away.
        Raises UsageError for a part that names nothing.
        """
        parts = _split(pattern)
        if not parts:
            raise UsageError("no node was named", next_step="stoker nodes lists them")
        plus = [p for p in parts if p[0] not in "&!"]
        chosen = {name for p in plus for name in self._part(p)} if plus else {n.name for n in self.nodes}
        for part in parts:
            if part[0] == "&":
                chosen &= set(self._part(part[1:]))
        for part in parts:
            if part[0] == "!":
                chosen -= set(self._part(part[1:]))
        return [node.name for node in self.nodes if node.name in chosen]

    def _part(self, part: str) -> list[str]:
        names = [node.name for node in self.nodes]
        if part in ("all", "*"):
            return names
        if part in names:
            return [part]
        if part in self.groups:
            return list(self.groups[part])
        subscript = _SUBSCRIPT.match(part)
        if subscript and subscript["name"] in (*names, *self.groups, "all"):
            return _slice(self._part(subscript["name"]), subscript)
        if part.startswith("~"):
            return self._by_rule(part, _regex(part[1:]))
        if any(c in part for c in "*?["):
            return self._by_rule(part, re.compile(fnmatch.translate(part)))
        raise self._unknown(part, "node or group", [*names, *self.groups])

    def _by_rule(self, part: str, rule: re.Pattern[str]) -> list[str]:
        found = [name for group, members in self.groups.items() if rule.match(group) for name in members]
        found += [node.name for node in self.nodes if rule.match(node.name)]
        if not found:
            raise self._unknown(part, "node or group", [])
        return found

    def _unknown(self, name: str, what: str, known: list[str]) -> NotFound:
        if name in self.outside:
            reason, _, step = self.outside[name].partition(": ")
            return NotFound(reason, next_step=step or None)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return NotFound(f"no {what} '{name}' in {self.source.name}.{hint} (stoker nodes lists them)")


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
