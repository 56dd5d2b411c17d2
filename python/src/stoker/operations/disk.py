"""The disks of the nodes: what every mount has, and which are almost full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.errors import UsageError
from stoker.operations.node_values import Node
from stoker.operations.nodes import list_nodes
from stoker.operations.registry import operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem


@dataclass(frozen=True)
class Mount:
    """A mount of a node that holds files; sizes in bytes, None where it did not tell: `unknown` says why.

    `used_pct` counts as `df` does: what is kept for root is neither used nor free. `full`: it has reached the limit.
    """

    node: str
    mount: str
    device: str
    type: str
    total: int | None
    used: int | None
    free: int | None
    used_pct: float | None
    full: bool | None
    unknown: str | None


@dataclass(frozen=True)
class DiskReport:
    """Every mount of the nodes that answered. `unknown` says of a node why nothing of it is known.

    `strict`: a mount that is full, or of which that is not known, is a failure.
    """

    mounts: tuple[Mount, ...]
    unknown: Mapping[str, str]
    warn_pct: float
    strict: bool
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when a node could not be asked, or, where it is `strict`, when a mount is full or unknown; else 0."""
        bad = self.strict and (bool(self.unknown) or any(mount.full is not False for mount in self.mounts))
        return int(bad or bool(self.problems))


@operation("nodes", "disk", "read", method="disks")
def disks(session: Session, node: str | None = None, *, warn: float = 90.0, strict: bool = False) -> DiskReport:
    """Show every disk of the nodes: used, free, and which are almost full.

    Args:
        node: Only this node or group.
        warn: Mark a mount that is used this much, in percent.
        strict: Exit with 1 when a mount is marked, or when one does not tell how full it is.
    """
    if not 0 < warn <= 100:
        raise UsageError(f"--warn: {warn:g} is not a percentage", next_step="a number of more than 0, up to 100")
    names = session.inventory.match(node) if node is not None else [n.name for n in session.inventory.nodes]
    problems = make_round(session, "observe", nodes=names, parts=("disks",))
    found = [one for one in list_nodes(session).nodes if one.name in names]
    mounts = tuple(
        _mount(one.name, disk, warn) for one in found if one.reachable for disk in one.facts.get("disks") or ()
    )
    return DiskReport(mounts, {one.name: why for one in found if (why := _unknown(one))}, warn, strict, problems)


def _unknown(node: Node) -> str | None:
    if not node.reachable:
        return "it cannot be reached"
    if node.facts.get("disks_unknown"):
        return str(node.facts["disks_unknown"])
    return None if node.facts.get("disks") else "it names no mount that holds files"


def _mount(node: str, disk: Mapping[str, Any], warn: float) -> Mount:
    share = disk["used_pct"]
    return Mount(
        node, disk["mount"], disk["device"], disk["type"], disk["total"], disk.get("used"), disk["free"], share,
        None if share is None else share >= warn, disk["unknown"],
    )  # fmt: skip
