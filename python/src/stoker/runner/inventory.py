"""The nodes and groups of an inventory, and the choice of some of them by a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class InventoryNode:
    """A node as the inventory describes it. ``vars`` holds only ``ansible_*`` and ``stoker_*``, no secrets."""

    name: str
    groups: tuple[str, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """Nodes in inventory order and groups (name -> node names, children included). ``source`` is the file."""

    source: Path
    nodes: tuple[InventoryNode, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def node(self, name: str) -> InventoryNode:
        """The node named `name`. Raises NotFound with a suggestion."""
        raise NotImplementedError

    def match(self, pattern: str) -> list[str]:
        """Names of the nodes that `pattern` chooses, in inventory order. Raises UsageError for an unknown name."""
        raise NotImplementedError
