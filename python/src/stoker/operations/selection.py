"""Refusing a job at its submit that no node of the inventory could take by what it asks of its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations.find import near
from stoker.pools import pool_of

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.runner import InventoryNode


def refuse_impossible(session: Session, target: str | None, wants: Mapping[str, Any]) -> None:
    """Raise UsageError where the inventory has no node for the job, or too few for its ranks."""
    from stoker.dispatch.where import Condition

    conditions, ranks = [Condition.parse(text) for text in wants.get("where") or ()], int(wants.get("ranks") or 1)
    # The machines of a pool are not there yet: what they have is for its settings to say.
    if (not conditions and ranks == 1) or pool_of(target) is not None:
        return
    inventory = session.inventory
    nodes = [inventory.node(name) for name in inventory.meant(target)]
    left = nodes
    for each in conditions:
        left = [node for node in left if each.lacks(node.vars) is None]
        if not left:
            raise UsageError(f"--where {each}: {_instead(each, nodes)}", next_step="stoker nodes lists the nodes")
    if len(left) < ranks:
        meant = ", ".join(node.name for node in left[:5])
        raise UsageError(f"--nodes {ranks}: only {len(left)} can be meant ({meant})", next_step=f"--nodes {len(left)}")


def _instead(condition: Any, nodes: list[InventoryNode]) -> str:
    """What the nodes have in place of what was asked."""
    told = Counter(_text(node.vars[condition.name]) for node in nodes if condition.name in node.vars)
    if told:
        return f"no node has it ({', '.join(f'{value}: {many}' for value, many in told.most_common(5))})"
    names = {name for node in nodes for name in node.vars if name.startswith("stoker_")}
    return f"no node has the variable {condition.name}.{near(condition.name, names)}"


def _text(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
