"""The nodes and groups of an inventory, and the choice of some of them by a pattern."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker import patterns, pools
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

    @property
    def without_hosts(self) -> str | None:
        """A sentence where it names no host at all, None otherwise."""
        return None if self.nodes or self.outside else f"{self.source} names no host (next: write them under hosts:)"

    def node(self, name: str) -> InventoryNode:
        """The node named `name`. Raises NotFound with a suggestion."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise self._unknown(name, "node", [n.name for n in self.nodes])

    def match(self, pattern: str) -> list[str]:
        """Names of the nodes that `pattern` chooses, in inventory order.

        `stoker.patterns` says what a pattern is; `pool:NAME` are the rented nodes of a pool, which may be none.
        Raises UsageError for a part that names nothing.
        """
        if pools.pool_of(pattern) is not None:
            return [node.name for node in self.nodes if pools.takes(pattern, node.vars)]
        names = [node.name for node in self.nodes]
        try:
            return patterns.match(pattern, names, self.groups)
        except patterns.UnknownPart as unknown:
            known = [] if unknown.rule else [*names, *self.groups]
            raise self._unknown(unknown.part, "node or group", known) from None

    def meant(self, target: str | None) -> list[str]:
        """The nodes that a job with this target may run on, in inventory order. Raises UsageError as `match` does."""
        if target is not None:
            return self.match(target)
        return [node.name for node in self.nodes if pools.takes(None, node.vars)]

    def _unknown(self, name: str, what: str, known: list[str]) -> NotFound:
        if name in self.outside:
            reason, _, step = self.outside[name].partition(": ")
            return NotFound(reason, next_step=step or None)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return NotFound(f"no {what} '{name}' in {self.source.name}.{hint} (stoker nodes lists them)")
