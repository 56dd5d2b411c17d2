"""What a job asks of a node, and what a node lacks of it for good. Pure.

What a node never told is not lacking: it is unknown, and the node is asked. What a job may use at most (`--memory`,
`--cpus`) is what it is given room for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.store import JobRow, NodeRow

GB = 1024**3
MIB = 1024**2
# Facts that change by themselves (free room on a disk, the health of a GPU) are too old after this long, in seconds.
FACTS_S = 600.0


@dataclass(frozen=True)
class Demand:
    """GPUs by number, each with so much memory in all; memory and room on a disk in bytes; CPUs. 0: nothing asked."""

    gpus: int = 0
    gpu_memory: int = 0
    memory: int = 0
    cpus: float = 0.0
    disk: int = 0

    @classmethod
    def of(cls, job: JobRow) -> Demand:
        """What `job` asks."""
        spec, wants = job.spec, job.wants or {}
        preflight = spec.get("preflight") or {}
        return cls(
            gpus_of(job), int(preflight.get("gpu_memory_bytes") or 0), int(spec.get("memory_bytes") or 0),
            float(spec.get("cpus") or 0.0), int(wants.get("disk_bytes") or 0),
        )  # fmt: skip

    def unknown(self, node: NodeRow | None, now: float) -> tuple[str, ...]:
        """What the node has to tell before it is known whether it fits: some of gpus, memory, cpu, disks."""
        facts = node.facts if node is not None else {}
        wanted = (("gpus", self.gpus), ("memory", self.memory), ("cpu", self.cpus))
        missing = [part for part, asked in wanted if asked and part not in facts]
        if self.disk and ("disks" not in facts or now - float(facts.get("read_at") or 0.0) > FACTS_S):
            missing.append("disks")
        return tuple(missing)

    def lacks(self, name: str, facts: Mapping[str, Any], now: float) -> str | None:
        """Why the node can never take the job, however little runs there; None: it can, or nobody knows."""
        return next(self._lacking(name, facts, now), None)

    def _lacking(self, name: str, facts: Mapping[str, Any], now: float) -> Iterator[str]:
        if self.gpus and (said := self._gpus_lacking(name, facts, now)) is not None:
            yield said
        if (memory := memory_of(facts)) is not None and self.memory > memory:
            yield f"{name} has {memory / GB:.1f} GB of memory"
        if (cpus := cpus_of(facts)) is not None and self.cpus > cpus:
            yield f"{name} has {cpus:g} CPUs"
        room = room_of(facts)
        if room is not None and self.disk > room:
            yield f"{name} has {room / GB:.1f} GB free on its emptiest disk"

    def _gpus_lacking(self, name: str, facts: Mapping[str, Any], now: float) -> str | None:
        gpus = facts.get("gpus")
        if not isinstance(gpus, list):
            return f"{name} does not know its GPUs ({facts.get('gpus_unknown') or 'no reason told'})"
        if len(gpus) < self.gpus:
            return f"{name} has {len(gpus) or 'none'}"
        if len(big := [gpu for gpu in gpus if self._big(gpu)]) < self.gpus:
            return f"{name} has {len(big) or 'none'} with {self.gpu_memory / GB:.0f} GB"
        if len(usable(big, facts, now)) < self.gpus:
            return f"{name} has {len(gpus)}, {len(big) - len(usable(big, facts, now))} of them quarantined"
        return None

    def _big(self, gpu: Mapping[str, Any]) -> bool:
        total = gpu.get("mem_total_mib")
        return total is None or not self.gpu_memory or total * MIB >= self.gpu_memory

    def words(self) -> str:
        """What is asked, for a sentence."""
        told = [f"{self.gpus} GPU{'s' * (self.gpus > 1)}"] if self.gpus else []
        if self.gpus and self.gpu_memory:
            told[0] += f" of {self.gpu_memory / GB:.0f} GB"
        told += [f"{self.memory / GB:.1f} GB of memory"] if self.memory else []
        told += [f"{self.cpus:g} CPUs"] if self.cpus else []
        told += [f"{self.disk / GB:.1f} GB on a disk"] if self.disk else []
        return ", ".join(told)


def gpus_of(job: JobRow) -> int:
    """How many GPUs a job asks for."""
    return int(job.spec.get("gpus") or len(job.spec.get("gpu_uuids") or ()))


def usable(gpus: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], now: float) -> Sequence[Mapping[str, Any]]:
    """Those that are not quarantined, as far as that was told lately."""
    if now - float(facts.get("gpus_at") or 0.0) > FACTS_S:
        return gpus
    return [gpu for gpu in gpus if not gpu.get("quarantine")]


def memory_of(facts: Mapping[str, Any]) -> int | None:
    """The memory of a node in bytes, or what it may use of it."""
    told = facts.get("memory")
    if not isinstance(told, Mapping) or told.get("total") is None:
        return None
    limit = (told.get("limit") or {}).get("bytes")
    return int(told["total"] if limit is None else min(told["total"], limit))


def cpus_of(facts: Mapping[str, Any]) -> int | None:
    """How many CPUs a node may use."""
    told = facts.get("cpu")
    return (told.get("usable") or told.get("count")) if isinstance(told, Mapping) else None


def room_of(facts: Mapping[str, Any]) -> int | None:
    """The bytes that are free on the emptiest disk of a node."""
    told = facts.get("disks")
    free = [disk["free"] for disk in told if disk.get("free") is not None] if isinstance(told, list) else []
    return max(free) if free else None
