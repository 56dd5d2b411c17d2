"""Jobs that wait for a machine, and must not get one: their own budget, or that of their project, is spent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from stoker.pools import pool_of
from stoker.rented import budget

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import JobRow


def project_of(job: JobRow | None) -> str | None:
    """The project whose budget a job is of: the folder of its files."""
    folder = (job.spec.get("snapshot") or {}).get("folder") if job is not None else None
    return str(folder) if folder else None


def unpaid(session: Session, jobs: Iterable[JobRow], now: float) -> dict[str, str]:
    """Which of these jobs of pools may spend nothing more, and why: not even on a machine that is there.

    The budget of a day is not among the reasons: at that limit machines end. Raises StokerError of the store.
    """
    settings = replace(session.config.budget, per_day=None)
    if settings.per_job is settings.per_project is None:
        return {}
    found = {}
    for job in jobs:
        if pool_of(job.target) is None:
            continue
        project = project_of(job)
        ledger = session.store.instances.ledger(job.id, project, day=now)
        why = budget.reached(budget.scopes(settings, job.id, project, ledger, now))
        if why is not None:
            found[job.id] = why
    return found
