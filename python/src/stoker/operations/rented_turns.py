"""Which jobs that wait a round could start at all, were there a machine: for the others none is paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stoker.dispatch.gang import size_of

if TYPE_CHECKING:
    from stoker.store import JobRow, QueueRow


class Turns:
    """The queues and gangs of the jobs that are not over; asked of each job that waits, in the order of their turns."""

    def __init__(self, queues: Iterable[QueueRow], jobs: Iterable[JobRow], under_way: Iterable[JobRow]) -> None:
        self._queues = {queue.name: queue for queue in queues}
        self._busy = Counter(job.queue for job in under_way)
        self._ranks = Counter(job.gang for job in jobs)
        # Of gangs, whether they may; a queue whose first gang may not lets nobody pass.
        self._gangs: dict[str, bool] = {}
        self._shut: set[str] = set()

    def may_start(self, job: JobRow, soon: float) -> bool:
        """Whether a round could start it before `soon` (Unix seconds), and count it as one that does."""
        if (job.not_before or 0.0) > soon:
            return False
        if job.gang is None:
            return self._takes(job, 1)
        if job.gang not in self._gangs:
            # One of which a rank is over does not start any more.
            self._gangs[job.gang] = self._ranks[job.gang] >= size_of(job) and self._takes(job, size_of(job))
        return self._gangs[job.gang]

    def _takes(self, job: JobRow, ranks: int) -> bool:
        queue = self._queues.get(job.queue) if job.queue is not None else None
        if queue is None:
            return True
        if queue.paused or queue.name in self._shut:
            return False
        busy = self._busy[queue.name]
        if queue.max_running is not None and busy and busy + ranks > queue.max_running:
            if ranks > 1:
                self._shut.add(queue.name)
            return False
        self._busy[queue.name] += ranks
        return True
