# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's state: offers, machines and instances, and what becomes of them as time goes by."""

from __future__ import annotations

import heapq
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .billing import Bill, Transfer
from .clock import Clock
from .faults import Faults
from .instances import Instance
from .machines import Machine
from .offers import disk_rate, offer

DELETED_AFTER_END_S = 48 * 3600.0
STARTED_PORTS = 41000


@dataclass
class Boot:
    """When, in seconds after the order, an instance shows these states. A restart skips ``created``."""

    created: float = 2.0
    loading: float = 5.0
    running: float = 30.0


class Provider:
    """All of it. Whoever calls holds the lock and has called ``settle``: ``now`` stands still meanwhile."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock, self.faults = clock, faults
        self.now = clock.now()
        self.boot = Boot()
        self.account = 77
        self.offers: dict[int, dict[str, Any]] = {}
        self.machines: dict[int, Machine | None] = {}
        self.market: dict[int, Decimal] = {}
        self.instances: dict[int, Instance] = {}
        self.ended: dict[int, Instance] = {}
        self.keys: dict[int, str] = {}
        self.rises: dict[int, dict[str, Any]] = {}
        self.risen: dict[int, Decimal] = {}
        self.granted = Decimal(100)
        self.relist = True
        self.stopped_says = "stopped"
        self._numbers = itertools.count(101)
        self._ports = itertools.count(STARTED_PORTS)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._orders = itertools.count()

    # Time

    def settle(self) -> None:
        """Have everything happen that is due by now, each at its own time."""
        until = self.clock.now()
        while (due := self._next()) is not None and due[0] <= until:
            self.now = max(self.now, due[0])
            due[1]()
            self._follow()
        self.now = max(self.now, until)
        self._follow()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Have this happen so many seconds from now."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._orders), action))

    def _next(self) -> tuple[float, Callable[[], None]] | None:
        """What comes next: what is planned, or the end of the money."""
        out_at = self._out_of_credit_at()
        if self._agenda and (out_at is None or self._agenda[0][0] <= out_at):
            return self._agenda[0][0], lambda: heapq.heappop(self._agenda)[2]()
        return None if out_at is None else (out_at, self.stop_all)

    def _out_of_credit_at(self) -> float | None:
        if not any(one.current == "running" or one.intended == "running" for one in self.instances.values()):
            return None
        rates = sum((rate for one in self.instances.values() for rate in one.account.rates()), Decimal(0))
        left = self.credit()
        if left <= 0:
            return self.now
        return self.now + float(left / rates * 3600) if rates else None

    def _follow(self) -> None:
        """What follows from the state: bids that lost or won, GPUs that became free."""
        for one in list(self.instances.values()):
            wins = not one.is_bid or one.gpu_rate >= self.market[one.offer["machine_id"]]
            if one.is_bid and not wins and one.current == "running":
                one.outbid = True
                self.stop(one)
            elif one.outbid and wins and self.credit() > 0:
                one.outbid = False
                self.start(one)
            stuck = self.faults.peek("stuck-scheduling", one.id)
            if one.intended == "running" and one.current == "stopped" and wins and not stuck and one.end > self.now:
                self._begin(one, fresh=False)

    # Money

    def credit(self) -> Decimal:
        """Dollars left."""
        return self.granted - sum((self.bill(number).total for number in [*self.instances, *self.ended]), Decimal(0))

    def bill(self, number: int, since: float = 0.0) -> Bill:
        return self.known(number).account.bill(since, self.now)

    def known(self, number: int) -> Instance:
        """The instance, also one that is gone."""
        return self.instances.get(number) or self.ended[number]

    # Offers

    def offer(self, machine: int | None = None, **fields: Any) -> int:
        """Put a machine's GPUs on offer; the ask's number."""
        number = next(self._numbers)
        place = len(self.machines) + 1 if machine is None else machine
        self.machines.setdefault(place, None)
        self.offers[number] = offer(number, place, self.now, **fields)
        self.market.setdefault(place, Decimal(str(self.offers[number]["min_bid"])))
        return number

    def listed(self) -> list[dict[str, Any]]:
        """What is on offer now, at the prices of now."""
        return [{**row, "min_bid": float(self.market[row["machine_id"]])} for row in self.offers.values()]

    # Instances

    def create(self, ask: int, body: dict[str, Any], *, stopped: bool = False) -> Instance:
        """Take the ask. ``stopped``: the instance is there, costs its disk, and never ran."""
        row = self.offers.pop(ask)
        price = body.get("price")
        rate = Decimal(str(row["dph_base"] if price is None else price))
        number = next(self._numbers)
        skew = self.faults.take("clock-skew")
        self.instances[number] = one = Instance(
            id=number, offer=row, machine=self.machines[row["machine_id"]], body=body, key=secrets.token_hex(32),
            created=self.now + (skew["seconds"] if skew else 0.0), is_bid=price is not None, gpu_rate=rate,
            disk_rate=disk_rate(row, body["disk"]), keys=dict(self.keys), label=body.get("label"),
        )  # fmt: skip
        one.charge(self.now)
        self.later(max(0.0, one.end - self.now), lambda: self._contract_ends(one))
        if stopped or body.get("target_state") == "stopped":
            self.stop(one)
        else:
            self._begin(one, fresh=True)
        return one

    def _begin(self, one: Instance, fresh: bool) -> None:
        """From the order to running, step by step."""
        one.boots += 1
        one.intended = one.following = "running"
        if fresh and one.machine is not None:
            one.machine.fresh()
        stuck = self.faults.take("stuck", one.id)
        steps = [("created", self.boot.created)] if fresh else []
        steps += [("loading", self.boot.loading), ("running", self.boot.running)]
        if not fresh:
            self._show(one, "loading", "running")
        for state, after in steps:
            if stuck and state not in reached(stuck["at"]):
                break
            self._plan(one, after, lambda state=state: self._reach(one, state))  # type: ignore[misc]

    def _plan(self, one: Instance, after: float, action: Callable[[], None]) -> None:
        """Have this happen to it, unless it was stopped, started or destroyed meanwhile."""
        boots = one.boots

        def happen() -> None:
            if one.id in self.instances and one.boots == boots:
                action()

        if after > 0:
            self.later(after, happen)
        else:
            happen()

    def _reach(self, one: Instance, state: str) -> None:
        if state != "running":
            self._show(one, state, "running" if state == "loading" else None)
            return
        one.running_since = self.now
        one.port = next(self._ports) if one.machine is None else self._up(one, one.machine)
        self._show(one, "running", "running")

    def _up(self, one: Instance, machine: Machine) -> int:
        """The instance's machine comes up; the port of its ssh."""
        one.port = machine.new_port()
        if one.boots > 1 and self.faults.take("host-key", one.id):
            machine.new_host_key()
        machine.authorize(one.keys.values())
        late = self.faults.take("sshd-late", one.id)
        if late:
            self._plan(one, late["seconds"], lambda: self._listen(one, machine))
        elif not self.faults.take("port-closed", one.id):
            one.port = machine.listen()
        if one.body.get("onstart"):
            machine.run(one.body["onstart"], one.environment())
        return one.port

    def _listen(self, one: Instance, machine: Machine) -> None:
        one.port = machine.listen()

    def stop(self, one: Instance) -> None:
        """All that runs on it ends; the disk stays, and is charged for."""
        one.boots += 1
        if one.machine is not None:
            one.machine.halt()
        one.intended = one.following = "stopped"
        self._show(one, self.stopped_says, "stopped")

    def start(self, one: Instance) -> None:
        """Ask for its GPUs; they come with the next look at what follows."""
        if one.intended != "running":
            one.intended = one.following = "running"

    def stop_all(self) -> None:
        """The credit is used up."""
        for one in self.instances.values():
            if one.intended == "running" or one.current == "running":
                self.stop(one)

    def destroy(self, one: Instance) -> None:
        lingers = self.faults.take("destroy-lingers", one.id)
        if lingers:
            one.looks_left = lingers["looks"]
        else:
            self.remove(one)

    def remove(self, one: Instance) -> None:
        """It is gone; its machine is on offer again, under a new number."""
        one.boots += 1
        if one.machine is not None:
            one.machine.halt()
            one.machine.authorize([])
        one.account.charge("gpu", None, self.now)
        one.account.charge("disk", None, self.now)
        self.ended[one.id] = self.instances.pop(one.id)
        if self.relist and one.offer["id"] is not None and one.end > self.now:
            row = {name: value for name, value in one.offer.items() if name not in ("id", "ask_contract_id")}
            number = next(self._numbers)
            self.offers[number] = {"id": number, "ask_contract_id": number, **row}

    def looked_at(self) -> Iterator[Instance]:
        """The instances, as a list or a show finds them."""
        for one in list(self.instances.values()):
            if one.looks_left is not None:
                one.looks_left -= 1
                if one.looks_left < 0:
                    self.remove(one)
                    continue
            yield one

    def reboot(self, one: Instance, *, recycled: bool) -> None:
        """Stop and start in place; recycled, from the image: with an empty disk and another host key."""
        one.boots += 1
        if one.machine is not None:
            one.machine.halt()
            if recycled:
                one.machine.fresh()
        self._show(one, "loading" if recycled else "rebooting", "running")
        self._plan(one, self.boot.running, lambda: self._reach(one, "running"))

    def bid(self, one: Instance, price: Decimal | None) -> None:
        """Another price; None: the one that wins."""
        one.gpu_rate = self.market[one.offer["machine_id"]] if price is None else price
        one.charge(self.now)

    def _contract_ends(self, one: Instance) -> None:
        if one.id in self.instances and one.end <= self.now:
            self.stop(one)
            self.later(DELETED_AFTER_END_S, lambda: self.remove(one) if one.id in self.instances else None)

    def _show(self, one: Instance, actual: str | None, current: str | None = None, message: str | None = None) -> None:
        one.show(actual, current, message)
        one.charge(self.now)

    # What happens by itself

    def transfer(self, one: Instance, up_gb: float, down_gb: float) -> None:
        for kind, moved, price in (("bwu", up_gb, "inet_up_cost"), ("bwd", down_gb, "inet_down_cost")):
            if moved:
                amount = Transfer(kind, Decimal(str(moved)), Decimal(str(one.offer[price])), self.now)
                one.account.transfers.append(amount)

    def exit(self, one: Instance, message: str) -> None:
        """The container ends; its GPUs are still held."""
        one.boots += 1
        if one.machine is not None:
            one.machine.halt()
        self._show(one, "exited", "running", message)

    def fail(self, one: Instance, message: str) -> None:
        one.boots += 1
        self._show(one, "created", None, message)

    def offline(self, one: Instance) -> None:
        one.boots += 1
        if one.machine is not None:
            one.machine.deaf()
        self._show(one, "offline")

    def online(self, one: Instance) -> None:
        if one.machine is not None:
            one.port = one.machine.listen()
        self._show(one, "running")

    def end_contract(self, one: Instance) -> None:
        one.offer["end_date"] = self.now - 60
        self._contract_ends(one)

    def rise(self, one: Instance, number: int, rate: Decimal) -> None:
        """A price rise that waits for an answer: rates per second, null for what stays."""
        kept = ("disk_ram_costpersec", "bwu_cost", "bwd_cost", "platform_fee")
        self.risen[number] = rate
        self.rises[number] = {
            "pending_price_increase_id": number, "contract_id": one.id, "host_id": one.offer["host_id"],
            "old_gpu_costpersec": float(one.gpu_rate / 3600), "new_gpu_costpersec": float(rate / 3600),
            **{f"{age}_{name}": None for age in ("old", "new") for name in kept},
            "contract_end_date": one.end, "ask_end_date": one.end, "created_at": self.now,
        }  # fmt: skip


def reached(last: str) -> tuple[str, ...]:
    """The states that an instance comes to which goes no further than this one."""
    return {"null": (), "created": ("created",), "loading": ("created", "loading")}[last]
