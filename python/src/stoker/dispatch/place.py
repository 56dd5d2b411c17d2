"""Which node gets a job: pure rules over what is known of the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stoker.dispatch.model import NodeInfo, State
from stoker.store import JobRow, NodeRow


@dataclass(frozen=True)
class Placement:
    """Where a job goes: `node`, or None and the `reason` why nowhere yet.

    `ask` are nodes that have to tell more first, `full` those that would take it if they had room.
    """

    node: str | None = None
    reason: str | None = None
    ask: tuple[str, ...] = ()
    full: tuple[str, ...] = ()


@dataclass
class Load:
    """How many jobs, and how many GPUs of them, each node has; it grows while a round places."""

    jobs: Counter[str] = field(default_factory=Counter)
    gpus: Counter[str] = field(default_factory=Counter)

    def add(self, node: str, job: JobRow) -> None:
        """Count `job` as one of `node`."""
        self.jobs[node] += 1
        self.gpus[node] += gpus_of(job)


def gpus_of(job: JobRow) -> int:
    """How many GPUs a job asks for."""
    return int(job.spec.get("gpus") or len(job.spec.get("gpu_uuids") or ()))


def place(job: JobRow, state: State, load: Load, closed: Mapping[str, str] | None = None) -> Placement:
    """The node for a job that waits in the store; none of those that are `closed` to it (node: reason).

    A job that names a node goes there, whatever is known of it: the node itself lets jobs wait for GPUs, also while no
    controller is awake. Otherwise the reachable node with enough GPUs and the fewest jobs gets it.
    """
    named, closed = candidates(job, state.nodes), closed or {}
    if not named:
        where = (
            f"there is no node or group {job.target!r} in the inventory" if job.target else "the inventory has no node"
        )
        return Placement(reason=where)
    chosen = state.request.nodes
    part = [name for name in named if chosen is None or name in chosen]
    if not part:
        return Placement(reason=f"none of {_list(named)} is part of this round")
    left = state.left_on(job)
    part, away = [name for name in part if name not in left], [name for name in part if name in left]
    if not part:
        words = ", ".join(f"attempt {left[name]} of it may be alive on {name}" for name in away[:3])
        return Placement(reason=f"{words}: it starts when that is known to have ended")
    full = tuple(name for name in part if name in closed)
    allowed = [name for name in part if name not in closed]
    if not allowed:
        return Placement(reason="; ".join(closed[name] for name in full[:3]), full=full)
    if job.target in named or (len(named) == 1 and not _known_gpus(state.known.get(named[0]))):
        return Placement(node=allowed[0])
    answering = [name for name in allowed if _answers(state.known.get(name))]
    if not answering:
        return Placement(reason=f"{_list(allowed)} cannot be reached", ask=tuple(allowed))
    found = _among(answering, job, state.known, load)
    away = [name for name in allowed if name not in answering]
    if found.node is None and away:
        # One of them may be back: nobody else would ask it.
        reason = f"{found.reason}; {_list(away)} cannot be reached"
        found = replace(found, ask=(*found.ask, *away), reason=reason)
    # Those that have no room may be the only ones that could.
    return found if found.node is not None else replace(found, full=full)


def candidates(job: JobRow, nodes: Sequence[NodeInfo]) -> list[str]:
    """The nodes that the job's target means, by name."""
    names = sorted(node.name for node in nodes if job.target in (None, node.name))
    # A node's name wins over a group of the same name.
    return names or sorted(node.name for node in nodes if job.target in node.groups)


def _among(names: Sequence[str], job: JobRow, known: Mapping[str, NodeRow], load: Load) -> Placement:
    needed = gpus_of(job)
    if needed == 0:
        met = [name for name in names if name in known]
        if not met and len(names) > 1:
            return Placement(reason=f"asking {_list(names)} whether they answer", ask=tuple(names))
        return Placement(node=min(met or names, key=lambda name: (load.jobs[name], name)))
    told = {name: gpus for name in names if (gpus := _known_gpus(known.get(name))) is not None}
    fits = [name for name, gpus in told.items() if len(gpus) >= needed]
    if fits:
        free = {name: len(told[name]) - load.gpus[name] for name in fits}
        return Placement(node=min(fits, key=lambda name: (free[name] < needed, load.jobs[name], name)))
    unasked = tuple(name for name in names if "gpus" not in (known[name].facts if name in known else {}))
    if unasked:
        return Placement(reason=f"asking {_list(unasked)} for their GPUs", ask=unasked)
    shares = "; ".join(_share(name, known[name].facts) for name in names)
    return Placement(reason=f"needs {needed} GPU{'s' if needed > 1 else ''}: {shares}", ask=tuple(names))


def _share(name: str, facts: Mapping[str, Any]) -> str:
    gpus = facts.get("gpus")
    if gpus is None:
        return f"{name} does not know its GPUs ({facts.get('gpus_unknown') or 'no reason told'})"
    return f"{name} has {len(gpus) or 'none'}"


def _answers(node: NodeRow | None) -> bool:
    return node is None or node.unreachable_since is None


def _known_gpus(node: NodeRow | None) -> Sequence[Any] | None:
    gpus = node.facts.get("gpus") if node is not None else None
    return gpus if isinstance(gpus, list) else None


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + f" and {len(names) - 5} more" if len(names) > 5 else shown
