"""The nodes and groups of an inventory, and the choice of some of them by a pattern."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker import patterns
from stoker.errors import NotFound


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
    """Nodes in inventory order and groups (name -> node names, children included). ``source`` is the file."""

    source: Path
    nodes: tuple[InventoryNode, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def node(self, name: str) -> InventoryNode:
        """The node named `name`. Raises NotFound with a suggestion."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise self._unknown(name, "node", [n.name for n in self.nodes])

    def match(self, pattern: str) -> list[str]:
        """Names of the nodes that `pattern` chooses, in inventory order.

        `stoker.patterns` says what a pattern is.
        Raises UsageError for a part that names nothing.
        """
        names = [node.name for node in self.nodes]
        try:
            return patterns.match(pattern, names, self.groups)
        except patterns.UnknownPart as unknown:
            known = [] if unknown.rule else [*names, *self.groups]
            raise self._unknown(unknown.part, "node or group", known) from None

    def _unknown(self, name: str, what: str, known: list[str]) -> NotFound:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return NotFound(f"no {what} '{name}' in {self.source.name}.{hint} (stoker nodes lists them)")
