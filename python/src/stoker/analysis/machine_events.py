"""What a machine did, from the samples of a job: slowdowns, idle GPUs, Xid errors, memory and disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stoker.analysis.machine_values import EventKind, MachineEvent

# A reason not to be faster that is no fault: nothing to do, or asked for.
_NO_SLOWDOWN = ("idle", "clocks set by application", "sync boost", "display clocks")
# A GPU that is usually busy does nothing below this share of its usual load.
_IDLE_SHARE, _BUSY_PCT = 0.5, 20.0
_FULL_SHARE, _WAITING_PCT = 0.02, 40.0

Sample = Mapping[str, Any]


def events_of(told: Mapping[str, Any]) -> list[MachineEvent]:
    """All events in what a node told of the machine."""
    samples: Sequence[Sample] = told["samples"]
    found = [
        MachineEvent("Xid", xid["at"], xid["at"], f"Xid {xid['code']} on GPU {xid['index']} ({xid['text']})")
        for xid in told["xids"] or ()
    ]
    if told["oom_at"] is not None:
        said = "the kernel killed the job, as its memory had run out"
        found.append(MachineEvent("out of memory", told["oom_at"], told["oom_at"], said))
    for index in sorted({gpu["index"] for sample in samples for gpu in sample["gpus"] or ()}):
        found += _of_gpu(samples, index)
    found += _stretches(
        samples, "disk full", lambda s: _share(s) is not None and (_share(s) or 0) < _FULL_SHARE,
        lambda s: f"the disk of its folder was full ({(_share(s) or 0):.1%} free)",
    )  # fmt: skip
    usual = np.median([s["io_pct"] for s in samples if s["io_pct"] is not None] or [0.0])
    found += _stretches(
        samples, "waiting for a disk",
        lambda s: s["io_pct"] is not None and s["io_pct"] >= max(_WAITING_PCT, 2 * float(usual)),
        lambda s: f"something on the machine waited for a disk {s['io_pct']:.0f}% of the time",
    )  # fmt: skip
    return found


def _share(sample: Sample) -> float | None:
    return sample["disk_free"] / sample["disk_total"] if sample.get("disk_total") else None


def _of_gpu(samples: Sequence[Sample], index: int) -> Iterator[MachineEvent]:
    def of(sample: Sample) -> Mapping[str, Any]:
        return next((gpu for gpu in sample["gpus"] or () if gpu["index"] == index), {})

    reasons = sorted({word for sample in samples for word in of(sample).get("throttle") or ()})
    for word in reasons:
        if word not in _NO_SLOWDOWN:
            yield from _stretches(
                samples, "throttled", lambda s, word=word: word in (of(s).get("throttle") or ()),  # type: ignore[misc]
                lambda _s, word=word: f"GPU {index} was throttled ({word})",  # type: ignore[misc]
                lambda s, word=word: (of(s).get("throttle_at") or {}).get(word, s["t"]),  # type: ignore[misc]
            )  # fmt: skip
    loads = [of(sample)["util_pct"] for sample in samples if of(sample).get("util_pct") is not None]
    usual = float(np.median(loads)) if loads else 0.0
    if usual >= _BUSY_PCT:
        yield from _stretches(
            samples, "GPU idle",
            lambda s: of(s).get("util_pct") is not None and of(s)["util_pct"] < _IDLE_SHARE * usual,
            lambda s: f"GPU {index} was {of(s)['util_pct']:.0f}% busy, where {usual:.0f}% is usual",
        )  # fmt: skip


def _stretches(
    samples: Sequence[Sample],
    kind: EventKind,
    true: Callable[[Sample], bool],
    says: Callable[[Sample], str],
    began: Callable[[Sample], float] = lambda sample: float(sample["t"]),
) -> Iterator[MachineEvent]:
    """An event for each unbroken stretch of samples of which it is true; its words are those of the first one.

    A sample may be several that were put together, of which `began` knows more.
    """
    first = last = None
    for sample in [*samples, None]:
        if sample is not None and true(sample):
            first, last = first or sample, sample
        elif first is not None and last is not None:
            yield MachineEvent(kind, began(first), last.get("until", last["t"]), says(first))
            first = last = None
