# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that is killed between any two steps: the next one goes on, nothing is rented twice, nothing is left."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contracts.vast import Boot, Double, vast_double
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from testbed import PlainNode

from stoker.operations import rented_provider
from stoker.operations.rented_provider import Provider
from stoker.operations.rented_tending import tend
from stoker.operations.session import Session
from stoker.rented import cost
from stoker.store import Store, Transaction, open_store
from stoker.store.engine import connect, store_url

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, idle_s: 10}
"""


class Killed(BaseException):
    """The controller was killed: nothing of it runs on."""


class Sword:
    """Falls at the n-th moment: before and after each call of the provider, and before and after each transaction."""

    def __init__(self, at: int | None) -> None:
        self._at = at
        self._moments = itertools.count()

    def moment(self) -> None:
        if next(self._moments) == self._at:
            raise Killed


class MortalStore(Store):
    """A store whose controller is killed around its transactions."""

    sword: Sword

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.sword.moment()
        with super().write() as transaction:
            yield transaction
        self.sword.moment()


class MortalProvider(Provider):
    """A provider whose caller is killed around its calls."""

    sword: Sword

    def _asked(self, ask: Callable[[], Any]) -> Any:
        self.sword.moment()
        answer = super()._asked(ask)
        self.sword.moment()
        return answer


@contextmanager
def controller(folder: Path, sword: Sword) -> Iterator[tuple[Session, Provider]]:
    """A controller from its start to its end."""
    session = Session(store_url=f"sqlite:///{folder}/store.db", config_file=folder / "stoker.yml")
    store = MortalStore(connect(store_url(f"sqlite:///{folder}/store.db")))
    store.sword = sword
    session.__dict__["store"] = store
    provider = MortalProvider(rented_provider.provider()._client)
    provider.sword = sword
    try:
        yield session, provider
    finally:
        session.close()


def whole_life(folder: Path, double: Double, at: int | None) -> int:
    """A machine from the intent to its end, with a controller that is killed at moment `at`; how many turns it took."""
    deadline, turns, sword = time.monotonic() + 180, 0, Sword(at)
    with open_store(f"sqlite:///{folder}/store.db") as store:
        job = store.add_job("train", {"argv": ["true"]}, "pool:cheap").id
    while time.monotonic() < deadline:
        try:
            with controller(folder, sword) as (session, provider):
                while time.monotonic() < deadline:
                    tend(session, now=double.now, asked=provider)
                    turns += 1
                    assert len(double.instances) <= 1
                    rows = session.store.instances.all(live=False)
                    if rows and rows[-1].phase == "ready":
                        session.store.request_stop(job)
                    if rows and not any(row.live for row in rows) and rows[-1].phase == "gone":
                        return turns
                    double.advance(5)
        except Killed:
            continue
    raise AssertionError(f"killed at {at}: not over after {turns} turns")


@pytest.mark.slow
@pytest.mark.accepts("V26")
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 120))
@example(at=None)
@example(at=76)  # gone, and what was put aside is not settled yet
def test_killed_between_any_two_steps_it_goes_on_without_renting_twice(
    nodes_for_all: list[PlainNode], monkeypatch: pytest.MonkeyPatch, at: int | None
) -> None:
    with tempfile.TemporaryDirectory() as made, vast_double(machines=nodes_for_all) as double:
        folder = Path(made)
        double.boot = Boot(1, 2, 5)
        for name, value in {**double.environment, "STOKER_STATE_HOME": f"{folder}/state"}.items():
            monkeypatch.setenv(name, value)
        (folder / "stoker.yml").write_text(SETTINGS)
        whole_life(folder, double, at)
        with controller(folder, Sword(None)) as (session, provider):
            tend(session, now=double.now, asked=provider)  # the dispatcher goes on
        assert (double.instances, len(double.ended)) == ({}, 1)
        with open_store(f"sqlite:///{folder}/store.db") as store:
            spent = cost.of(store.instances.intervals(), double.now()).total
            assert abs(spent - double.billed().total) < 0.01
            assert store.instances.reservations() == []


@pytest.fixture
def nodes_for_all(nodes: Callable[..., list[PlainNode]]) -> list[PlainNode]:
    return nodes(1)
