"""Queues in a round: which job of a queue may start now, and where. Pure.

Jobs of one queue start in order. On each node a queue has as many slots as the node has GPUs, one where it has none or
nobody knows; a queue with `max_running` counts its jobs on all nodes instead. Nobody passes: a job that finds its nodes
full closes them to those behind it. One that waits for something else (its next attempt, a node that is away) does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stoker.dispatch.demand import gpus_of
from stoker.dispatch.load import AHEAD, names
from stoker.dispatch.model import State
from stoker.store import JobRow


@dataclass
class _Slots:
    """What one queue has under way on one node: the jobs in its slots, and those that wait there behind them."""

    total: int
    used: int = 0
    running: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)

    def add(self, job: JobRow) -> None:
        if self.fits(job):
            self.used += weight(job)
            self.running.append(job.id)
        else:
            self.ahead.append(job.id)

    def fits(self, job: JobRow) -> bool:
        # A job that needs more than there is still gets its turn, alone.
        return not self.ahead and (self.used + weight(job) <= self.total or self.used == 0)


class Lines:
    """All queues while a round is planned."""

    def __init__(self, state: State) -> None:
        self._queues = state.queues
        self._gpus = {name: row.facts.get("gpus") for name, row in state.known.items()}
        self._slots: dict[tuple[str, str], _Slots] = {}
        self._under_way: dict[str, list[str]] = defaultdict(list)
        self._first: dict[tuple[str, str], str] = {}
        self._gang_first: dict[str, str] = {}

    def add(self, job: JobRow, node: str) -> None:
        """Count `job`, which is or will be under way on `node`."""
        if job.queue is not None:
            self._under_way[job.queue].append(job.id)
            self._at(job.queue, node).add(job)

    def refusal(self, job: JobRow, ranks: int = 1) -> str | None:
        """Why nothing of the job's queue may start now, or not so many ranks at once; None: it may."""
        queue = self._queues.get(job.queue) if job.queue is not None else None
        if queue is None:
            return None
        if queue.paused:
            return f"queue {queue.name} is paused: {queue.paused_reason}"
        if (first := self._gang_first.get(queue.name)) is not None:
            return f"{first} comes first in queue {queue.name}"
        busy = self._under_way[queue.name]
        # A gang of more ranks than there may be jobs still gets its turn, alone.
        if queue.max_running is not None and busy and len(busy) + ranks > queue.max_running:
            if ranks > 1:
                self._gang_first[queue.name] = job.id
            return f"queue {queue.name} runs {queue.max_running} at a time ({names(busy)})"
        return None

    def closed(self, job: JobRow, nodes: Iterable[str]) -> dict[str, str]:
        """The nodes of these that take no job of the queue now, each with the reason."""
        queue = self._queues.get(job.queue) if job.queue is not None else None
        if queue is None:
            return {}
        # A rank does not wait on a node: it would hold the GPUs of the others.
        found, ahead = {}, not queue.stop_on_failure and job.gang is None
        for node in nodes:
            first = self._first.get((queue.name, node))
            if first is not None:
                found[node] = f"{first} comes first on {node}"
            elif queue.max_running is None and not self._takes(job, node, ahead=ahead):
                slots = self._at(queue.name, node)
                held = names([*slots.running, *slots.ahead])
                what = f"{slots.total} GPUs" if slots.total > 1 else "one job at a time"
                found[node] = f"queue {queue.name} has {what} on {node} (held by {held})"
        return found

    def close(self, job: JobRow, nodes: Sequence[str]) -> None:
        """`job` waits for room on these nodes: those behind it do not pass."""
        for node in nodes:
            if job.queue is not None:
                self._first.setdefault((job.queue, node), job.id)

    def _takes(self, job: JobRow, node: str, *, ahead: bool) -> bool:
        slots = self._at(str(job.queue), node)
        return slots.fits(job) or (ahead and gpus_of(job) > 0 and len(slots.ahead) < AHEAD)

    def _at(self, queue: str, node: str) -> _Slots:
        gpus = self._gpus.get(node)
        return self._slots.setdefault((queue, node), _Slots(max(1, len(gpus)) if isinstance(gpus, list) else 1))


def weight(job: JobRow) -> int:
    """How many slots a job takes: one for each GPU, one without."""
    return max(1, gpus_of(job))
