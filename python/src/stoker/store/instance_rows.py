"""Rows of rented machines as values. Times are Unix seconds, money dollars; None: not known, or not yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# How an instance comes and goes. From `loading` on the provider has it; `failed`: it never had, and that is proven.
INSTANCE_PHASES = (
    "intended", "asked", "loading", "reachable", "ready", "pulling", "stopping", "stopped", "destroying", "gone",
    "failed",
)  # fmt: skip
OVER_PHASES = ("gone", "failed")
LIVE_PHASES = tuple(phase for phase in INSTANCE_PHASES if phase not in OVER_PHASES)


@dataclass(frozen=True)
class InstanceRow:
    """One rented machine, from the intent to rent it until the provider showed it gone.

    `id` names the intent, and `label` (`stoker/<store>/<id>`) what comes of it at the provider, who calls it
    `provider_id` (None: not known yet). `job` is whom it is held for now, None: nobody; `project` and `submitted_by`
    are those of the job that it is held for, or was last. `offer` is what was on offer when it was chosen, `why` the
    reason. `price` is the bid, None: on-demand. `gpu_rate` and `disk_rate` are dollars per hour.

    `phase` is where it stands since `phase_since` (see INSTANCE_PHASES), `evidence` what says so. `problem` is what is
    wrong with it (`outbid`, `exited`, `offline`, ...) since `problem_since`. `asked_at`: when the create left.
    `seen_at`: when the provider last listed it. `booted_at`: since when this start of it is waited for.
    `ended_at`: when the provider showed it gone, or it was proven never to have been. `replaces` is the intent that it
    stands in for. `epoch` is that of the dispatcher that changed it last. `account` is that of the provider which it is
    of: only a key of that one shows it. `wish` is what somebody wants of it by hand, whatever waits for it: to `start`,
    until it takes jobs, or to `stop` or `destroy`, until that is so. `fetch`: it is there once more for its results.
    """

    id: str
    label: str
    pool: str
    job: str | None
    kind: str
    offer: Mapping[str, Any]
    machine_id: int | None
    price: float | None
    gpu_rate: float | None
    disk_rate: float | None
    disk_gb: float
    phase: str
    phase_since: float
    created_at: float
    expires_at: float
    lease_s: float
    provider_id: int | None = None
    project: str | None = None
    submitted_by: str | None = None
    why: str | None = None
    evidence: str | None = None
    host: str | None = None
    port: int | None = None
    host_key: str | None = None
    node: str | None = None
    asked_at: float | None = None
    seen_at: float | None = None
    booted_at: float | None = None
    ready_at: float | None = None
    idle_since: float | None = None
    destroy_asked_at: float | None = None
    ended_at: float | None = None
    problem: str | None = None
    problem_since: float | None = None
    replaces: str | None = None
    epoch: int | None = None
    account: int | None = None
    wish: str | None = None

    @property
    def live(self) -> bool:
        """Whether it is there, or may be: all that is not proven to be over."""
        return self.phase not in OVER_PHASES

    @property
    def billable(self) -> bool:
        """Whether the provider may charge for it: its create has left, and it was not shown gone."""
        return self.live and self.phase != "intended"


@dataclass(frozen=True)
class IntervalRow:
    """A time in which an instance was in one state, at one price, for one job; `until` None: it still is.

    `state` is `loading`, `running`, `frozen`, `stopped`, `offline` or `unknown` (`stoker.rented.cost`). Rates are
    dollars per hour; `up_gb` and `down_gb` were sent and received meanwhile, at `up_rate` and `down_rate` dollars per
    GB. None: not known, which is no zero.
    """

    instance: str
    number: int
    state: str
    since: float
    until: float | None
    gpu_rate: float | None
    disk_rate: float | None
    up_gb: float | None = None
    down_gb: float | None = None
    up_rate: float | None = None
    down_rate: float | None = None
    pool: str | None = None
    job: str | None = None
    project: str | None = None
    submitted_by: str | None = None


@dataclass(frozen=True)
class ReservationRow:
    """Dollars that were put aside before an instance was rented; `settled` is what it came to, None: it is not over."""

    instance: str
    dollars: float
    at: float
    job: str | None = None
    project: str | None = None
    settled: float | None = None
    settled_at: float | None = None


@dataclass(frozen=True)
class MarkRow:
    """What is known of a machine of the provider from the times that it was rented.

    It was waited for `boots` times, `boot_s` seconds in all, until it took a job; `failures` times it never did;
    `losses` times it was lost while it ran, which it did for `run_s` seconds in all. `failed_at`: when one of both last
    happened.
    """

    machine_id: int
    boots: int = 0
    boot_s: float = 0.0
    failures: int = 0
    losses: int = 0
    run_s: float = 0.0
    failed_at: float | None = None


@dataclass(frozen=True)
class Ledger:
    """What has to be known to say whether more may be spent: of one moment, read under the write lock.

    `live` are all instances that are there or may be; `intervals` those of today, of the job and of its project;
    `reservations` those that are not settled.
    """

    live: tuple[InstanceRow, ...]
    intervals: tuple[IntervalRow, ...]
    reservations: tuple[ReservationRow, ...]
