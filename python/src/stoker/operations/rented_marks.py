"""What is learnt of a machine of the provider each time it was rented: it ranks what is rented next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.rented import cost
from stoker.rented.lifecycle import LOSSES
from stoker.store.instance_rows import MarkRow

if TYPE_CHECKING:
    from stoker.pool_settings import Pool
    from stoker.store.instance_rows import InstanceRow
    from stoker.store.instances import Instances


def ready(instances: Instances, before: InstanceRow, now: float) -> None:
    """It takes jobs: how long that took. A later start of the same machine counts as well."""
    if before.machine_id is not None:
        boot_s = max(0.0, now - (before.booted_at or before.created_at))
        instances.mark(MarkRow(before.machine_id, boots=1, boot_s=boot_s))


def given_up(instances: Instances, row: InstanceRow, pool: Pool | None, now: float) -> None:
    """It is destroyed without ever having taken a job, and that was its own fault."""
    if row.machine_id is None or row.ready_at is not None or row.phase not in ("loading", "reachable"):
        return
    late = pool is not None and now - (row.booted_at or row.phase_since) > pool.boot_timeout_s
    if late or row.problem in LOSSES:
        instances.mark(MarkRow(row.machine_id, failures=1, failed_at=now))


def after(instances: Instances, before: InstanceRow, row: InstanceRow, now: float) -> None:
    """What was seen changed its row: a loss is noted, and how long it ran."""
    if row.machine_id is not None and row.ready_at is not None and before.ready_at is not None:
        if row.problem in LOSSES and before.problem not in LOSSES:
            instances.mark(MarkRow(row.machine_id, losses=1, run_s=max(0.0, now - row.ready_at), failed_at=now))
        elif not row.live and before.problem not in LOSSES:
            instances.mark(MarkRow(row.machine_id, run_s=max(0.0, now - row.ready_at)))


def settle(instances: Instances, now: float) -> None:
    """Replace what was put aside for instances that are over by what they came to."""
    for put_aside in instances.reservations():
        row = instances.get(put_aside.instance)
        if row is not None and not row.live:
            instances.settle(row.id, float(cost.of(instances.intervals(row.id), now).total), now=now)
