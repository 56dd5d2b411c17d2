"""How many jobs a node or a group takes at a time, and jobs that are kept apart. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoker.dispatch.load import Load, names
from stoker.dispatch.model import NodeInfo
from stoker.store import JobRow


class Limits:
    """The limits of an inventory, and of the settings: of two for the same group the lower one counts.

    `stoker_max_jobs` of a node, `stoker_group_limits` (group: number) of any node. What is under way counts, jobs that
    wait on a node for its GPUs among it.
    """

    def __init__(self, nodes: Sequence[NodeInfo], group_limits: Mapping[str, int]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._groups = dict(group_limits)
        self._wrong: dict[str, str] = {}
        for node in nodes:
            self._read(node)
        self._members = {
            group: [node.name for node in nodes if group in node.groups or group == "all"] for group in self._groups
        }

    def never(self, nodes: Sequence[str]) -> dict[str, str]:
        """Those of the nodes that take no job at all, or of which that cannot be read, each with the reason."""
        found = {name: self._wrong[name] for name in nodes if name in self._wrong}
        for name in nodes:
            if self._most(name) == 0:
                found.setdefault(name, f"{name} takes no jobs (stoker_max_jobs is 0)")
            if none := [g for g, most in self._groups.items() if most == 0 and name in self._members[g]]:
                found.setdefault(name, f"group {none[0]} takes no jobs (its limit is 0)")
        return found

    def full(self, nodes: Sequence[str], load: Load) -> dict[str, str]:
        """Those of the nodes that take no further job until one ends, each with the reason."""
        busy = {
            group: held
            for group, members in self._members.items()
            if len(held := [job for node in members for job in load.jobs(node)]) >= self._groups[group]
        }
        found = {}
        for name in nodes:
            most, held = self._most(name), load.jobs(name)
            group = next((group for group in sorted(busy) if name in self._members[group]), None)
            if most is not None and len(held) >= most:
                found[name] = f"{name} {_takes(most, held)}"
            elif group is not None:
                found[name] = f"group {group} {_takes(self._groups[group], busy[group])}"
        return found

    def _most(self, name: str) -> int | None:
        return _whole(self._nodes[name].vars.get("stoker_max_jobs"))

    def _read(self, node: NodeInfo) -> None:
        said = node.vars.get("stoker_max_jobs")
        if said is not None and _whole(said) is None:
            self._wrong[node.name] = f"{node.name}: stoker_max_jobs is {said!r}, not a whole number of 0 or more"
        groups = node.vars.get("stoker_group_limits")
        if groups is None:
            return
        numbers = {str(g): _whole(most) for g, most in groups.items()} if isinstance(groups, Mapping) else {}
        if not isinstance(groups, Mapping) or None in numbers.values():
            self._wrong[node.name] = (
                f"{node.name}: stoker_group_limits is {groups!r}, not a mapping of groups to numbers"
            )
            return
        for group, most in numbers.items():
            self._groups[group] = min(most or 0, self._groups.get(group, most or 0))


def apart(job: JobRow, nodes: Sequence[str], labels: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The nodes on which another job of the same label is; `labels` has the job by node and label."""
    label = label_of(job)
    if label is None:
        return {}
    there = labels.get(label, {})
    return {node: f"{there[node]} of {label!r} is on {node}" for node in nodes if node in there}


def label_of(job: JobRow) -> str | None:
    """The label whose jobs are kept apart (`--apart`)."""
    return (job.wants or {}).get("apart")


def _takes(most: int, held: Sequence[str]) -> str:
    return f"takes {most} job{'' if most == 1 else 's'} at a time (held by {names(held)})"


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if number >= 0 else None
