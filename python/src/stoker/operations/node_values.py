"""What operations answer about nodes: frozen dataclasses, under the rules of `values`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.operations.values import Freshness, Job, Problem


@dataclass(frozen=True)
class GpuProcess:
    """A process that uses a GPU. `job`: the Stoker job it belongs to, None for a process that is nobody's here."""

    pid: int
    name: str | None
    memory: int | None
    job: str | None


@dataclass(frozen=True)
class Quarantine:
    """Why and until when no job gets a GPU. Times are Unix seconds by the node's clock, `evidence` a sentence each."""

    since: float
    until: float
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """One GPU of a node. A figure that the driver does not give is None, and `unknown` says which and why.

    Power is in watts, clocks in MHz, temperature in degrees Celsius, shares in percent. `throttle` are the reasons for
    which its clocks are not higher, `ecc_uncorrected` counts since the driver was loaded. `processes` is None where
    nobody asked or told. A GPU that uses the machine's memory (`unified`) has that memory in `unified_*`, and what its
    driver says in `memory_*`. `source` is nvml or nvidia-smi. `xids` are the Xid errors of this boot, `health_unknown`
    what of its health could not be checked and why. `busy_with` is a process of the list of busy ones that uses it, or
    did so within the cool-down.
    """

    index: int | None
    uuid: str | None
    name: str | None
    memory_used: int | None
    memory_total: int | None
    utilisation: float | None
    temperature: float | None
    held_by: str | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    node: str | None = None
    source: str | None = None
    memory_utilisation: float | None = None
    unified: bool = False
    unified_total: int | None = None
    unified_used: int | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: float | None = None
    clock_memory: float | None = None
    throttle: tuple[str, ...] | None = None
    ecc_uncorrected: int | None = None
    ecc_uncorrected_total: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    quarantine: Quarantine | None = None
    health_unknown: Mapping[str, str] = field(default_factory=dict)
    xids: tuple[int, ...] | None = None
    busy_with: str | None = None

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that are busy on it: the one that holds it, and those of its processes."""
        named = [self.held_by, *(process.job for process in self.processes or ())]
        return tuple(dict.fromkeys(job for job in named if job))


@dataclass(frozen=True)
class GpuList:
    """Every GPU of the nodes asked. `unknown`: the nodes whose GPUs are not known, with the reason."""

    gpus: tuple[Gpu, ...]
    unknown: Mapping[str, str]
    freshness: Freshness
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Container:
    """A container of a node as its engine lists it; `state` is the engine's word (running, exited, created ...)."""

    engine: str
    id: str
    name: str
    image: str
    state: str
    status: str | None


@dataclass(frozen=True)
class Node:
    """A node as far as it is known. `reachable` is None when it was never asked.

    `gpus` is None when they are not known; `gpus_unknown` says why.

    `running`, `queued` count the jobs that the store knows there. `containers` is None when they are not known;
    `containers_unknown` says why, or why one engine of two did not tell. `facts` are as the node told them: processors,
    memory, disks and network among them, once it was asked for these. `membership` is pending, expired, active,
    draining, drained or removed; `offline_since`: when it missed too many probes.
    """

    name: str
    groups: tuple[str, ...]
    address: str | None
    reachable: bool | None
    last_seen: float | None
    unreachable_since: float | None
    unreachable_message: str | None
    gpus: tuple[Gpu, ...] | None
    gpus_unknown: str | None
    cpus: int | None
    memory_total: int | None
    running: int
    queued: int
    facts: Mapping[str, Any]
    in_inventory: bool = True
    containers: tuple[Container, ...] | None = None
    containers_unknown: str | None = None
    membership: str = "active"
    offline_since: float | None = None


@dataclass(frozen=True)
class NodeList:
    """The nodes of the inventory (and those the store still has jobs on)."""

    nodes: tuple[Node, ...]
    inventory: str | None
    freshness: Freshness
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Status:
    """The fleet at a glance: nodes, and the jobs that are not over. `strict`: a node that is away is a failure."""

    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]
    inventory: str | None
    freshness: Freshness
    problems: tuple[Problem, ...] = ()
    strict: bool = False

    @property
    def exit_code(self) -> int:
        """0, since that a node is away is an answer; asked to be strict, 4 when one is (as ansible-playbook does)."""
        return 4 if self.strict and any(node.reachable is False for node in self.nodes) else 0
