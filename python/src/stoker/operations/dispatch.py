"""Making dispatch rounds by hand, or one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stoker.errors import StokerError, UsageError
from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.results import fetch
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Change, Problem, RoundReport


class RoundStream:
    """Rounds, one `RoundReport` each: one, or with a loop one after the other until the caller stops."""

    def __init__(self, session: Session, interval_s: float | None) -> None:
        self._session = session
        self._interval_s = interval_s
        self.last: RoundReport | None = None

    def __iter__(self) -> Iterator[RoundReport]:
        while True:
            self.last = self._round()
            yield self.last
            if self._interval_s is None:
                return
            time.sleep(self._pause_s(self.last, self._interval_s))

    def _make(self) -> tuple[Problem, ...]:
        return make_round(self._session, "dispatch", probe=True)

    def _pause_s(self, report: RoundReport, interval_s: float) -> float:
        """A lease is renewed when half of it is left: three rounds in that time, and one may fail."""
        shortest = self._session.store.shortest_lease_s()
        return interval_s if shortest is None else max(1.0, min(interval_s, shortest / 6))

    def _round(self) -> RoundReport:
        began = time.monotonic()
        store = self._session.store
        newest = store.last_event()
        try:
            problems = self._make()
            problems += fetch(self._session)
        except StokerError as problem:
            # A loop outlives a round that could not be made (a full disk, an inventory being edited).
            if self._interval_s is None:
                raise
            problems = (Problem(None, problem.message, problem.next_step),)
        changes = tuple(
            Change(e.at, e.type, e.job_id, e.attempt, e.node, e.data) for e in store.events(since=newest, limit=1000)
        )
        rows = store.jobs(states=["queued", "starting", "running"])
        waiting = sum(1 for row in rows if row.state == "queued")
        return RoundReport(changes, waiting, len(rows) - waiting, time.monotonic() - began, problems)


@operation("dispatch", "dispatch", "operate", method="rounds")
def dispatch(session: Session, *, loop: bool = False, interval: float | str = "10s") -> RoundStream:
    """Make a dispatch round: ask the nodes, start what is queued, retry what failed, stop what was to stop.

    `stoker run` makes its own; a loop (or cron) lets queued and failed jobs start while nobody is there.

    Args:
        loop: Go on, one round after the other, until Ctrl-C.
        interval: Pause between rounds (10s); at most a sixth of the shortest lease.
    """
    pause = quantities.seconds(interval, "--interval")
    if loop and pause < 1:
        raise UsageError(f"--interval: {interval} is less than a second")
    return RoundStream(session, pause if loop else None)
