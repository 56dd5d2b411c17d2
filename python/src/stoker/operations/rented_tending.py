"""Tending rented machines: one turn looks at the provider, takes each machine's next step, and rents what is missing.

Whoever makes rounds calls it before each of them. Nothing is kept between two turns but what is in the store, and what
a search that brought nothing was told (`rented_renting.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from stoker.errors import StokerError
from stoker.operations import rented_hosts, rented_losses, rented_marks
from stoker.operations.rented_look import Clock, Look, look
from stoker.operations.rented_needs import Ends, Needs, limit_of, needs
from stoker.operations.rented_provider import Provider, ProviderError, Unasked, provider
from stoker.operations.rented_renting import Rented, Renting
from stoker.operations.rented_steps import Done, Steps
from stoker.operations.values import Problem
from stoker.rented import clock, reap
from stoker.rented.lifecycle import Step, Use, due, end_by_hand, next_step
from stoker.store.dispatchers import SupersededError
from stoker.store.instances import Instances
from stoker.store.rows import AlertRow

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store.instance_rows import InstanceRow

# So many machines are tended at a time.
AT_A_TIME = 8
# How long after an instance was taken for failed or gone it is still looked for: its create may be late.
LATE_S = 3600.0
# Steps that need nothing of the provider: they are taken also while it does not answer.
_WITHOUT = ("probe", "provision", "pull", "use", "wait", "none")
# Steps that are taken also while there is no list: a machine costs meanwhile, too.
_ENDS = ("stop", "destroy", "confirm")


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
    if not session.config.pools and not _may_be_there(session.store.instances.all(live=False), now()):
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
        every = self._set_right(self._instances.all(live=False))
        rows = [row for row in every if row.live]
        wanted = needs(self._session, rows, self._now())
        if (
            not _may_be_there(every, self._now())
            and not any(wanted.unheld.values())
            and not any(p.min for p in self._session.config.pools.values())
        ):
            rented_losses.tell(self._store, {}, self._now())
            rented_losses.results(self._store, every, self._session.config.pools, self._now())
            return Tended({})
        try:
            found = asked or provider()
        except ProviderError as problem:
            found = Unasked(problem)
        seen = look(found, self._now)
        steps = self._taking(found)
        if seen.problem is not None:
            self._problem(None, seen.problem)
        # One that was taken for over, and is listed, is to go as well.
        rows += [row for row in every if not row.live and (shown := seen.seen(row)) is not None and shown.there]
        rows = self._in_parallel(rows, lambda row: self._alone(row, lambda: self._observed(steps, row, seen)))
        self._strays(seen)
        self._losses(seen)
        wanted = needs(self._session, rows, self._now())
        self._in_parallel(rows, lambda row: self._alone(row, lambda: self._one(steps, row, seen, wanted)))
        told = self._rent(found, steps) if rent and seen.problem is None else {}
        if seen.problem is not None:
            why = (
                seen.problem.message
                if isinstance(found, Unasked)
                else f"the provider does not answer: {seen.problem.message}"
            )
            told = dict.fromkeys(self._session.config.pools, why)
        self._losses(seen)
        pools, every = self._session.config.pools, self._instances.all(live=False)
        rented_losses.results(self._store, every, pools, self._now())
        rented_marks.settle(self._instances, self._now())
        rented_losses.tell(self._store, self._alerts, self._now())
        rented_hosts.renew(self._session)
        return Tended(told, tuple(self._problems), self._steps)

    def _set_right(self, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
        """The rows; where the clock was set back since they were written, their times are those of now."""
        now = self._now()
        ahead = [row for row in rows if clock.ahead_s(row, now)]
        for row in ahead:
            self._instances.change(row, clock.set_right(row, now), now=now)
            text = f"{row.node or row.label}: was written down {clock.ahead_s(row, now):.0f} s ahead of this clock"
            self._problems.append(Problem(row.node, text, "set the clock right, and let it be kept so (NTP)"))
        if not ahead:
            return list(rows)
        self._instances.clock_set_back(now)
        return self._instances.all(live=False)

    def _taking(self, found: Provider) -> Steps:
        return Steps(
            self._instances, found, rented_hosts.place_of(self._session), self._now, self._epoch, self._drain,
            lambda job, why: rented_losses.fail(self._store, job, why, self._now()),
        )  # fmt: skip

    def begin(self, found: Provider, row: InstanceRow) -> tuple[Problem, ...]:
        """Start one that is stopped, because somebody says so."""
        if (why := Look(self._now(), account=found.account()).blind(row)) is not None:
            return (Problem(row.node, f"{row.node or row.label}: {why}"),)
        steps = self._taking(found)
        self._note(steps.carry(row, Step("start", "somebody asked for it"), self._session.config.pools.get(row.pool)))
        return tuple(self._problems)

    def _in_parallel(
        self, rows: Sequence[InstanceRow], each: Callable[[InstanceRow], InstanceRow]
    ) -> list[InstanceRow]:
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="rented") as pool:
            return list(pool.map(each, rows))

    def _alone(self, row: InstanceRow, tended: Callable[[], InstanceRow]) -> InstanceRow:
        """Tend one machine. What goes wrong there, or here for its sake, is told of and no matter of the others."""
        try:
            return tended()
        except SupersededError:
            raise
        except Exception as problem:  # noqa: BLE001  a full disk here must not keep the others from being ended
            from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

            what = problem.message if isinstance(problem, StokerError) else f"{type(problem).__name__}: {problem}"
            text = f"{row.node or row.label} could not be tended: {safe_text(what, 300)}"
            self._tell(row, text)
            self._problems.append(Problem(row.node, text))
            return row

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
        use = wanted.use(row, end=self._end(row))
        row = steps.hold(row, use, wanted.holder(row), wanted.job(wanted.holder(row))) if row.live else row
        # By the budget of whom it is held for from now on.
        limit = limit_of(self._session, self._instances, row, self._now()) if row.live else None
        step = next_step(row, seen.seen(row), replace(use, limit=limit), pool, self._now())
        self._steps[row.id] = step
        blind = seen.blind(row)
        done = steps.carry(row, step, pool) if blind is None or step.do in _WITHOUT else Done(row)
        if blind is not None and step.do in _ENDS and seen.mine(row):
            done = self._unlisted(steps, row, use, step)
        elif seen.problem is None and blind is not None:
            self._problems.append(Problem(row.node, f"{row.node or row.label}: {blind}"))
        if blind is None and (stranger := steps.let_in(done.row)) is not None:
            self._problems.append(Problem(done.row.node, stranger))
        alert = self._steps[row.id].alert
        if alert is not None and done.row.live:
            self._tell(row, alert if blind is None else f"{alert}: {blind}")
        self._note(done)
        return done.row

    def _unlisted(self, steps: Steps, row: InstanceRow, use: Use, step: Step) -> Done:
        """End a machine while there is no list: it is asked for by its number, and what that shows counts."""
        pool, shown = self._session.config.pools.get(row.pool), None
        try:
            shown = steps.show(row)
        except ProviderError as problem:
            if problem.kind in ("auth", "unanswered") or not due(row, step, use, pool, self._now()):
                return Done(row, f"{row.node or row.label}: {step.do}: {problem.message}")
        if shown is not None:
            row = steps.observe(row, shown)
            step = self._steps[row.id] = next_step(row, shown, use, pool, self._now())
        return Done(row) if step.do == "confirm" else steps.carry(row, step, pool)

    def _end(self, row: InstanceRow) -> Literal["stop", "destroy"] | None:
        return self._ends.get(row.id) or end_by_hand(row)

    def _rent(self, found: Provider, steps: Steps) -> dict[str, str]:
        """Write intents down and ask for them at once."""
        rows = self._instances.all(live=False)
        wanted = needs(self._session, [row for row in rows if row.live], self._now())
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
            self._steps[intent.id] = Step("create", str(intent.why))
            self._alone(intent, partial(self._created, rented, steps, intent))

    def _created(self, rented: Rented, steps: Steps, intent: InstanceRow) -> InstanceRow:
        done = steps.carry(intent, self._steps[intent.id], self._session.config.pools.get(intent.pool))
        self._note(done)
        if done.problem is not None:
            rented.told.setdefault(intent.pool, done.problem.removeprefix(f"pool {intent.pool}: "))
        return done.row

    def _losses(self, seen: Look) -> None:
        pools = self._session.config.pools
        rented_losses.take(self._store, self._instances.all(live=False), seen, pools, self._now())

    def _drain(self, row: InstanceRow, why: str) -> None:
        # At a limit, or when a person says so, its job is over; else it goes on on another machine.
        stop = self._end(row) is not None or limit_of(self._session, self._instances, row, self._now()) is not None
        rented_losses.drain(self._store, row, why, stop=stop, now=self._now())

    def _strays(self, seen: Look) -> None:
        """Tell of what has a label of this store and no row at all: nobody but a person ends it."""
        for each in reap.plan(seen.listed, self._instances.all(live=False), self._instances.store_id()):
            if each.what == "destroy" and self._instances.get(str(each.instance)) is None:
                text = f"instance {each.provider_id} is billed: {each.why} (next: stoker vast reap)"
                key = f"{rented_losses.KEY}{each.provider_id}"
                self._alerts[key] = AlertRow(each.label, key, self._now(), text)

    def _note(self, done: Done) -> None:
        if done.problem is not None:
            self._problems.append(Problem(done.row.node, done.problem))

    def _tell(self, row: InstanceRow, text: str) -> None:
        key = f"{rented_losses.KEY}{row.id}"
        self._alerts[row.id] = AlertRow(row.node or row.pool, key, self._now(), text)

    def _problem(self, node: str | None, problem: StokerError) -> None:
        self._problems.append(Problem(node, problem.message, problem.next_step))


def _may_be_there(rows: Sequence[InstanceRow], now: float) -> bool:
    """Whether the provider may have one of these: what was not proven over long ago."""
    return any(row.live or now - (row.ended_at or row.phase_since) < LATE_S for row in rows)
