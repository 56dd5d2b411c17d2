"""What is said of a curve and the machine that made it: plain values. This module costs nothing to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker.analysis.values import RunInfo

EventKind = Literal["throttled", "GPU idle", "Xid", "out of memory", "disk full", "waiting for a disk", "alert"]


@dataclass(frozen=True)
class MachinePart:
    """A part of the run: `seconds` from `at` on (Unix seconds, the node's clock), and what the machine did in it.

    `rate` is in steps per second, `loss` the mean of the run's most important metric, `gpu_percent` the mean load of
    the job's GPUs, `gpu_c` the hottest of them (degrees C), `cpu_percent` that of the job (100: one core), `io_percent`
    how much of the time something on the machine waited for a disk. None where no sample tells.
    """

    at: float
    seconds: float
    step: float
    rate: float
    loss: float | None
    gpu_percent: float | None
    gpu_c: float | None
    throttled: tuple[str, ...]
    cpu_percent: float | None
    io_percent: float | None
    samples: int


@dataclass(frozen=True)
class MachineEvent:
    """Something that the machine did from `at` to `until` (the same for a moment), in words."""

    kind: EventKind
    at: float
    until: float
    says: str


@dataclass(frozen=True)
class Meeting:
    """Something odd in the curve (`of`: the step rate, or a detector and its metric) and what began in these seconds.

    That it began then is no proof that it is the cause. `unknown` says why nothing can be told.
    """

    at: float
    until: float
    step: float
    of: str
    says: str
    meanwhile: tuple[MachineEvent, ...]
    unknown: str | None = None


@dataclass(frozen=True)
class RunMachine:
    """A run beside its machine. `usual_rate` is the median of the parts, None with the reason in `unknown`."""

    info: RunInfo
    loss: str | None
    usual_rate: float | None
    parts: tuple[MachinePart, ...]
    events: tuple[MachineEvent, ...]
    meetings: tuple[Meeting, ...]
    samples: int
    unknown: tuple[str, ...]
