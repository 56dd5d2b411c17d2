"""The checkpoints that are kept of a job: which there are, and fetching one now."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.errors import UsageError
from stoker.operations.checkpoint_pulls import Outcome, pull
from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.values import Job, Kept, Problem
from stoker.operations.views import job_of


@dataclass(frozen=True)
class CheckpointList:
    """What is kept of the checkpoints of one job. `now` is when it was looked up (Unix seconds)."""

    job: str
    kept: Kept
    now: float


@dataclass(frozen=True)
class PullReport:
    """What came of fetching the newest checkpoint of a job now.

    `outcome`: `fetched`; `same` (it is here already); `none` (there is none, `why`); `refused` (what is there does not
    count now, `why`; what is kept stays); `busy` (somebody else is fetching it).
    """

    job: Job
    outcome: Outcome
    why: str | None
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where the newest complete checkpoint is here now."""
        return int(self.outcome not in ("fetched", "same"))


@operation("checkpoints", "checkpoint list", "read", method="list")
def list_checkpoints(session: Session, job: str) -> CheckpointList:
    """List the checkpoints that are kept of a job, newest first, and where they lie.

    Args:
        job: Id of the job, or the beginning of it.
    """
    view = job_of(session, job_row(session, job))
    return CheckpointList(view.id, _kept(view), time.time())


@operation("checkpoints", "checkpoint pull", "operate", method="pull")
def pull_checkpoint(session: Session, job: str, *, ask: bool = False) -> PullReport:
    """Fetch the newest complete checkpoint of a job now, without waiting for its interval.

    Args:
        job: Id of the job, or the beginning of it.
        ask: Send its --checkpoint-signal (USR1) first, and wait until it has written one.
    """
    row = job_row(session, job)
    _kept(job_of(session, row))
    attempts = session.store.newest_attempts([row.id])
    if not attempts:
        raise UsageError(f"{row.id} has not started: there is no checkpoint yet", next_step=f"stoker job {row.id}")
    if ask and row.state != "running":
        raise UsageError(f"{row.id} is {row.state}: it cannot be asked for a checkpoint")
    told = pull(session, row, attempts[0].node, ask=ask)
    problems = (told.problem,) if told.problem is not None else ()
    return PullReport(job_of(session, job_row(session, row.id)), told.outcome, told.why, problems)


def _kept(job: Job) -> Kept:
    if job.checkpoints is None:
        raise UsageError(
            f"{job.id} was not told where its checkpoints are", next_step="stoker run --checkpoints out/last.pt -- ..."
        )
    return job.checkpoints
