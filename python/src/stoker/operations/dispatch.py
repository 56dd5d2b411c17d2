"""Making dispatch rounds by hand, or one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from stoker.errors import StokerError, UsageError
from stoker.operations import quantities
from stoker.operations.checkpoint_pulls import pull_due
from stoker.operations.loop import LEASE_S, DispatchLoop, pause_s
from stoker.operations.noted_findings import note_findings
from stoker.operations.notify_sending import tell
from stoker.operations.plugin_lasting import tell_once
from stoker.operations.registry import operation
from stoker.operations.rented_rounds import tending_round
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
            if self._interval_s is None:
                self.last = replace(self.last, problems=self.last.problems + tell_once(self._session))
                yield self.last
                return
            yield self.last
            time.sleep(self._pause_s(self.last, self._interval_s))
            self._session.forget_inventory()  # nodes may have joined since

    def _make(self) -> tuple[Problem, ...]:
        return tending_round(self._session, probe=True)

    def _keep(self) -> tuple[Problem, ...]:
        """Fetch the checkpoints that are due."""
        return tuple(one.problem for one in pull_due(self._session) if one.problem is not None)

    def _tell(self) -> tuple[Problem, ...]:
        return note_findings(self._session) + tell(self._session)

    def _pause_s(self, report: RoundReport, interval_s: float) -> float:
        return pause_s(self._session, interval_s)

    def _round(self) -> RoundReport:
        began = time.monotonic()
        store = self._session.store
        newest = store.last_event()
        try:
            problems = self._make()
            problems += self._keep()
            problems += fetch(self._session)
            problems += self._tell()
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


class _LoopRound(RoundStream):
    """One round of a loop: under the epoch of its leader, or for some jobs only."""

    def __init__(self, session: Session, epoch: int | None, jobs: Sequence[str] | None) -> None:
        super().__init__(session, 0.0)
        self._epoch = epoch
        self._jobs = jobs

    def _tell(self) -> tuple[Problem, ...]:
        # Only who leads: two at once would do half of it each, and wait for the same target.
        return super()._tell() if self._epoch is not None else ()

    def _keep(self) -> tuple[Problem, ...]:
        # The loop has a process for that: a lease is not to run out meanwhile.
        return ()

    def _make(self) -> tuple[Problem, ...]:
        if self._jobs is not None:
            return make_round(self._session, "dispatch", jobs=self._jobs, epoch=self._epoch)
        return tending_round(self._session, epoch=self._epoch, probe=True)


def _round(session: Session, epoch: int | None, jobs: Sequence[str] | None) -> RoundReport:
    return next(iter(_LoopRound(session, epoch, jobs)))


@operation("dispatch", "dispatch", "operate", method="rounds")
def dispatch(
    session: Session, *, loop: bool = False, interval: float | str = "10s", lease: float | str = LEASE_S
) -> RoundStream | DispatchLoop:
    """Make a dispatch round: ask the nodes, start what is queued, retry what failed, stop what was to stop.

    `stoker run` makes its own; a loop (or cron) lets queued and failed jobs start while nobody is there. Several loops
    on one store share the work: one leads, the others stand by and take over when it ends.

    Args:
        loop: Go on, one round after the other, until Ctrl-C or SIGTERM.
        interval: Pause between rounds (10s); at most a sixth of the shortest lease.
        lease: How long the others wait for this loop when it leads and gives no sign of life (20s).
    """
    pause = quantities.seconds(interval, "--interval")
    if loop and pause < 1:
        raise UsageError(f"--interval: {interval} is less than a second")
    patience = quantities.seconds(lease, "--lease")
    if patience < 1:
        raise UsageError(f"--lease: {lease} is less than a second")
    return DispatchLoop(session, _round, pause, patience) if loop else RoundStream(session, None)
