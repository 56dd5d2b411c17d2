"""A plugin of Stoker: what the electricity of jobs costs, by the hours that they held GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from stoker.plugin import (
    Event,
    PluginContext,
    Resource,
    Session,
    StokerError,
    UsageError,
    hookimpl,
    node_settings_of,
    operation,
    settings_of,
)


class Settings(BaseModel):
    """`plugins.energy.settings` in stoker.yml."""

    price_per_kwh: float = Field(default=0.3, ge=0)
    currency: str = "EUR"


class NodeSettings(BaseModel):
    """`stoker_plugins.energy.settings` in the variables of a host."""

    watts_per_gpu: float = Field(default=300.0, gt=0)


@dataclass(frozen=True)
class JobEnergy:
    """One job. `kwh` and `cost` None: not known, and `why` says for what reason."""

    job: str
    node: str | None
    gpu_hours: float | None
    kwh: float | None
    cost: float | None
    why: str | None


@dataclass(frozen=True)
class EnergyReport:
    """What jobs cost together, as far as it is known."""

    currency: str
    cost: float
    unknown: int
    jobs: tuple[JobEnergy, ...]


@operation("energy", "read", method="report")
def report(session: Session, *, node: str | None = None, limit: int = 50) -> EnergyReport:
    """Show what the electricity of the newest jobs cost.

    Args:
        node: Only jobs on this node.
        limit: At most this many jobs.
    """
    if limit < 1:
        raise UsageError(f"--limit: {limit} is not a number of 1 or more")
    settings: Settings = settings_of(session, "energy")
    rows = [row for row in session.store.jobs(limit=limit) if node in (None, row.node)]
    found = tuple(_of(session, row, settings.price_per_kwh) for row in rows)
    known = [one.cost for one in found if one.cost is not None]
    return EnergyReport(settings.currency, sum(known), len(found) - len(known), found)


def _of(session: Session, row: Any, price: float) -> JobEnergy:
    attempts = session.store.attempts(row.id)
    times = [(a.started_at, a.ended_at or time.time()) for a in attempts if a.started_at is not None]
    if row.node is None or not times:
        return JobEnergy(row.id, row.node, None, None, None, "it has not started")
    try:
        watts = node_settings_of(session, "energy", row.node).watts_per_gpu
    except StokerError as problem:
        return JobEnergy(row.id, row.node, None, None, None, problem.message)
    hours = sum(end - begin for begin, end in times) / 3600 * int(row.spec.get("gpus") or 0)
    return JobEnergy(row.id, row.node, hours, hours * watts / 1000, hours * watts / 1000 * price, None)


class Energy:
    """What the electricity of jobs costs."""

    @hookimpl
    def stoker_settings(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def stoker_node_settings(self) -> type[BaseModel]:
        return NodeSettings

    @hookimpl
    def stoker_operations(self) -> Sequence[Callable[..., Any]]:
        return [report]

    @hookimpl
    def stoker_resources(self) -> Sequence[Resource]:
        return [Resource("stoker://energy", "energy", "What the electricity of the newest jobs cost")]

    @hookimpl
    def stoker_start(self, context: PluginContext) -> None:
        (context.folder / "started").write_text(f"{context.settings.currency}\n")

    @hookimpl
    def stoker_stop(self, context: PluginContext) -> None:
        (context.folder / "started").unlink(missing_ok=True)

    @hookimpl
    def stoker_event(self, context: PluginContext, event: Event) -> None:
        if event.type.startswith("job."):
            with (context.folder / "heard").open("a", encoding="utf-8") as file:
                file.write(f"{event.seq} {event.type} {event.job}\n")
