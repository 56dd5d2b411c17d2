"""Samples on a terminal: a line each, and the alerts that come and go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.telemetry import Sample, SampleStream

_MIB = 1024 * 1024


def stream(samples: SampleStream, out: Out) -> int:
    """`stoker telemetry`. Ctrl-C ends it."""
    try:
        for sample in samples:
            line(sample, out)
    except KeyboardInterrupt:
        out.note("")
        raise
    return int(bool(samples.failed))


def line(sample: Sample, out: Out) -> None:
    """One node at one moment, with what began or ended then."""
    here = sample.at is not None and sample.reachable is not False
    stamp = time.strftime("%H:%M:%S", time.localtime(sample.at if here else None))
    head: tuple[Piece, ...] = ((stamp, "dim"), "  ", (sample.node, "bold"), "  ")
    if sample.reachable is False:
        since = fmt.age(time.time() - (sample.unreachable_since or time.time()))
        out.line(*head, (f"unreachable {since}: {fmt.one_line(sample.message or 'no reason told')}", "yellow"))
    elif sample.at is None:
        out.line(*head, ("no answer yet", "yellow"))
    else:
        stale: Piece = (f"stale {fmt.age(sample.age_s or 0)}  ", "yellow") if sample.stale else ""
        out.line(*head, stale, "  ".join(fmt.one_line(words) for words in _figures(sample)))
    for alert in sample.raised:
        out.line(*head, ("ALERT", "red"), f"  {fmt.one_line(alert.text)}")
    for alert in sample.cleared:
        lasted = fmt.age((alert.cleared_at or alert.since) - alert.since)
        out.line(*head, ("over", "green"), f"  {fmt.one_line(alert.text)} (was alert for {lasted})")


def _figures(sample: Sample) -> list[str]:
    words = [f"cpu {percent(sample.cpu)}"]
    words += [f"load {sample.load:.2f}"] if sample.load is not None else []
    words.append(f"memory {memory(sample)}")
    words.append(trend(sample))
    if sample.memory_full_s is not None:
        words.append(f"full in {fmt.age(sample.memory_full_s)}")
    words += [f"disk {disk['mount']} {percent(disk['used_pct'])}" for disk in fullest(sample)]
    words += [gpu(item) for item in sample.gpus or ()]
    words += [f"{part} unknown: {why}" for part, why in sample.unknown.items() if "no nvidia-smi" not in why]
    return words


def percent(value: float | None) -> str:
    """`12%`, or that it is unknown."""
    return "unknown" if value is None else f"{value:.0f}%"


def memory(sample: Sample) -> str:
    """`31 GB of 128 GB (24%)`."""
    if sample.memory_used is None or not sample.memory_total:
        return "unknown"
    share = 100 * sample.memory_used / sample.memory_total
    return f"{fmt.memory(sample.memory_used)} of {fmt.memory(sample.memory_total)} ({share:.0f}%)"


def trend(sample: Sample) -> str:
    """`+0.12 GB/min`, or why that is not known."""
    if sample.memory_trend is None:
        return f"trend unknown: {sample.trend_unknown}"
    return f"{sample.memory_trend:+.2f} GB/min"


def fullest(sample: Sample) -> list[Mapping[str, Any]]:
    """The disk that is fullest, as a list of one or none."""
    known = [disk for disk in sample.disks or () if disk["used_pct"] is not None]
    return sorted(known, key=lambda disk: -disk["used_pct"])[:1]


def gpu(item: Mapping[str, Any]) -> str:
    """`GPU 0 97% 60 GB of 80 GB 71 C 688 W`; what is not told is unknown."""
    used, total = (
        None if item[key] is None else fmt.memory(item[key] * _MIB) for key in ("mem_used_mib", "mem_total_mib")
    )
    held = (
        "memory of the machine"
        if item.get("unified_memory")
        else "memory unknown"
        if used is None
        else f"{used} of {total or 'unknown'}"
    )
    heat = "" if item["temp_c"] is None else f" {item['temp_c']:.0f} C"
    power = "" if item["power_w"] is None else f" {item['power_w']:.0f} W"
    return f"GPU {item['index']} {percent(item['util_pct'])} {held}{heat}{power}"
