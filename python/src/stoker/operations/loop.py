"""A dispatcher as a service: rounds one after the other, beside others on the same store."""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from stoker.errors import StokerError
from stoker.operations.checkpoint_pulls import Keeper
from stoker.operations.leading import Dispatcher
from stoker.operations.plugin_lasting import lasting
from stoker.operations.results import fetch
from stoker.operations.service import ended_by, tell_systemd
from stoker.operations.session import Session
from stoker.operations.values import Problem, RoundReport

# How soon one that stands by notices that nobody leads any more.
LOOK_S = 1.0
LEASE_S = 20.0


@dataclass(frozen=True)
class Standing:
    """How a dispatcher stands among the others. `epoch` is the one that it leads under; None: it stands by."""

    at: float
    dispatcher: str
    epoch: int | None
    told: str


class DispatchLoop:
    """Rounds until SIGTERM, as one dispatcher among others: a `RoundReport` for each, a `Standing` for each change.

    Only the leader makes rounds of all jobs. One that stands by does what only its own machine can: it fetches results
    to it, and starts jobs whose files lie on it.
    """

    exit_code = 0

    def __init__(
        self, session: Session, make: Callable[[Session, int | None, Sequence[str] | None], RoundReport],
        interval_s: float, lease_s: float,
    ) -> None:  # fmt: skip
        self._session = session
        self._make = make
        self._interval_s = interval_s
        self._lease_s = lease_s
        self._ended = threading.Event()
        self._unsaid: list[Problem] = []

    def end(self) -> None:
        """End the loop after the round that it makes now."""
        self._ended.set()

    def __iter__(self) -> Iterator[RoundReport | Standing]:
        with (
            ended_by(signal.SIGTERM) as asked,
            Dispatcher(self._session.store, self._lease_s) as own,
            lasting(self._session, self._unsaid.append) as plugins,
            Keeper(self._session) as keeper,
        ):
            self._ended = asked
            due = 0.0
            while not asked.is_set():
                try:
                    told = own.stand()
                except StokerError as problem:
                    yield _unmade(problem)
                    asked.wait(self._interval_s)
                    continue
                if told is not None:
                    tell_systemd(f"STATUS={told}")
                    yield Standing(time.time(), own.id, own.epoch, told)
                if time.monotonic() >= due or told is not None:
                    yield from self._turn(own)
                    if own.epoch is not None:
                        self._keep(keeper)
                    # Between rounds: a listener that is slow must not look like a round that hangs.
                    self._unsaid += plugins.tell() if own.epoch is not None else ()
                    due = time.monotonic() + self._pause_s()
                asked.wait(min(LOOK_S, self._interval_s) if own.epoch is None else self._until(due))

    def _told(self, report: RoundReport) -> RoundReport:
        """The report, with what went wrong in plugins since the one before."""
        problems, self._unsaid[:] = tuple(self._unsaid), ()
        return replace(report, problems=report.problems + problems)

    def _keep(self, keeper: Keeper) -> None:
        try:
            keeper.turn()
        except StokerError as problem:
            self._unsaid.append(Problem(None, problem.message, problem.next_step))

    def _pause_s(self) -> float:
        try:
            return pause_s(self._session, self._interval_s)
        except StokerError:
            return self._interval_s  # the next round tells of it

    def _until(self, due: float) -> float:
        return max(0.0, due - time.monotonic())

    def _turn(self, own: Dispatcher) -> Iterator[RoundReport]:
        own.begins_round()
        try:
            self._session.forget_inventory()  # nodes may have joined since
            if own.epoch is not None:
                yield self._told(self._make(self._session, own.epoch, None))
            elif jobs := here(self._session):
                yield self._make(self._session, None, jobs)
            elif problems := fetch(self._session):
                yield RoundReport((), 0, 0, 0.0, problems)
        except StokerError as problem:
            yield _unmade(problem)
        finally:
            own.ends_round()


def pause_s(session: Session, interval_s: float) -> float:
    """The pause between rounds. A lease is renewed when half of it is left: three rounds in that time, one may fail."""
    shortest = session.store.shortest_lease_s()
    return interval_s if shortest is None else max(1.0, min(interval_s, shortest / 6))


def _unmade(problem: StokerError) -> RoundReport:
    return RoundReport((), 0, 0, 0.0, (Problem(None, problem.message, problem.next_step),))


def here(session: Session) -> list[str]:
    """The jobs that only this machine can start: their snapshot, their data or their newest checkpoint is here."""
    digests, read, me = session.store.snapshots.here(), session.store.snapshots.data_here(), platform.node()
    rows = session.store.jobs(states=["queued", "starting"], newest_first=False)
    rows = [row for row in rows if row.node is None or row.state == "starting"]
    kept = session.store.checkpoints
    found, files_here = kept.of_jobs(row.id for row in rows if row.spec.get("checkpoints")), kept.files.here()
    wanted = []
    for row in rows:
        files, data = row.spec.get("snapshot") or {}, row.spec.get("dataset") or {}
        newest = next((each for each in found.get(row.id, ()) if each.damaged is None), None)
        own = files.get("host") == me and files.get("digest") in digests
        own = own or data.get("host") == me or data.get("digest") in read
        if own or (newest is not None and newest.digest in files_here):
            wanted.append(row.id)
    return wanted
