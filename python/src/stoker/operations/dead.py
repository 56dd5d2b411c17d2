"""Dead letters: jobs that were given up, and were not started again since."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.submit import retry_all
from stoker.operations.values import Job, Problem
from stoker.operations.views import jobs_of

if TYPE_CHECKING:
    from stoker.store import JobRow


@dataclass(frozen=True)
class DeadLetters:
    """A page of them, newest first: those from number `skip` on, of `total` that match."""

    jobs: tuple[Job, ...]
    total: int
    skip: int


@dataclass(frozen=True)
class Revived:
    """New jobs in the place of dead ones, each with the id of that in its `retry_of`."""

    jobs: tuple[Job, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: they are accepted. What nodes could not be asked is told beside it."""
        return 0


@operation("dead", "dead list", "read", method="list")
def list_dead(
    session: Session, *, on: str | None = None, name: str | None = None, since: float | str | None = None,
    limit: int = 100, skip: int = 0,
) -> DeadLetters:  # fmt: skip
    """List the jobs whose retries are spent, or that failed in a way that is not tried again; newest first, with why.

    One that was started again since (dead retry, retry) is left out: stoker jobs --state dead has it.

    Args:
        on: Only jobs of this node or group.
        name: Only those of this name.
        since: Only those submitted within this time (24h, 7d).
        limit: At most this many; 0 for all.
        skip: Leave out this many of the newest ones: the next page.
    """
    for option, value in (("--limit", limit), ("--skip", skip)):
        if value < 0:
            raise UsageError(f"{option}: {value} is not a number of 0 or more", next_step="--limit 0 shows all")
    rows, total = _page(session, on, name, since, limit, skip)
    return DeadLetters(jobs_of(session, rows), total, skip)


@operation("dead", "dead retry", "operate", method="retry")
def revive(
    session: Session, *jobs: str, all: bool = False, on: str | None = None, name: str | None = None,  # noqa: A002
    since: float | str | None = None,
) -> Revived:  # fmt: skip
    """Run dead jobs again, as stoker retry does with one: those that are named, or all that dead list shows.

    Args:
        jobs: Ids of jobs, or the beginnings of them.
        all: Every one that dead list shows with the same choice.
        on: With --all: only jobs of this node or group.
        name: With --all: only those of this name.
        since: With --all: only those submitted within this time (24h, 7d).
    """
    if all == bool(jobs):
        raise UsageError("which jobs?", next_step="stoker dead retry ID..., or --all for those that dead list shows")
    if not all and any(value is not None for value in (on, name, since)):
        raise UsageError("--on, --name and --since choose of --all", next_step="stoker dead retry --all ...")
    chosen = _page(session, on, name, since, 0, 0)[0] if all else [job_row(session, job) for job in jobs]
    if living := [row for row in chosen if row.state != "dead"]:
        raise UsageError(f"{living[0].id} is {living[0].state}, not dead", next_step=f"stoker retry {living[0].id}")
    with session.store.write() as transaction:
        answered = [] if all else [row.id for row in chosen if transaction.run_again(row.id)]
    if answered:
        raise UsageError(f"{answered[0]} was run again already", next_step=f"stoker retry {answered[0]}")
    # With a rank of a gang all of them are begun again.
    once = {row.gang or row.id: row for row in reversed(chosen)}
    return Revived(*retry_all(session, list(once.values())))


def _page(
    session: Session, on: str | None, name: str | None, since: float | str | None, limit: int, skip: int
) -> tuple[Sequence[JobRow], int]:
    from stoker.store.listing import page

    begin = None if since is None else time.time() - quantities.seconds(since, "--since")
    nodes = session.inventory.match(on) if on is not None else None
    return page(session.store, ["dead"], nodes, on, limit, skip, name=name, since=begin, unanswered=True)
