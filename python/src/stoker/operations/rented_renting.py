"""Renting: for jobs that no machine is there for, an offer is chosen, dollars are put aside, and the intent written."""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

from stoker.dispatch.retry import JITTER
from stoker.errors import StokerError
from stoker.operations.rented_history import history
from stoker.operations.rented_needs import Needs
from stoker.operations.rented_provider import Provider
from stoker.operations.rented_unpaid import project_of
from stoker.rented import budget, cost, lifecycle, offers, reap
from stoker.rented.offers import Ranked
from stoker.store.instance_rows import InstanceRow, Ledger, ReservationRow

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.pool_settings import Pool
    from stoker.store import JobRow
    from stoker.store.instances import Instances

# So many of a pool are asked for in one turn: the provider wants some seconds between two.
AT_ONCE = 2
# After so many machines in a row that never took a job, the next one is waited for.
NEVER_READY = 3
PAUSE_S = 600.0
# After a create that the provider refused: twice as long each time it does so again.
REFUSED_S = 15.0
# After a machine on which its job did not begin: twice as long each time in a row, and up to a tenth more.
RESPAWN_S = 15.0
# After so many of those in a row it is given up: it would be paid for ever.
IN_VAIN = 10
# After a search that brought nothing which may be rented, the same one is made again.
SEARCH_S = 30.0
# By store and pool: what was searched for last, when, and why nothing came of it. Forgotten, it costs one search.
_searched: dict[tuple[str, str], tuple[object, float, str]] = {}


@dataclass
class Rented:
    """What came of it: intents that are written down, and why a pool, or a job, gets none now."""

    intents: list[InstanceRow] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    # By job: why no machine is rented for it any more.
    hopeless: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Renting:
    """What is needed to rent. `rows` are all instances of the store, those that are over included."""

    session: Session
    instances: Instances
    provider: Provider
    rows: Sequence[InstanceRow]
    now: float
    epoch: int | None = None

    def rent(self, needs: Needs) -> Rented:
        """Write down the intents of this turn, of all pools. Raises ProviderError, and StokerError of the store."""
        found = Rented()
        for name, pool in self.session.config.pools.items():
            wanted = [job for job in needs.unheld.get(name, ()) if not self._hopeless(job, pool, found)]
            waits = {job.id: why for job in wanted if (why := self._respawn(job)) is not None}
            wanted = [job for job in wanted if job.id not in waits]
            if waits:
                found.told[name] = next(iter(waits.values()))
            live = [row for row in self.rows if row.pool == name and row.live]
            # One that pauses is waited for: renting for nobody meanwhile would undo its pause.
            least = max(0, pool.min - len(live) - len(wanted) - len(waits))
            missing: list[JobRow | None] = [*wanted, *[None] * least]
            if missing and len(live) < pool.max:
                now, exclude = missing[: pool.max - len(live)][:AT_ONCE], self._excluded(needs.unheld.get(name, ()))
                why = self._pause(name) or self._rent(name, pool, now, exclude, found)
                if why is not None:
                    found.told[name] = why
        return found

    def _hopeless(self, job: JobRow, pool: Pool, found: Rented) -> bool:
        """Whether a job has used up its machines."""
        mine = [row for row in self.rows if row.job == job.id and not row.live]
        setup = next((row for row in mine if row.problem == "setup"), None)
        lost = lifecycle.lost_for(mine)
        if setup is not None:
            found.hopeless[job.id] = f"{setup.node or setup.label} could not be made ready: {self._told_of(setup)}"
        elif len(vain := list(takewhile(lifecycle.never_began, reversed(mine)))) >= IN_VAIN:
            found.hopeless[job.id] = (
                f"it did not begin on any of the last {len(vain)} machines; the last one: {self._told_of(vain[0])}"
            )
        elif lost > pool.max_respawns:
            last = max((row for row in mine if row.problem in lifecycle.LOSSES), key=lambda row: row.created_at)
            found.hopeless[job.id] = (
                f"it lost {lost} machine{'s' * (lost != 1)}, and its pool gives it {pool.max_respawns} others; "
                f"the last one: {last.problem}, {self._told_of(last)}"
            )
        return job.id in found.hopeless

    def _respawn(self, job: JobRow) -> str | None:
        """Why a job gets no other machine just now.

        One of before may still be there; or those before were of no use, and the next one may be as well.
        """
        held = next((row for row in self.rows if row.job == job.id and row.live), None)
        if held is not None:
            return f"{job.id} gets another machine when {held.node or held.label} is gone, which is {held.phase}"
        over = sorted((row for row in self.rows if row.job == job.id and not row.live), key=lambda row: row.created_at)
        none = list(takewhile(lifecycle.never_began, reversed(over)))
        if not none:
            return None
        last = none[0]
        chance = zlib.crc32(last.id.encode()) / 2**32
        pause = min(PAUSE_S, RESPAWN_S * 2 ** min(len(none) - 1, 10)) * (1 + JITTER * chance)
        left = (last.ended_at or self.now) + pause - self.now
        if left <= 0:
            return None
        return (
            f"{job.id} did not begin on {last.node or last.label}: {self._told_of(last)}; another one in {left:.0f} s"
        )

    def _told_of(self, row: InstanceRow) -> str:
        """What was wrong with a machine, in the words of then: its row says how it ended."""
        kinds = ("instance.problem", "instance.destroying")
        events = self.session.store.events(types=kinds, limit=200, newest=True)
        told = [event.data.get("evidence") for event in events if event.data.get("instance") == row.id]
        return str(next((words for words in reversed(told) if words), row.evidence))

    def _pause(self, name: str) -> str | None:
        """Why nothing is rented for a pool just now: what would come of it is known."""
        over = sorted((row for row in self.rows if row.pool == name and row.asked_at), key=lambda row: row.created_at)
        refused = 0
        for row in reversed(over):
            if row.phase != "failed" or row.problem != "refused":
                break
            refused += 1
        if refused:
            left = (over[-1].ended_at or self.now) + min(PAUSE_S, REFUSED_S * 2 ** (refused - 1)) - self.now
            if left > 0:
                return f"the provider refused: {over[-1].evidence}; asked again in {left:.0f} s"
        last = [row for row in over if row.phase != "failed"][-NEVER_READY:]
        if len(last) == NEVER_READY and all(not row.live and row.ready_at is None and row.problem for row in last):
            left = (last[-1].ended_at or self.now) + PAUSE_S - self.now
            if left > 0:
                why = f"{last[-1].problem}: {self._told_of(last[-1])}"
                return f"the last {NEVER_READY} machines took no job ({why}); the next one in {left / 60:.0f} min"
        return None

    def _rent(self, name: str, pool: Pool, wanted: Sequence[JobRow | None], exclude: frozenset[int], found: Rented,
              wish: str | None = None) -> str | None:  # fmt: skip
        wanted, why = self._affordable(wanted)
        ids = [job.id if job is not None else None for job in wanted]
        place, search = (self.session.store.url, name), (pool, self.session.config.budget, ids, exclude)
        before = None if wish else _searched.get(place)
        if before is not None and before[0] == search and 0 <= self.now - before[1] < SEARCH_S:
            return before[2]
        if wanted:
            intents = len(found.intents)
            why = self._search(name, pool, wanted, exclude, found, wish) or why
            if why is not None and len(found.intents) == intents:
                _searched[place] = (search, self.now, why)
        return why

    def _affordable(self, wanted: Sequence[JobRow | None]) -> tuple[list[JobRow | None], str | None]:
        """Those for whom there are dollars left at all, and why not for the others: no offer is asked for for them."""
        left: list[JobRow | None] = []
        told, day = None, cost.day_start(self.now)
        for job in wanted:
            name, project = (job.id if job is not None else None), project_of(job)
            ledger = self.instances.ledger(name, project, day=day)
            why = budget.spent(self.session.config.budget, name, project, ledger, self.now)
            told = told or why
            left += [] if why is not None else [job]
        return left, told

    def _search(self, name: str, pool: Pool, wanted: Sequence[JobRow | None], exclude: frozenset[int], found: Rented,
                wish: str | None) -> str | None:  # fmt: skip
        listed = self.provider.offers(offers.query(pool, exclude), pool.kind, pool.disk_gb)
        first = wanted[0].name if wanted[0] is not None else None
        best = offers.ranked(listed, pool, history(self.session, self.instances, name, first), exclude)
        if not best:
            return offers.why_none(listed, pool, exclude)
        why = None
        for job, offer in zip(wanted, best, strict=False):
            intent = self._intent(name, pool, job, offer, wish)
            why = self._written(intent, pool, offer.usd_per_hour, _seconds(job, pool))
            if why is None:
                found.intents.append(intent)
        return why

    def by_hand(self, name: str, pool: Pool, found: Rented) -> str | None:
        """One machine for no job; why not."""
        live = [row for row in self.rows if row.pool == name and row.live]
        if len(live) >= pool.max:
            return f"all {len(live)} of {pool.max} are in use"
        return self._rent(name, pool, [None], self._excluded(()), found, lifecycle.START)

    def _excluded(self, waiting: Sequence[JobRow]) -> frozenset[int]:
        """Machines that are held already, and those that failed one of the jobs before: any of them may get it."""
        jobs = {job.id for job in waiting}
        held = {row.machine_id for row in self.rows if row.machine_id is not None and row.live}
        return frozenset(held | offers.excluded(row for row in self.rows if row.job in jobs and not row.live))

    def _intent(self, name: str, pool: Pool, job: JobRow | None, best: Ranked, wish: str | None) -> InstanceRow:
        number, machine = secrets.token_hex(6), best.offer.get("machine_id")
        before = [row for row in self.rows if job is not None and row.job == job.id]
        return InstanceRow(
            id=number, label=reap.label(self.instances.store_id(), number), pool=name,
            job=job.id if job is not None else None, kind=pool.kind, offer=dict(best.offer),
            machine_id=machine if isinstance(machine, int) else None, price=best.bid, gpu_rate=best.gpu_rate,
            disk_rate=best.disk_rate, disk_gb=pool.disk_gb, phase="intended", phase_since=self.now,
            created_at=self.now, expires_at=self.now + pool.time_to_live_s, lease_s=pool.lease_s,
            project=project_of(job), submitted_by=job.submitted_by if job is not None else None, why=best.why,
            replaces=before[-1].id if before else None, epoch=self.epoch, wish=wish,
        )  # fmt: skip

    def _written(self, intent: InstanceRow, pool: Pool, usd_per_hour: float, seconds: float) -> str | None:
        """Put the dollars aside and write the intent down, or say why not."""
        settings, day = self.session.config.budget, cost.day_start(self.now)

        def aside(ledger: Ledger) -> ReservationRow | str:
            return budget.allows(settings, intent, usd_per_hour, pool, ledger, self.now, seconds)

        def allow(ledger: Ledger) -> str | None:
            there = [row for row in ledger.live if row.pool == intent.pool]
            if len(there) >= pool.max:
                return f"all {len(there)} of {pool.max} are in use"
            again = aside(ledger)
            return again if isinstance(again, str) else None

        reserved = aside(self.instances.ledger(intent.job, intent.project, day=day))
        return reserved if isinstance(reserved, str) else self.instances.add(intent, reserved, allow, day=day)


def by_hand(session: Session, provider: Provider, name: str, pool: Pool) -> InstanceRow:
    """The intent of one more machine that a person wants. Raises StokerError, with the reason, where there is none."""
    instances, now = session.store.instances, time.time()
    renting = Renting(session, instances, provider, instances.all(live=False), now)
    found = Rented()
    why = renting.by_hand(name, pool, found)
    if why is not None:
        raise StokerError(f"pool {name}: {why}", next_step=f"stoker vast offers {name}")
    return found.intents[0]


def _seconds(job: JobRow | None, pool: Pool) -> float:
    """For how long dollars are put aside: until the job is surely over, else as long as the pool expects."""
    limit = job.spec.get("timeout_s") if job is not None else None
    return float(limit) if isinstance(limit, int | float) else pool.expected_s
