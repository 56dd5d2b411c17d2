"""Tending rented machines: one turn looks at the provider, takes each machine's next step, and rents what is missing.

Whoever makes rounds calls it before each of them. Nothing is kept between two turns but what is in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from stoker.errors import StokerError
from stoker.operations import rented_hosts, rented_losses, rented_marks
from stoker.operations.rented_look import Clock, Look, look
from stoker.operations.rented_needs import TO_STOP, Ends, Needs, limit_of, needs
from stoker.operations.rented_provider import Provider, ProviderError, provider
from stoker.operations.rented_renting import Rented, Renting
from stoker.operations.rented_steps import Done, Steps
from stoker.operations.values import Problem
from stoker.rented.lifecycle import Step, next_step
from stoker.store.instances import Instances
from stoker.store.rows import AlertRow

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store.instance_rows import InstanceRow

# So many machines are tended at a time.
AT_A_TIME = 8
# Steps that need nothing of the provider: they are taken also while it does not answer.
_WITHOUT = ("probe", "provision", "pull", "use", "wait", "none")


@dataclass(frozen=True)
class Tended:
    """What a turn did: `steps` by instance, what went wrong, and what is said of pools that have no machine.

    `pools` None: nobody rents here, for want of pools and machines.
    """

    pools: dict[str, str] | None = None
    problems: tuple[Problem, ...] = ()
    steps: dict[str, Step] = field(default_factory=dict)


def tend(
    session: Session, epoch: int | None = None, *, now: Clock = time.time, asked: Provider | None = None,
    ends: Ends | None = None, rent: bool = True,
) -> Tended:  # fmt: skip
    """Make one turn; of what goes wrong with the provider or a machine it tells.

    `epoch` is that of the leader whose turn it is; `ends` are machines that a person wants ended, by instance; without
    `rent` nothing new is rented. Raises StokerError when the store fails, SupersededError when another one leads.
    """
    if not session.config.pools and not session.store.instances.all():
        rented_losses.tell(session.store.under(epoch), {}, now())
        return Tended()
    turn = Turn(session, epoch, now, ends or {})
    return turn.make(asked, rent)


class Turn:
    """One turn."""

    def __init__(self, session: Session, epoch: int | None, now: Clock, ends: Ends) -> None:
        self._session = session
        self._epoch = epoch
        self._now = now
        self._ends = ends
        self._store = session.store.under(epoch)
        # Not `store.instances`: under an epoch it has to be of this store.
        self._instances = Instances(self._store)
        self._problems: list[Problem] = []
        self._steps: dict[str, Step] = {}
        self._alerts: dict[str, AlertRow] = {}

    def make(self, asked: Provider | None, rent: bool) -> Tended:
        """The whole of it, in its order."""
        rented_marks.settle(self._instances, self._now())
        rows = self._instances.all()
        wanted = needs(self._session, rows)
        if not rows and not any(wanted.unheld.values()) and not any(p.min for p in self._session.config.pools.values()):
            rented_losses.tell(self._store, {}, self._now())
            return Tended({})
        try:
            found = asked or provider()
        except ProviderError as problem:
            self._problem(None, problem)
            return Tended(dict.fromkeys(self._session.config.pools, problem.message), tuple(self._problems))
        seen = look(found, self._now)
        steps = self._taking(found)
        if seen.problem is not None:
            self._problem(None, seen.problem)
        rows = self._in_parallel(rows, lambda row: self._observed(steps, row, seen))
        self._losses(seen)
        wanted = needs(self._session, rows)
        self._in_parallel(rows, lambda row: self._one(steps, row, seen, wanted))
        told = self._rent(found, steps) if rent and seen.problem is None else {}
        if seen.problem is not None:
            told = dict.fromkeys(self._session.config.pools, f"the provider does not answer: {seen.problem.message}")
        self._losses(seen)
        rented_marks.settle(self._instances, self._now())
        rented_losses.tell(self._store, self._alerts, self._now())
        rented_hosts.renew(self._session)
        return Tended(told, tuple(self._problems), self._steps)

    def _taking(self, found: Provider) -> Steps:
        return Steps(
            self._instances, found, rented_hosts.place_of(self._session), self._now, self._epoch, self._drain,
            lambda job, why: rented_losses.fail(self._store, job, why, self._now()),
        )  # fmt: skip

    def begin(self, found: Provider, row: InstanceRow) -> tuple[Problem, ...]:
        """Start one that is stopped, because somebody says so."""
        steps = self._taking(found)
        self._note(steps.carry(row, Step("start", "somebody asked for it"), self._session.config.pools.get(row.pool)))
        return tuple(self._problems)

    def _in_parallel(
        self, rows: Sequence[InstanceRow], each: Callable[[InstanceRow], InstanceRow]
    ) -> list[InstanceRow]:
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="rented") as pool:
            return list(pool.map(each, rows))

    def _observed(self, steps: Steps, row: InstanceRow, seen: Look) -> InstanceRow:
        shown = seen.seen(row)
        problem = steps.end_twins(row, shown) if shown is not None and shown.twins else None
        if problem is not None:
            self._tell(row, problem)
            self._problems.append(Problem(row.node, problem))
        return steps.observe(row, shown)

    def _one(self, steps: Steps, row: InstanceRow, seen: Look, wanted: Needs) -> InstanceRow:
        """One step of one machine."""
        pool = self._session.config.pools.get(row.pool)
        limit = limit_of(self._session, self._instances, row, self._now()) if row.live else None
        use = wanted.use(row, limit=limit, end=self._end(row))
        row = steps.hold(row, use, wanted.holder(row)) if row.live else row
        step = next_step(row, seen.seen(row), use, pool, self._now())
        self._steps[row.id] = step
        away = seen.problem is not None and step.do not in _WITHOUT
        done = Done(row) if away else steps.carry(row, step, pool)
        if not away and (stranger := steps.let_in(done.row)) is not None:
            self._problems.append(Problem(done.row.node, stranger))
        if step.alert is not None and done.row.live:
            self._tell(row, step.alert)
        self._note(done)
        return done.row

    def _end(self, row: InstanceRow) -> Literal["stop", "destroy"] | None:
        return self._ends.get(row.id) or ("stop" if (row.why or "").startswith(TO_STOP) else None)

    def _rent(self, found: Provider, steps: Steps) -> dict[str, str]:
        """Write intents down and ask for them at once."""
        rows = self._instances.all(live=False)
        wanted = needs(self._session, [row for row in rows if row.live])
        renting = Renting(self._session, self._instances, found, rows, self._now(), self._epoch)
        try:
            rented = renting.rent(wanted)
        except ProviderError as problem:
            self._problem(None, problem)
            return dict.fromkeys(self._session.config.pools, f"the provider gives no offers: {problem.message}")
        for job, why in rented.hopeless.items():
            rented_losses.fail(self._store, job, why, self._now())
        self._create(rented, steps)
        return rented.told

    def _create(self, rented: Rented, steps: Steps) -> None:
        for intent in rented.intents:
            done = steps.carry(intent, Step("create", str(intent.why)), self._session.config.pools.get(intent.pool))
            self._steps[intent.id] = Step("create", str(intent.why))
            self._note(done)
            if done.problem is not None:
                rented.told.setdefault(intent.pool, done.problem.removeprefix(f"pool {intent.pool}: "))

    def _losses(self, seen: Look) -> None:
        pools = self._session.config.pools
        rented_losses.take(self._store, self._instances.all(live=False), seen, pools, self._now())

    def _drain(self, row: InstanceRow, why: str) -> None:
        # At a limit, or when a person says so, its job is over; else it goes on on another machine.
        stop = self._end(row) is not None or limit_of(self._session, self._instances, row, self._now()) is not None
        rented_losses.drain(self._store, row, why, stop=stop, now=self._now())

    def _note(self, done: Done) -> None:
        if done.problem is not None:
            self._problems.append(Problem(done.row.node, done.problem))

    def _tell(self, row: InstanceRow, text: str) -> None:
        key = f"{rented_losses.KEY}{row.id}"
        self._alerts[row.id] = AlertRow(row.node or row.pool, key, self._now(), text)

    def _problem(self, node: str | None, problem: StokerError) -> None:
        self._problems.append(Problem(node, problem.message, problem.next_step))
