"""What a round learns of the nodes themselves: pure rules over their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.dispatch.leases import Clock, reading
from stoker.dispatch.membership import Rules
from stoker.store import NodeRow


def heard(
    known: NodeRow | None, name: str, facts: Mapping[str, Any], now: float, clock: Clock | None = None
) -> NodeRow:
    """The row of a node that answered. What it was not asked this time (its GPUs) stays as it was told last.

    `clock` is this machine's after the answer came.
    """
    merged = dict(known.facts) if known is not None else {}
    if "gpus" in facts:
        merged.pop("gpus_unknown", None)
        merged["gpus_at"] = now
    if "cpu" in facts:
        merged["read_at"] = now
    merged.pop("misdescribed", None)
    merged.update({key: value for key, value in facts.items() if key != "schema"})
    return NodeRow(name, merged, now, None, None, 0, reading(facts, clock))


def misdescribed(known: NodeRow | None, name: str, message: str) -> NodeRow:
    """The row of a node that was not asked, its variables in the inventory being wrong: nothing is placed there."""
    row = known or NodeRow(name, {}, None, None, None, 0)
    return replace(row, facts={**row.facts, "misdescribed": message})


def missed(known: NodeRow | None, name: str, message: str, now: float, rules: Rules) -> NodeRow:
    """The row of a node that could not be asked: since when, how often, and why in its own or Ansible's words.

    However many ask, one miss is counted in each interval of a probe; too many, and it is offline.
    """
    row = known or NodeRow(name, {}, None, None, None, 0)
    since = row.unreachable_since if row.unreachable_since is not None else now
    row = replace(row, unreachable_since=since, unreachable_message=message)
    if row.missed_at is not None and row.misses and 0 <= now - row.missed_at < rules.probe_s:
        return row
    row = replace(row, misses=row.misses + 1, missed_at=now)
    return replace(row, offline_since=now) if row.offline_since is None and row.misses >= rules.misses else row


def tells_more(before: NodeRow | None, after: NodeRow) -> bool:
    """Whether the planner can now decide something about the node that it could not before."""
    if before is None or before.unreachable_since is not None:
        return after.unreachable_since is None
    return any(part in after.facts and part not in before.facts for part in ("gpus", "cpu", "memory", "disks"))
