"""Samples of the nodes: now, and again and again, with the trend of their memory and alerts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.sampling import Sampling
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.operations.views import why_unreachable

if TYPE_CHECKING:
    from stoker.store import AlertRow, NodeRow, SampleRow

PARTS = ("cpu", "memory", "disks", "network", "gpus")
# An older sample says nothing certain of now, in seconds.
STALE_S = 10.0
LEAST_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Alert:
    """A figure past its limit. Times are Unix seconds; `cleared_at` None: it is raised now."""

    key: str
    text: str
    since: float
    cleared_at: float | None = None


@dataclass(frozen=True)
class Sample:
    """What one node does, or did last. A figure that it was not asked for, or did not tell, is None.

    `at` is when it came, None: never. `stale`: that is more than 10 s ago. `memory_trend` is in GB (1024^3 bytes) a
    minute, over the samples of the last ten minutes; `trend_unknown` says why it is None. `memory_full_s`: in how many
    seconds the memory would be full; None where it is not known to grow. `disks`, `network` and `gpus` are as
    `stoker.store.SampleRow` has them, sizes of GPUs in MiB. `unknown` says why a part is None. `raised` and `cleared`
    are the alerts that came and went with this sample, `alerts` all that are raised. `reachable` None: it was never
    asked.
    """

    node: str
    at: float | None
    age_s: float | None
    stale: bool
    reachable: bool | None
    unreachable_since: float | None
    message: str | None
    cpu: float | None
    load: float | None
    memory_used: int | None
    memory_total: int | None
    memory_trend: float | None
    trend_samples: int
    trend_unknown: str | None
    memory_full_s: float | None
    disks: tuple[Mapping[str, Any], ...] | None
    network: tuple[Mapping[str, Any], ...] | None
    gpus: tuple[Mapping[str, Any], ...] | None
    unknown: Mapping[str, str]
    alerts: tuple[Alert, ...]
    raised: tuple[Alert, ...] = ()
    cleared: tuple[Alert, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why it could not be asked, where it could not."""
        if self.reachable is not False:
            return ()
        return (Problem(self.node, self.message or "no reason told", None, "unreachable"),)


class SampleStream:
    """One `Sample` for each node and interval, as each comes; once, or until the caller stops.

    `failed`: the nodes that could not be asked the last time.
    """

    def __init__(self, session: Session, nodes: Sequence[str], interval_s: float | None, stored: bool) -> None:
        self._session = session
        self._nodes = nodes
        self._interval_s = interval_s
        self._stored = stored
        self.failed: set[str] = set()

    @property
    def exit_code(self) -> int:
        """1 when a node could not be asked the last time."""
        return int(bool(self.failed))

    def __iter__(self) -> Iterator[Sample]:
        if self._stored:
            yield from samples_of(self._session, self._nodes, None)
            return
        newest = self._session.store.last_event()
        sampling = Sampling(self._session, self._nodes, PARTS)
        try:
            due = time.monotonic()
            while True:
                sampling.ask()
                due += self._interval_s or 0.0
                told = set[str]()
                for names in sampling.answers(due if self._interval_s else math.inf):
                    told.update(names)
                    yield from self._told(samples_of(self._session, names, newest))
                    newest = self._session.store.last_event()
                if self._interval_s is None:
                    return
                # Whoever owes an answer is shown once what is known of it is old.
                late = samples_of(self._session, [name for name in self._nodes if name not in told], newest)
                yield from (sample for sample in late if sample.at is None or sample.stale or not sample.reachable)
                due = max(due, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
        finally:
            sampling.close()

    def _told(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        for sample in samples:
            (self.failed.add if sample.reachable is False else self.failed.discard)(sample.node)
        return samples


@operation("telemetry", "telemetry", "read", method="samples")
def telemetry(
    session: Session, on: str | None = None, *, watch: bool = False, every: float | str = "5s", stored: bool = False
) -> SampleStream:
    """Show a line for each node: CPU, load, memory with its trend, disks and GPUs, and what is past its limit.

    All nodes are asked at once; one that is slow or away holds up no other. Samples are kept in the store: the trend of
    the memory needs three of them. An alert is told once, and once more when it is over.

    Args:
        on: Only this node or group.
        watch: Go on, a line for each node and interval, until Ctrl-C.
        every: The interval (5s).
        stored: Show the newest samples of the store, and ask nobody.
    """
    interval = quantities.seconds(every, "--every")
    if interval < LEAST_INTERVAL_S:
        raise UsageError(f"--every: {every} is less than a second")
    if watch and stored:
        raise UsageError("--watch asks the nodes, and --stored nobody")
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    return SampleStream(session, names, interval if watch else None, stored)


def samples_of(session: Session, names: Sequence[str], event: int | None) -> list[Sample]:
    """The newest sample of each of these nodes, in their order, with the alerts that came and went after that event."""
    from stoker.dispatch.telemetry import TREND_S

    store, now = session.store, time.time()
    rows = {row.name: row for row in store.nodes()}
    recent: dict[str, list[SampleRow]] = {name: [] for name in names}
    for sample in store.samples.since(now - TREND_S, names):
        recent[sample.node].append(sample)
    for name in names:
        if not recent[name] and (old := store.samples.newest(name)) is not None:
            recent[name].append(old)
    raised = store.samples.alerts()
    told = store.events(event, types=["alert.raised", "alert.cleared"]) if event is not None else []
    return [
        _sample(
            name, rows.get(name), recent[name], [alert for alert in raised if alert.node == name],
            [(e.type, e.at, e.data) for e in told if e.node == name], now,
        )
        for name in names
    ]  # fmt: skip


def _sample(
    name: str, row: NodeRow | None, samples: Sequence[SampleRow], raised: Sequence[AlertRow],
    told: Sequence[tuple[str, float, Mapping[str, Any]]], now: float,
) -> Sample:  # fmt: skip
    from stoker.dispatch.telemetry import trend

    last = samples[-1] if samples else None
    moving = trend(samples) if samples else None
    detail = last.detail if last else {}
    asked = row is not None and (row.last_seen is not None or row.unreachable_since is not None)
    return Sample(
        node=name,
        at=last.at if last else None,
        age_s=max(0.0, now - last.at) if last else None,
        stale=last is not None and now - last.at > STALE_S,
        reachable=(row.unreachable_since is None) if row is not None and asked else None,
        unreachable_since=row.unreachable_since if row else None,
        message=why_unreachable(row),
        cpu=last.cpu_pct if last else None,
        load=last.load if last else None,
        memory_used=last.memory_used if last else None,
        memory_total=last.memory_total if last else None,
        memory_trend=moving.gb_per_min if moving else None,
        trend_samples=moving.samples if moving else 0,
        trend_unknown=moving.unknown if moving else "no samples",
        memory_full_s=moving.full_in_s if moving else None,
        disks=_tuple(detail.get("disks")),
        network=_tuple(detail.get("network")),
        gpus=_tuple(detail.get("gpus")),
        unknown=dict(detail.get("unknown") or {}),
        alerts=tuple(Alert(alert.key, alert.text, alert.since) for alert in raised),
        raised=tuple(Alert(str(d["key"]), str(d["text"]), at) for kind, at, d in told if kind == "alert.raised"),
        cleared=tuple(
            Alert(str(d["key"]), str(d["text"]), at - float(d["raised_s"]), at)
            for kind, at, d in told
            if kind == "alert.cleared"
        ),
    )


def _tuple(items: Any) -> tuple[Mapping[str, Any], ...] | None:
    return tuple(items) if isinstance(items, list) else None
