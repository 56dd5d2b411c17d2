"""The fleet as it is now, again and again: nodes, GPUs and jobs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.node_values import Gpu, Node
from stoker.operations.nodes import list_nodes
from stoker.operations.registry import operation
from stoker.operations.sampling import Sampling
from stoker.operations.session import Session
from stoker.operations.telemetry import LEAST_INTERVAL_S, PARTS, Sample, samples_of
from stoker.operations.values import Job
from stoker.operations.views import jobs_of


@dataclass(frozen=True)
class Top:
    """One picture of the fleet, at `at` (Unix seconds). `waiting`: the nodes that were asked and have not answered."""

    at: float
    samples: tuple[Sample, ...]
    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]
    waiting: tuple[str, ...] = ()

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs of all nodes that can be reached."""
        return tuple(gpu for node in self.nodes if node.reachable for gpu in node.gpus or ())


class TopStream:
    """A `Top` for each interval, and one as soon as a node has answered. `once` is a single one, of all nodes."""

    def __init__(self, session: Session, nodes: Sequence[str], interval_s: float) -> None:
        self._session = session
        self._nodes = tuple(nodes)
        self.interval_s = interval_s

    def once(self) -> Top:
        """One picture, when every node has answered or was found to be away."""
        sampling = Sampling(self._session, self._nodes, PARTS, jobs=True)
        try:
            sampling.ask()
            for _ in sampling.answers(math.inf):
                pass
            return self._picture()
        finally:
            sampling.close()

    def __iter__(self) -> Iterator[Top]:
        sampling = Sampling(self._session, self._nodes, PARTS, jobs=True)
        try:
            due = time.monotonic()
            while True:
                sampling.ask()
                yield self._picture(sampling.pending)
                due = max(due + self.interval_s, time.monotonic())
                for _ in sampling.answers(due):
                    yield self._picture(sampling.pending)
                time.sleep(max(0.0, due - time.monotonic()))
        finally:
            sampling.close()

    def _picture(self, waiting: Iterable[str] = ()) -> Top:
        names = set(self._nodes)
        rows = self._session.store.jobs(states=["queued", "starting", "running"], newest_first=False)
        jobs = tuple(job for job in jobs_of(self._session, rows) if job.node is None or job.node in names)
        nodes = tuple(node for node in list_nodes(self._session).nodes if node.name in names)
        return Top(
            time.time(), tuple(samples_of(self._session, self._nodes, None)), nodes, jobs, tuple(sorted(waiting))
        )


@operation("telemetry", "top", "read")
def top(session: Session, on: str | None = None, *, every: float | str = "2s") -> TopStream:
    """Show nodes, GPUs and jobs live; `q` or Ctrl-C ends it. Where there is no terminal it shows them once.

    All nodes are asked at once; one that is slow or away holds up no other.

    Args:
        on: Only this node or group.
        every: How often to ask (2s).
    """
    interval = quantities.seconds(every, "--every")
    if interval < LEAST_INTERVAL_S:
        raise UsageError(f"--every: {every} is less than a second")
    names = session.inventory.match(on) if on is not None else [n.name for n in session.inventory.nodes]
    return TopStream(session, names, interval)
