"""From what a node told of itself to a sample, a trend and alerts: pure rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.store import AlertRow, SampleRow

GB = 1024**3
PARTS = ("cpu", "memory", "disks", "network", "gpus")
# What a trend looks back on, in seconds, and how many samples it needs at least.
TREND_S = 600.0
LEAST_SAMPLES = 3
# A shorter look says more of chance than of the node.
LEAST_SPAN_S = 8.0
# To say when the memory will be full the samples have to be more, and lie on a line.
SURE_SAMPLES, SURE_R2 = 5, 0.8
# An alert is cleared when its figure is back by this much, so that one at its limit does not come and go.
MARGIN_PCT, MARGIN_C = 2.0, 3.0


@dataclass(frozen=True)
class Limits:
    """From where on a figure is an alert; see `stoker.config.Telemetry`."""

    keep_s: float = 7 * 86400.0
    disk_pct: float = 90.0
    memory_pct: float = 90.0
    gpu_temperature_c: float = 85.0
    memory_full_min: float = 30.0

    @classmethod
    def of(cls, settings: Mapping[str, float]) -> Limits:
        """Those that `settings` names, the others as they are by default."""
        return cls(**{key: value for key, value in settings.items() if key in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Trend:
    """How the used memory of a node moves, in GB (1024^3 bytes) a minute; None where `unknown` says why.

    `full_in_s`: when it would be full; None where it does not grow, or the samples do not lie on a line.
    """

    gb_per_min: float | None
    samples: int
    unknown: str | None = None
    full_in_s: float | None = None


@dataclass(frozen=True)
class Told:
    """What the newest sample brings about."""

    raised: tuple[AlertRow, ...] = ()
    cleared: tuple[tuple[AlertRow, str], ...] = ()


@dataclass(frozen=True)
class _Figure:
    """A figure with a limit. `over` None: it is not known, so that nothing changes."""

    key: str
    text: str
    over: bool | None
    back: bool = field(default=False)


def sample_of(node: str, facts: Mapping[str, Any], now: float) -> SampleRow | None:
    """The sample in a node's facts; None where it was asked for none of the parts."""
    if not any(part in facts for part in PARTS):
        return None
    cpu, memory = facts.get("cpu") or {}, facts.get("memory") or {}
    load = cpu.get("load") or [None]
    return SampleRow(
        node, now, facts.get("now"), cpu.get("used_pct"), load[0], memory.get("used"), memory.get("total"),
        {
            "disks": _picked(facts.get("disks"), ("mount", "used_pct", "free", "total")),
            "network": _picked(facts.get("network"), ("name", "rx_bytes", "tx_bytes")),
            "gpus": _picked(
                facts.get("gpus"),
                ("index", "uuid", "util_pct", "mem_used_mib", "mem_total_mib", "temp_c", "power_w", "unified_memory"),
            ),
            "unknown": {part: facts[f"{part}_unknown"] for part in PARTS if facts.get(f"{part}_unknown")},
        },
    )  # fmt: skip


def _picked(items: Any, keys: Sequence[str]) -> list[dict[str, Any]] | None:
    return [{key: item.get(key) for key in keys} for item in items] if isinstance(items, list) else None


def trend(samples: Sequence[SampleRow]) -> Trend:
    """The line of least squares through the used memory of the last ten minutes."""
    known = [(s.at, float(s.memory_used)) for s in samples if s.memory_used is not None]
    known = [(at, used) for at, used in known if at >= known[-1][0] - TREND_S]
    count = len(known)
    if count < LEAST_SAMPLES:
        return Trend(None, count, f"{count} sample{'' if count == 1 else 's'}")
    if known[-1][0] - known[0][0] < LEAST_SPAN_S:
        return Trend(None, count, f"{count} samples in {known[-1][0] - known[0][0]:.0f} s")
    middle, mean = sum(at for at, _ in known) / count, sum(used for _, used in known) / count
    spread = sum((at - middle) ** 2 for at, _ in known)
    both = sum((at - middle) * (used - mean) for at, used in known)
    slope = both / spread
    variance = sum((used - mean) ** 2 for _, used in known)
    r2 = both**2 / (spread * variance) if variance else 0.0
    total = next((s.memory_total for s in reversed(samples) if s.memory_total is not None), None)
    sure = count >= SURE_SAMPLES and r2 >= SURE_R2 and slope > 0 and total is not None
    full = max(0.0, (total - known[-1][1]) / slope) if sure and total is not None else None
    return Trend(slope * 60 / GB, count, None, full if full is not None and math.isfinite(full) else None)


def judge(sample: SampleRow, moving: Trend, raised: Sequence[AlertRow], limits: Limits) -> Told:
    """Which alerts begin and end with this sample, while those in `raised` are open for its node.

    What is not known any more neither begins nor ends one.
    """
    open_ones = {alert.key: alert for alert in raised}
    figures = list(_figures(sample, moving, limits))
    new = tuple(
        AlertRow(sample.node, figure.key, sample.at, figure.text)
        for figure in figures
        if figure.over and figure.key not in open_ones
    )
    over = tuple((open_ones[figure.key], figure.text) for figure in figures if figure.back and figure.key in open_ones)
    return Told(new, over)


def _figures(sample: SampleRow, moving: Trend, limits: Limits) -> Iterator[_Figure]:
    for disk in sample.detail.get("disks") or ():
        if disk["used_pct"] is not None:
            text = f"disk {disk['mount']} is {disk['used_pct']:.0f}% full"
            yield _limited(f"disk:{disk['mount']}", text, disk["used_pct"], limits.disk_pct, MARGIN_PCT)
    if sample.memory_used is not None and sample.memory_total:
        share = 100.0 * sample.memory_used / sample.memory_total
        yield _limited("memory", f"memory is {share:.0f}% used", share, limits.memory_pct, MARGIN_PCT)
    for gpu in sample.detail.get("gpus") or ():
        if gpu["temp_c"] is not None:
            text = f"GPU {gpu['index']} is at {gpu['temp_c']:.0f} C"
            yield _limited(f"gpu:{gpu['uuid']}", text, gpu["temp_c"], limits.gpu_temperature_c, MARGIN_C)
    if moving.gb_per_min is not None:
        minutes = moving.full_in_s / 60 if moving.full_in_s is not None else None
        soon = minutes is not None and minutes <= limits.memory_full_min
        text = f"memory would be full in {minutes:.0f} min" if soon else "memory does not fill up any more"
        later = minutes is None or minutes > limits.memory_full_min * 1.2
        yield _Figure("memory_full", f"{text} ({moving.gb_per_min:+.2f} GB/min)", soon, later)


def _limited(key: str, text: str, value: float, limit: float, margin: float) -> _Figure:
    return _Figure(key, text, value > limit, value <= limit - margin)
