"""Which node gets a job: rules over what is known of the nodes. Pure.

`Places` goes from what the job means (target, `--where`) over what its nodes can never give (`demand`), what they have
no room for now (`load`, `limits`, `passing`) to the one with the highest `score`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stoker import patterns, pools
from stoker.dispatch.demand import Demand
from stoker.dispatch.limits import Limits, apart, label_of
from stoker.dispatch.load import Load
from stoker.dispatch.model import NodeInfo, State
from stoker.dispatch.passing import Passing
from stoker.dispatch.score import Score, Seen, score
from stoker.dispatch.where import Condition
from stoker.errors import UsageError
from stoker.store import JobRow, NodeRow


@dataclass(frozen=True)
class Placement:
    """Where a job goes: `node`, or None and the `reason` why nowhere yet.

    `ask` are nodes that have to tell more first, `full` those that would take it if they had room, and of these
    `short` those where others have it. `told` says how the node was chosen.
    """

    node: str | None = None
    reason: str | None = None
    ask: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


class Places:
    """The nodes while a round is planned: what each has, what it promised, and for whom it is held."""

    def __init__(self, state: State, now: float) -> None:
        self._state, self._now = state, now
        self._rules = state.request.placement
        self._nodes = {node.name: node for node in state.nodes}
        self._meant: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._limits = Limits(state.nodes, self._rules.group_limits)
        self._refused: dict[tuple[Any, ...], Placement] = {}
        self.load = Load()
        self.passing = Passing(self._rules, now)

    def add(self, job: JobRow, node: str) -> None:
        """Count `job` as one of `node`."""
        self._refused.clear()
        self.load.add(node, job)
        if (label := label_of(job)) is not None:
            self._labels.setdefault(label, {})[node] = job.id

    def drop(self, job: JobRow, node: str) -> None:
        """Take `job`, which was added just now, away again."""
        self._refused.clear()
        self.load.drop(node, job)
        if (label := label_of(job)) is not None:
            self._labels[label].pop(node, None)

    def meant(self, job: JobRow) -> list[str]:
        """The nodes that the job may run on by its target and its conditions, by name."""
        key = (job.target, tuple((job.wants or {}).get("where") or ()))
        if key not in self._meant:
            conditions = [Condition.parse(text) for text in key[1]]
            self._meant[key] = [
                name
                for name in targeted(job.target, self._state.nodes)
                if all(each.lacks(self._nodes[name].vars) is None for each in conditions)
            ]
        return self._meant[key]

    def find(self, job: JobRow, closed: Mapping[str, str], *, rank: bool = False) -> Placement:
        """The node for a job that waits in the store; none of those that are `closed` to it (node: reason).

        A job that names a node goes there, also when all GPUs are taken: the node lets it wait, in order, also while no
        controller is awake. A `rank` of a gang does not wait on a node: it would hold the GPUs of the others.
        """
        wants = job.wants or {}
        key = (
            job.target, tuple(wants.get("where") or ()), Demand.of(job), label_of(job), rank, tuple(closed.items()),
            tuple(self._state.left_on(job).items()),
        )  # fmt: skip
        # Thousands that ask for the same find the same, as long as nothing was placed in between.
        if (found := self._refused.get(key)) is None:
            found = self._found(job, closed, rank=rank)
            if found.node is None:
                self._refused[key] = found
        return found

    def _found(self, job: JobRow, closed: Mapping[str, str], *, rank: bool) -> Placement:
        named = self.meant(job)
        if not named:
            return Placement(reason=self._why_none(job))
        chosen = self._state.request.nodes
        part = [name for name in named if chosen is None or name in chosen]
        if not part:
            return Placement(reason=f"none of {listed(named)} is part of this round")
        left = self._state.left_on(job)
        part, away = [name for name in part if name not in left], [name for name in part if name in left]
        if not part:
            words = ", ".join(f"attempt {left[name]} of it may be alive on {name}" for name in away[:3])
            return Placement(reason=f"{words}: it starts when that is known to have ended")
        others = {**apart(job, part, self._labels), **self.passing.held(part), **self._limits.never(part), **closed}
        others |= self._rented_out(job, part)
        limited = self._limits.full(part, self.load)
        shut = {**limited, **others}
        full = tuple(name for name in part if name in shut)
        allowed = [name for name in part if name not in shut]
        # What others have now, they give back; what a queue or a label says does not depend on room.
        short = tuple(name for name in limited if name not in others and self._could(job, name))
        if not allowed and pools.pool_of(job.target) is not None:
            return Placement(reason=self._why_none(job), full=full, short=short)
        if not allowed:
            return Placement(reason="; ".join(dict.fromkeys(shut[name] for name in full[:3])), full=full, short=short)
        found = self._direct(job, named, allowed) if not rank else None
        found = found or self._best(job, allowed, rank=rank)
        if found.node is not None:
            return found
        silent = tuple(name for name in allowed if not _answers(self._state.known.get(name)) and name not in found.ask)
        if silent:
            # One of them may be back: nobody else would ask it.
            reason = f"{found.reason}; {self._silence(silent)}"
            found = replace(found, ask=(*found.ask, *silent), reason=reason)
        # Those that have no room may be the only ones that could.
        return Placement(None, found.reason, found.ask, (*full, *found.short), (*short, *found.short))

    def wait(self, job: JobRow, placement: Placement, needs: int = 1) -> None:
        """`job` found no room: later ones may pass it, within limits."""
        if placement.short:
            demand = Demand.of(job)
            if self.passing.wait(
                job, placement.short, needs, lambda name: self.load.shortage(name, demand, self._facts(name))
            ):
                self._refused.clear()

    def unmet(self, job: JobRow, closed: Mapping[str, str]) -> tuple[str, ...]:
        """The nodes that the job may run on, that are not closed, and that never answered so far, nor failed to."""
        return tuple(name for name in self.meant(job) if name not in self._state.known and name not in closed)

    def _silence(self, names: Sequence[str]) -> str:
        """Why nodes do not answer, in words; what the inventory says wrongly of one is told as it is."""
        rows = {name: self._state.known.get(name) for name in names}
        wrong = {name: row.facts["misdescribed"] for name, row in rows.items() if row and "misdescribed" in row.facts}
        away = [name for name in names if name not in wrong]
        told = [f"{listed(away)} cannot be reached"] if away else []
        return "; ".join(told + [f"{name}: {why}" for name, why in list(wrong.items())[:_TOLD]])

    def _could(self, job: JobRow, name: str) -> bool:
        """Whether the node would take the job if nothing else ran there."""
        row, demand = self._state.known.get(name), Demand.of(job)
        if not _answers(row) or demand.unknown(row, self._now):
            return False
        return demand.lacks(name, self._facts(name), self._now) is None

    def _direct(self, job: JobRow, named: Sequence[str], allowed: Sequence[str]) -> Placement | None:
        """The node that the job names, or the only one there is, whatever is known of it."""
        if job.target not in named and len(named) > 1:
            return None
        name, demand = allowed[0], Demand.of(job)
        others = Demand(memory=demand.memory, cpus=demand.cpus, disk=demand.disk)
        facts = self._facts(name)
        # A quarantine ends some time: the node lets the job wait for that, and says until when.
        if job.target != name and isinstance(facts.get("gpus"), list) and demand.lacks(name, facts, math.inf):
            return None
        if (lack := others.lacks(name, facts, self._now)) is not None:
            return Placement(reason=f"needs {others.words()}: {lack}", ask=(name,))
        if (why := self.load.short_of_memory(name, demand, facts)) is not None:
            return Placement(reason=why, short=(name,))
        return Placement(node=name, told={"why": "named" if job.target == name else "the only node"})

    def _best(self, job: JobRow, allowed: Sequence[str], *, rank: bool) -> Placement:
        known, demand = self._state.known, Demand.of(job)
        answering = [name for name in allowed if _answers(known.get(name))]
        if not answering:
            return Placement(reason=self._silence(allowed), ask=tuple(allowed))
        if demand == Demand():
            met = [name for name in answering if name in known]
            if not met and len(answering) > 1:
                return Placement(reason=f"asking {listed(answering)} whether they answer", ask=tuple(answering))
            return self._highest(job, met or answering, demand)
        unknown = {name: told for name in answering if (told := demand.unknown(known.get(name), self._now))}
        able = [
            name
            for name in answering
            if name not in unknown and demand.lacks(name, self._facts(name), self._now) is None
        ]
        short = {name: why for name in able if (why := self.load.short(name, demand, self._facts(name))) is not None}
        ahead = [
            name
            for name in short
            if not rank and not self.passing.sought(name) and self.load.may_wait(name, demand, self._facts(name))
        ]
        if roomy := [name for name in able if name not in short]:
            return self._highest(job, roomy, demand)
        if ahead and not unknown:
            return self._highest(job, ahead, demand)
        if unknown:
            parts = sorted({_PARTS[part] for missing in unknown.values() for part in missing})
            return Placement(
                reason=f"asking {listed(tuple(unknown))} for their {' and '.join(parts)}", ask=tuple(unknown)
            )
        if short:
            return Placement(reason="; ".join(list(short.values())[:3]), short=tuple(short))
        shares = "; ".join(demand.lacks(name, self._facts(name), self._now) or name for name in answering)
        return Placement(reason=f"needs {demand.words()}: {shares}", ask=tuple(answering))

    def _highest(self, job: JobRow, names: Sequence[str], demand: Demand) -> Placement:
        """The node with the highest score; of equals the first by name."""
        scores = [self._score(job, name, demand.gpus) for name in names]
        best = min(scores, key=lambda each: (-each.total, each.node))
        others = [each for each in scores if each is not best]
        told = {"why": "score", "chosen": best.document(), "others": [each.document() for each in others[:_TOLD]]}
        return Placement(node=best.node, told=told if others else {**told, "why": "no other has room"})

    def _score(self, job: JobRow, name: str, gpus: int) -> Score:
        state = self._state
        jobs = len(self.load.jobs(name))
        seen = Seen(state.known.get(name), state.samples.get(name, ()), jobs, self._nodes[name].vars)
        return score(name, job, gpus, seen, state.ran_with, self._rules.weights, self._now)

    def _facts(self, name: str) -> Mapping[str, Any]:
        row = self._state.known.get(name)
        return row.facts if row is not None else {}

    def _rented_out(self, job: JobRow, names: Sequence[str]) -> dict[str, str]:
        """The nodes of a pool that have a job: each gets one at a time, so that what it cost was for that job."""
        if pools.pool_of(job.target) is None:
            return {}
        taken = {name: self.load.jobs(name) for name in names}
        return {name: f"{name} runs {sorted(jobs)[0]}" for name, jobs in taken.items() if jobs}

    def _why_none(self, job: JobRow) -> str:
        if (pool := pools.pool_of(job.target)) is not None:
            return self._state.request.pools.get(pool) or f"pool {pool}: {NOBODY_RENTS}"
        names = targeted(job.target, self._state.nodes)
        if not names:
            return (
                f"there is no node or group {job.target!r} in the inventory"
                if job.target
                else "the inventory has no node"
            )
        conditions = [Condition.parse(text) for text in (job.wants or {}).get("where") or ()]
        told = []
        for name in names[:3]:
            lacks = ((each, each.lacks(self._nodes[name].vars)) for each in conditions)
            told += [f"{name}: {each.name} is {lack}" for each, lack in lacks if lack is not None][:1]
        return f"no node has {', '.join(str(each) for each in conditions)} ({'; '.join(told)})"


# What a round says that was not told of any pool.
NOBODY_RENTS = "nobody makes rounds that rent: stoker dispatch --loop"
# What a demand is said to be about, by the part of the facts.
_PARTS = {"gpus": "GPUs", "memory": "memory", "cpu": "CPUs", "disks": "disks"}
# So many of the nodes that were not chosen are kept with the event of a claim.
_TOLD = 3


def targeted(target: str | None, nodes: Iterable[NodeInfo]) -> list[str]:
    """The nodes that a target means, by name: those of a pool, a node's name, else a group's, else a pattern."""
    nodes = list(nodes)
    if target is None or pools.pool_of(target) is not None:
        return sorted(node.name for node in nodes if pools.takes(target, node.vars))
    names, groups = [], dict[str, list[str]]()
    for node in nodes:
        names.append(node.name)
        for group in node.groups:
            groups.setdefault(group, []).append(node.name)
    if target in names:
        return [target]
    if target in groups:
        return sorted(groups[target])
    try:
        return sorted(patterns.match(target, names, groups))
    except (patterns.UnknownPart, UsageError):
        return []


def _answers(node: NodeRow | None) -> bool:
    return node is None or (node.unreachable_since is None and "misdescribed" not in node.facts)


def listed(names: Sequence[str]) -> str:
    """Up to five of them, and how many more."""
    shown = ", ".join(names[:5])
    return shown + f" and {len(names) - 5} more" if len(names) > 5 else shown
