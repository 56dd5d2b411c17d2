"""Carrying out the next step of one rented machine: a transaction, one call to the provider, a transaction.

What is about to be done is written down first; who is killed between any two of these leaves a row from which the next
turn goes on. A change is made only while the row is as it was seen, so that of two who tend one carries a step out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.operations import rented_hosts, rented_keys, rented_marks, rented_setup, rented_ssh
from stoker.operations.rented_look import Clock, look_at
from stoker.operations.rented_onstart import onstart
from stoker.operations.rented_provider import Provider, ProviderError
from stoker.operations.rented_unpaid import project_of
from stoker.rented import changes, cost, lifecycle
from stoker.rented.figures import amount
from stoker.rented.lifecycle import Step, Use
from stoker.rented.provided import Seen

if TYPE_CHECKING:
    from stoker.pool_settings import Pool
    from stoker.runner.rented_nodes import RentedPlace
    from stoker.store import JobRow
    from stoker.store.instance_rows import InstanceRow
    from stoker.store.instances import Instances

# Of a machine that nobody looked at for so many seconds it is not known in which state it was meanwhile.
GAP_S = 300.0
# In these it is held for whoever needs it now.
_HELD = ("intended", "asked", "loading", "reachable", "ready")


@dataclass(frozen=True)
class Done:
    """What became of a step. `row` is the instance now; `problem` what went wrong with it, for whoever looks."""

    row: InstanceRow
    problem: str | None = None


class Steps:
    """What is needed to carry steps out."""

    def __init__(
        self, instances: Instances, provider: Provider, place: RentedPlace, now: Clock, epoch: int | None,
        drain: Callable[[InstanceRow, str], None], fail: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self._instances = instances
        self._provider = provider
        self._place = place
        self._now = now
        self._epoch = epoch
        self._drain = drain
        self._fail = fail

    def observe(self, row: InstanceRow, seen: Seen | None) -> InstanceRow:
        """Write down what was seen of an instance, and in which state it is charged for since then."""
        now = self._now()
        values = dict(lifecycle.observed(row, seen, now))
        if seen is not None and seen.phase != "absent" and (row.live or values):
            self._unseen(row, now)
        if seen is not None and seen.there and row.account is None:
            values["account"] = self._provider.account()
        after = self._change(row, values) if values else row
        if after is None:
            return self._instances.get(row.id) or row
        if values:
            rented_marks.after(self._instances, row, after, now)
        if seen is not None and seen.there and after.live:
            self._instances.put_interval(after, cost.state_of(seen.phase), now, **_traffic(after))
        return after

    def _unseen(self, row: InstanceRow, now: float) -> None:
        """In which state it is charged for while nobody looked is not known."""
        heard = row.ended_at or row.seen_at or row.asked_at
        if heard is None or row.asked_at is None or (row.live and row.seen_at is not None and now - heard <= GAP_S):
            return
        known = self._instances.intervals(row.id)
        if not known:
            self._instances.put_interval(row, "unknown", row.asked_at, **_traffic(row))
        elif not row.live or (now - heard > GAP_S and cost.may_be_more(known[-1].state)):
            self._instances.put_interval(row, "unknown", heard, **_traffic(row))

    def hold(self, row: InstanceRow, use: Use, holder: str | None, job: JobRow | None) -> InstanceRow:
        """Write down for which job it is held (`holder`, and its row), for whom it is paid, and since when it has none.

        While nobody has it, whoever had it last pays.
        """
        values = dict(changes.looked(row, use, self._now()))
        # One that is there for results is held for their job.
        if row.phase in _HELD and row.problem is None and row.wish != lifecycle.FETCH:
            whose = {"project": project_of(job), "submitted_by": job.submitted_by} if job is not None else {}
            new = {"job": holder, **whose}
            values |= {name: value for name, value in new.items() if getattr(row, name) != value}
            if holder not in (None, row.job) and row.phase == "ready" and not use.busy:
                values["idle_since"] = self._now()  # from now on it waits for this one
        return (self._change(row, values) or row) if values else row

    def carry(self, row: InstanceRow, step: Step, pool: Pool | None) -> Done:
        """Carry out a step. What the provider refuses is told of in what comes back. Raises StokerError."""
        steps: Mapping[str, Callable[[InstanceRow, Step, Pool | None], Done]] = {
            "create": self._create, "probe": self._probe, "provision": self._provision, "pull": self._pull,
            "stop": self._stop, "start": self._start, "rebid": self._rebid, "destroy": self._destroy,
            "confirm": self._confirm,
        }  # fmt: skip
        try:
            return steps[step.do](row, step, pool) if step.do in steps else Done(row)
        except ProviderError as problem:
            return Done(self._instances.get(row.id) or row, f"{row.node or row.label}: {step.do}: {problem.message}")

    def show(self, row: InstanceRow) -> Seen | None:
        """What the provider says of one instance when it is asked for it by its number. Raises ProviderError."""
        return None if row.provider_id is None else look_at(self._provider, row.provider_id, self._now)

    def let_in(self, row: InstanceRow) -> str | None:
        """Have a machine that is a node let this controller in, too, where another one began it. Why it does not."""
        if row.phase not in rented_hosts.NODE_PHASES or row.provider_id is None or row.problem is not None:
            return None
        why = rented_keys.attach(self._place, self._provider, row.provider_id)
        return None if why is None else f"{row.node}: it was not told this controller's key: {why}"

    def end_twins(self, row: InstanceRow, seen: Seen) -> str | None:
        """Destroy others with the label of this one: no row will ever stand for them."""
        for number in seen.twins:
            try:
                self._provider.destroy(number)
            except ProviderError as problem:
                return f"instance {number} is billed, with the label of {row.provider_id}: {problem.message}"
        return None

    def _create(self, row: InstanceRow, _step: Step, pool: Pool | None) -> Done:
        if pool is None:
            return Done(row)
        # All that can fail here does so before it is written down that it may be there.
        start = onstart(pool, row.lease_s, self._provider.url)
        asked = self._change(row, {**changes.asking(self._now()), "account": self._provider.account()})
        if asked is None:
            return Done(row)  # another one asks for it
        try:
            number = self._provider.create(
                int(row.offer["id"]), pool.image, row.disk_gb, row.label, price=row.price, env=dict(pool.env) or None,
                onstart=start, image_login=_login(pool),
            )  # fmt: skip
        except ProviderError as problem:
            if not problem.refused and problem.instance is None:
                return Done(asked, problem.message)  # it may be there: its label tells
            values = dict(changes.refused(asked, problem.message, self._now(), problem.instance))
            if problem.kind == "taken" and problem.instance is None:
                values["problem"] = None  # somebody was faster: there are others
            return Done(self._change(asked, values) or asked, f"pool {row.pool}: {problem.message}")
        made = self._change(asked, changes.created(number))
        if made is None:
            known = self._instances.get(row.id)
            if known is None or known.provider_id != number:
                # It took so long that the intent was taken for failed: no row will ever stand for it.
                self._provider.destroy(number)
            return Done(known or asked)
        self._instances.put_interval(made, "loading", made.asked_at or self._now())
        return Done(made)

    def _probe(self, row: InstanceRow, _step: Step, _pool: Pool | None) -> Done:
        """Log in. A machine that was reached before has to show the same key."""
        if row.provider_id is None or row.host is None or row.port is None:
            return Done(row)
        refused = rented_keys.attach(self._place, self._provider, row.provider_id)
        if row.host_key is None:
            contact = rented_ssh.first_contact(self._place, row.host, row.port)
            shown, problem = contact.host_key, contact.problem
        else:
            ran = rented_ssh.ask(self._place, row.host, row.port, row.host_key, "true", rented_ssh.CONNECT_S)
            shown, problem = (row.host_key if ran.problem is None else None), ran.problem
        if shown is None and "Permission denied" in (problem or ""):
            rented_keys.forget(self._place, row.provider_id)
        if shown is None:
            evidence = f"running, and its ssh does not answer: {problem}" + (f"; {refused}" if refused else "")
            return Done(self._change(row, {"evidence": evidence}) or row)
        return Done(self._change(row, changes.probed(shown)) or row)

    def _provision(self, row: InstanceRow, _step: Step, pool: Pool | None) -> Done:
        if pool is None or row.host is None or row.port is None or row.host_key is None:
            return Done(row)
        found = rented_setup.ask(self._place, row.host, row.port, row.host_key, pool.setup, pool.env)
        if found.state == "failed":
            failed = self._change(row, {"problem": "setup", "evidence": found.told}) or row
            if row.job is not None:
                # It would fail on the next machine, too, and cost again.
                self._fail(row.job, f"vast-{row.provider_id} could not be made ready: {found.told}")
            return self._destroy(failed, Step("destroy", found.told), pool)
        if found.state != "done":
            evidence = f"being set up: {found.told}" if found.told else "being set up"
            return Done(row if row.evidence == evidence else self._change(row, {"evidence": evidence}) or row)
        ready = self._change(row, changes.provisioned(row, f"vast-{row.provider_id}", self._now()))
        if ready is not None:
            rented_marks.ready(self._instances, row, self._now())
        return Done(ready or row)

    def _pull(self, row: InstanceRow, step: Step, _pool: Pool | None) -> Done:
        """No job begins there any more; what runs there is to end. Fetching is what rounds do."""
        values = changes.pulled(row)
        after = (self._change(row, values) or row) if values else row
        if step.drain:
            self._drain(after, step.why)
        return Done(after)

    def _stop(self, row: InstanceRow, step: Step, _pool: Pool | None) -> Done:
        return self._told(
            row, changes.stopping(row, step), step, lambda number: self._provider.set_state(number, "stopped")
        )

    def _start(self, row: InstanceRow, step: Step, _pool: Pool | None) -> Done:
        starting = changes.starting(row, step, self._now())
        try:
            return self._told(row, starting, step, lambda number: self._provider.set_state(number, "running"))
        except ProviderError as problem:
            now, after = self._now(), self._instances.get(row.id)
            if after is not None and after.phase == "loading":
                self._change(after, changes.not_started(row, problem.message, now))
            raise

    def _rebid(self, row: InstanceRow, step: Step, _pool: Pool | None) -> Done:
        price = step.price
        if price is None:
            return Done(row)
        return self._told(row, {"price": price, "gpu_rate": price}, step, lambda n: self._provider.set_bid(n, price))

    def _destroy(self, row: InstanceRow, step: Step, pool: Pool | None) -> Done:
        rented_marks.given_up(self._instances, row, pool, self._now())
        values = {
            **changes.destroying(row, self._now(), step.problem),
            **({} if row.problem else {"evidence": step.why}),
        }
        return self._told(row, values, step, self._provider.destroy)

    def _confirm(self, row: InstanceRow, _step: Step, _pool: Pool | None) -> Done:
        return Done(self.observe(row, self.show(row)))

    def _told(self, row: InstanceRow, values: Mapping[str, Any], step: Step, ask: Callable[[int], None]) -> Done:
        """Write down what is to be, then ask the provider for it. It is so when a look shows it."""
        after = self._change(row, values, {"why": step.why})
        if after is None or not after.live or after.provider_id is None:
            return Done(after or row)
        ask(after.provider_id)
        return Done(after)

    def _change(
        self, row: InstanceRow, values: Mapping[str, Any], told: Mapping[str, Any] | None = None
    ) -> InstanceRow | None:
        epoch = {"epoch": self._epoch} if self._epoch is not None and row.epoch != self._epoch else {}
        return self._instances.change(row, {**values, **epoch}, told, now=self._now())


def _login(pool: Pool) -> str | None:
    """What the provider is told to fetch the image with: from the environment of whoever rents, stored nowhere."""
    login = pool.image_login
    if login is None:
        return None
    user, password = (os.environ.get(name) for name in (login.user_env, login.password_env))
    missing = [name for name, value in ((login.user_env, user), (login.password_env, password)) if not value]
    if missing:
        raise ProviderError(_Unset(f"{missing[0]} is not set here, and the image is fetched with it"))
    return f"-u {user} -p {password} {login.server}"


class _Unset(Exception):
    """A request that never left."""

    kind, instance, sent, next = "refused", None, False, None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _traffic(row: InstanceRow) -> dict[str, float | None]:
    """What traffic costs there, in dollars per GB."""
    return {"up_rate": amount(row.offer.get("inet_up_cost")), "down_rate": amount(row.offer.get("inet_down_cost"))}
