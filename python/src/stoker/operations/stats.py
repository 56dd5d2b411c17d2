"""Statistics over the jobs that the store holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.store import JobOutcome

By = Literal["template", "node"]
# Ended by themselves, or by what happened to them. A cancelled job says nothing about how its command fares.
_UNSUCCESSFUL = ("failed", "lost", "dead")


@dataclass(frozen=True)
class JobFigures:
    """The jobs of one template or node; `group` None: of none, or all of them in `total`.

    `finished` is `succeeded` + `unsuccessful` (failed, lost, dead); `cancelled` and `unfinished` are not part of it.
    `success_rate` (0 to 1) and the runtimes (seconds, of the newest attempt, by its node's clock) are over the finished
    jobs only, None where there is none; `runtime_known` says of how many the runtime is known.
    """

    group: str | None
    jobs: int
    finished: int
    succeeded: int
    unsuccessful: int
    cancelled: int
    unfinished: int
    success_rate: float | None
    runtime_known: int
    runtime_avg_s: float | None
    runtime_min_s: float | None
    runtime_max_s: float | None


@dataclass(frozen=True)
class JobStats:
    """Figures for each group, most jobs first, and for all jobs. `since`: only those submitted from then on (Unix)."""

    by: By
    since: float | None
    groups: tuple[JobFigures, ...]
    total: JobFigures


@operation("jobs", "stats", "read")
def stats(session: Session, *, by: By = "template", since: float | str | None = None) -> JobStats:
    """Show how jobs fared: success rate and runtimes, by template or by node.

    Rate and runtimes are those of finished jobs; cancelled and unfinished ones are only counted. The node is that of
    the newest attempt. Jobs that were deleted (stoker clean) are not known any more.

    Args:
        by: What to group the jobs by.
        since: Only jobs submitted in this last stretch of time (24h, 7d).
    """
    start = time.time() - quantities.seconds(since, "--since") if since is not None else None
    outcomes = session.store.outcomes(start)
    return JobStats(by, start, grouped(outcomes, by), figures(None, outcomes))


def grouped(outcomes: Iterable[JobOutcome], by: By) -> tuple[JobFigures, ...]:
    """Figures for each template or node, most jobs first; those of none come last."""
    groups: dict[str | None, list[JobOutcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.template if by == "template" else outcome.node].append(outcome)
    order = sorted(groups, key=lambda name: (name is None, -len(groups[name]), name or ""))
    return tuple(figures(name, groups[name]) for name in order)


def figures(group: str | None, outcomes: Sequence[JobOutcome]) -> JobFigures:
    """The figures of these jobs."""
    finished = [o for o in outcomes if o.state == "succeeded" or o.state in _UNSUCCESSFUL]
    succeeded = sum(1 for o in finished if o.state == "succeeded")
    cancelled = sum(1 for o in outcomes if o.state == "cancelled")
    times = [o.elapsed_s for o in finished if o.elapsed_s is not None]
    return JobFigures(
        group=group,
        jobs=len(outcomes),
        finished=len(finished),
        succeeded=succeeded,
        unsuccessful=len(finished) - succeeded,
        cancelled=cancelled,
        unfinished=len(outcomes) - len(finished) - cancelled,
        success_rate=succeeded / len(finished) if finished else None,
        runtime_known=len(times),
        runtime_avg_s=sum(times) / len(times) if times else None,
        runtime_min_s=min(times, default=None),
        runtime_max_s=max(times, default=None),
    )
