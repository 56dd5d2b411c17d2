"""What is promised of each node to jobs that are, or will be, under way there. Pure.

What was claimed and not yet seen counts like what runs, so two rounds never promise the same GPU. A node has a short
line of its own: where no GPU is left, `AHEAD` more jobs may wait there, and start also while no controller is awake.
Where some are left, a job that needs more waits in the store instead: on the node it would hold up smaller ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.dispatch.demand import GB, Demand, cpus_of, memory_of
from stoker.store import JobRow

# So many jobs more than there is room for wait on a node itself.
AHEAD = 2


@dataclass(frozen=True)
class _Promised:
    job: JobRow
    demand: Demand
    waits: bool


@dataclass
class Load:
    """The jobs of each node; it grows while a round places."""

    on: dict[str, list[_Promised]] = field(default_factory=lambda: defaultdict(list))

    def add(self, node: str, job: JobRow) -> None:
        """Count `job` as one of `node`. One that is `queued` there was seen to wait for GPUs."""
        self.on[node].append(_Promised(job, Demand.of(job), job.state == "queued" and job.node == node))

    def drop(self, node: str, job: JobRow) -> None:
        """Take `job` away again."""
        self.on[node] = [item for item in self.on[node] if item.job.id != job.id]

    def jobs(self, node: str) -> list[str]:
        """The ids of the jobs of a node."""
        return [item.job.id for item in self.on[node]]

    def free_gpus(self, node: str, facts: Mapping[str, Any]) -> int | None:
        """How many GPUs nobody was promised; below 0: jobs wait there. None: the node never told how many it has."""
        gpus = facts.get("gpus")
        if not isinstance(gpus, list):
            return None
        return len(gpus) - sum(item.demand.gpus for item in self.on[node])

    def short(self, node: str, demand: Demand, facts: Mapping[str, Any]) -> str | None:
        """Why a job has no room on the node now; None: it has, or nobody knows how much there is."""
        free = self.free_gpus(node, facts)
        if demand.gpus and free is not None and demand.gpus > free:
            total, held = len(facts["gpus"]), self._held(node)
            if free <= 0:
                return f"no GPU free on {node} ({total} of {total}{held})"
            return f"needs {demand.gpus} GPUs, {free} of {total} free on {node}{_bracketed(held)}"
        return self.short_of_memory(node, demand, facts)

    def short_of_memory(self, node: str, demand: Demand, facts: Mapping[str, Any]) -> str | None:
        """The same for memory and CPUs alone: for those no job waits on a node."""
        promised = [item.demand for item in self.on[node]]
        total = memory_of(facts)
        left = None if total is None else total - sum(item.memory for item in promised)
        if demand.memory and left is not None and demand.memory > left:
            many = f"{max(0, left) / GB:.1f} of {(total or 0) / GB:.1f} GB left on {node}"
            return f"needs {demand.memory / GB:.1f} GB of memory, {many}{_bracketed(self._held(node))}"
        cpus = cpus_of(facts)
        idle = None if cpus is None else cpus - sum(item.cpus for item in promised)
        if demand.cpus and idle is not None and demand.cpus > idle:
            many = f"{max(0.0, idle):g} of {cpus} left on {node}"
            return f"needs {demand.cpus:g} CPUs, {many}{_bracketed(self._held(node))}"
        return None

    def may_wait(self, node: str, demand: Demand, facts: Mapping[str, Any]) -> bool:
        """Whether a job that finds too few GPUs may wait on the node itself."""
        free = self.free_gpus(node, facts)
        if not demand.gpus or free is None or free > 0 or self.short_of_memory(node, demand, facts) is not None:
            return False
        return self.ahead(node, len(facts["gpus"])) < AHEAD

    def ahead(self, node: str, total: int) -> int:
        """How many jobs of a node with `total` GPUs wait there for some."""
        used, waiting = 0, 0
        for item in sorted((i for i in self.on[node] if i.demand.gpus), key=lambda i: i.waits):
            if not item.waits and used + item.demand.gpus <= total:
                used += item.demand.gpus
            else:
                waiting += 1
        return waiting

    def shortage(self, node: str, demand: Demand, facts: Mapping[str, Any]) -> float:
        """How much is missing before a job has room, as a share of what it asks: the least is the soonest."""
        missing = [0.0]
        free, total, cpus = self.free_gpus(node, facts), memory_of(facts), cpus_of(facts)
        promised = [item.demand for item in self.on[node]]
        if demand.gpus and free is not None:
            missing.append((demand.gpus - free) / demand.gpus)
        if demand.memory and total is not None:
            missing.append((demand.memory - total + sum(item.memory for item in promised)) / demand.memory)
        if demand.cpus and cpus is not None:
            missing.append((demand.cpus - cpus + sum(item.cpus for item in promised)) / demand.cpus)
        return max(missing)

    def _held(self, node: str) -> str:
        return f" held by {names(self.jobs(node))}" if self.on[node] else ""


def names(jobs: Sequence[str]) -> str:
    """Up to three of them, and how many more."""
    return ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")


def _bracketed(held: str) -> str:
    return f" ({held.strip()})" if held else ""
