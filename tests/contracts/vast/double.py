# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double as tests hold it: the server, its time, and a hand on what the provider does by itself."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from testbed import PlainNode

from .billing import Bill, Interval
from .clock import Clock
from .faults import Fault, Faults
from .instances import Instance
from .machines import Machine
from .provider import Boot, Provider
from .server import Request, Server
from .webhooks import Delivery, deliver

TICK_S = 0.1


class Double:
    """vast.ai on ``url``, for whoever has ``key``. Its methods act as the provider or the market would."""

    def __init__(self, machines: Sequence[PlainNode], speed: float, paced: bool, start: float | None) -> None:
        self.clock = Clock(speed, start)
        self._faults = Faults()
        self.provider = Provider(self.clock, self._faults)
        self.server = Server(self.provider, paced=paced)
        self._rises = itertools.count(7001)
        self._closing = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        for number, node in enumerate(machines, 1):
            self.provider.machines[number] = Machine(node)
            self.offer(number)
        if speed:
            self._ticking.start()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def key(self) -> str:
        return self.server.key

    @property
    def environment(self) -> dict[str, str]:
        """What aims a client at the double and at nothing else."""
        return {"VAST_URL": self.url, "VAST_API_KEY": self.key, "VASTAI_NO_UPDATE_CHECK": "1"}

    @property
    def boot(self) -> Boot:
        """How long instances take to come up; can be set."""
        return self.provider.boot

    @boot.setter
    def boot(self, boot: Boot) -> None:
        self.provider.boot = boot

    @property
    def requests(self) -> list[Request]:
        """Every call so far."""
        return list(self.server.requests)

    @property
    def offers(self) -> list[dict[str, Any]]:
        with self._now():
            return self.provider.listed()

    @property
    def instances(self) -> dict[int, Instance]:
        """Those that the provider has, by number."""
        with self._now():
            return dict(self.provider.instances)

    @property
    def ended(self) -> dict[int, Instance]:
        """Those that are gone."""
        with self._now():
            return dict(self.provider.ended)

    # Time

    def now(self) -> float:
        """The provider's time, seconds since the epoch."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let so much time go by, with all that happens in it. Also fit to be a client's ``sleep``."""
        with self.server.lock:
            self.clock.advance(seconds)
            self.provider.settle()

    # Money

    def billed(self, number: int | None = None, since: float = 0.0) -> Bill:
        """What one instance, or all of them, cost so far; also those that are gone."""
        with self._now() as provider:
            numbers = [*provider.ended, *provider.instances] if number is None else [number]
            bills = [provider.bill(one, since) for one in numbers]
        zero = Decimal(0)
        return Bill(*(sum((getattr(bill, part) for bill in bills), zero) for part in ("gpu", "disk", "transfer")))

    def intervals(self, number: int) -> list[Interval]:
        """When what was charged at which rate."""
        with self._now() as provider:
            return list(provider.known(number).account.intervals)

    def transfer(self, number: int, up_gb: float = 0.0, down_gb: float = 0.0) -> None:
        """Have so much traffic charged."""
        with self._now() as provider:
            provider.transfer(provider.known(number), up_gb, down_gb)

    def credit(self, dollars: float) -> None:
        """Have so much left; with none all instances stop."""
        with self._now() as provider:
            provider.granted += Decimal(str(dollars)) - provider.credit()
            provider.settle()

    # What the provider and the market do

    def offer(self, machine: int | None = None, **fields: Any) -> int:
        """Put an offer up; the ask's number. Without a machine of the double's: a new one, which has no sshd."""
        with self._now() as provider:
            return provider.offer(machine, **fields)

    def fault(self, name: str, instance: int | None = None, times: int | None = None, **options: Any) -> Fault:
        """Switch a fault on (``faults.CATALOGUE``), for an instance or for all, so many times or until ``mend``."""
        with self._now():
            return self._faults.add(name, instance, times, **options)

    def mend(self, name: str) -> None:
        """Switch it off, and have happen what it held back."""
        with self._now() as provider:
            self._faults.remove(name)
            provider.settle()

    def market(self, number: int, min_bid: float) -> None:
        """Another lowest price for this instance's machine: who bids less loses it, who bids enough has it back."""
        with self._now() as provider:
            provider.market[provider.known(number).offer["machine_id"]] = Decimal(str(min_bid))
            provider.settle()

    def outbid(self, number: int) -> None:
        """Somebody bids more."""
        self.market(number, float(self.instances[number].gpu_rate) + 0.01)

    def exit(self, number: int, message: str = "") -> None:
        """The container ends by itself."""
        with self._now() as provider:
            provider.exit(provider.instances[number], message)

    def fail(self, number: int, message: str) -> None:
        """The container never comes up: created, with what the host says."""
        with self._now() as provider:
            provider.fail(provider.instances[number], message)

    def offline(self, number: int) -> None:
        """The host is lost from sight; what runs there runs on."""
        with self._now() as provider:
            provider.offline(provider.instances[number])

    def online(self, number: int) -> None:
        """It is back."""
        with self._now() as provider:
            provider.online(provider.instances[number])

    def end_contract(self, number: int) -> None:
        """Its end date lies a minute back: it is stopped, and deleted two days later."""
        with self._now() as provider:
            provider.end_contract(provider.instances[number])

    def foreign(self, label: str | None = None, **body: Any) -> int:
        """An instance that another tool of the same account has made; its number."""
        ask = self.offer()
        with self._now() as provider:
            given = {"client_id": "me", "image": "other/tool:1", "disk": 10.0, "label": label, **body}
            return provider.create(ask, given).id

    def price_rise(self, number: int, gpu_rate: float) -> int:
        """The host asks for more, in dollars per hour; the number of what is pending."""
        with self._now() as provider:
            pending = next(self._rises)
            provider.rise(provider.instances[number], pending, Decimal(str(gpu_rate)))
            return pending

    def webhook(self, number: int, event: str, **options: Any) -> Delivery:
        """A notice as it goes out to a webhook: see ``webhooks.deliver``."""
        with self._now():
            return deliver(self.server.account.webhooks[number], event, self.provider.now, **options)

    # Its own

    @contextmanager
    def _now(self) -> Iterator[Provider]:
        with self.server.lock:
            self.provider.settle()
            yield self.provider

    def _tick(self) -> None:
        """What is due happens also when nobody asks."""
        while not self._closing.wait(TICK_S):
            try:
                with self.server.lock:
                    self.provider.settle()
            except Exception as problem:  # noqa: BLE001  shown at the end
                self.server.problem = problem
                return

    def close(self) -> None:
        """End the server and every process of its machines. Raises what went wrong behind the scenes."""
        self._closing.set()
        if self._ticking.is_alive():
            self._ticking.join()
        self._faults.release()
        self.server.close()
        for machine in self.provider.machines.values():
            if machine is not None:
                machine.halt()
        if self.server.problem is not None:
            raise self.server.problem


@contextmanager
def vast_double(
    folder: Path | None = None,
    machines: Sequence[PlainNode] = (),
    *,
    offers: Sequence[Mapping[str, Any]] = (),
    speed: float = 0.0,
    paced: bool = False,
    start: float | None = None,
) -> Iterator[Double]:
    """A provider until the block ends, with an offer for each machine, and ``offers`` of machines without sshd.

    ``speed``: how fast its time runs beside the real one; 0: only ``advance`` moves it. ``paced``: the thresholds of
    the contract are enforced. ``start``: its time at first. ``folder``: keeps every call in vast-calls.jsonl, for who
    looks for what went wrong.
    """
    double = Double(machines, speed, paced, start)
    try:
        for fields in offers:
            double.offer(**fields)
        yield double
    finally:
        if folder is not None:
            calls = "".join(f"{json.dumps(asdict(call))}\n" for call in double.requests)
            (folder / "vast-calls.jsonl").write_text(calls)
        double.close()
