# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's faults, each over the whole life of a machine: the job gets one all the same, and nothing is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from contracts.vast import Boot, Double, vast_double
from testbed import PlainNode
from testbed.processes import listening

from ansible_collections.stoker.fleet.plugins.module_utils.vast.client import Vast
from stoker.operations.rented_provider import Provider
from stoker.operations.rented_tending import tend
from stoker.operations.session import Session
from stoker.rented import cost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root"),
]
SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, idle_s: 20, boot_timeout_s: 60, max_respawns: 4%s}
"""
# What is asked of the provider for a machine's whole life.
USED = {"search", "create", "list", "show", "user", "attach", "change", "bid", "destroy"}
TURN_S = 10.0
# Enough for what waits longest: a host that is offline is given up after five minutes.
TURNS = 120
When = Callable[[Double, int], Any]


@dataclass
class Life:
    """`before` is done before anything is asked for, `ready` when the first machine is, `mend` some turns later."""

    before: Callable[[Double], Any] = lambda double: None
    ready: When = lambda double, number: None
    mend: Callable[[Double], Any] = lambda double: None
    # How many machines it takes.
    machines: int = 1
    more: str = ""
    # Somebody takes the provider's notices, and has a turn made at each.
    notices: bool = False


def fault(name: str, times: int | None = 1, **options: Any) -> Callable[[Double], Any]:
    return lambda double: double.fault(name, times=times, **options)


def mended(name: str) -> Callable[[Double], Any]:
    return lambda double: double.mend(name)


def then(*steps: Callable[[Double], Any]) -> Callable[[Double], Any]:
    return lambda double: [step(double) for step in steps]


def credit(dollars: float) -> Callable[[Double], Any]:
    return lambda double: double.credit(dollars)


LIVES = {
    "1 create answered with 502": Life(fault("create-reply-lost")),
    "2 create cut": Life(fault("create-cut")),
    "3 create refused, and made": Life(fault("create-error"), machines=2),
    "4 asks gone": Life(fault("asks-gone", 3)),
    **{f"5 429 {form} of {endpoint}": Life(fault("too-frequent", 1, endpoint=endpoint, form=form))
       for endpoint, form in (("create", "plain"), ("destroy", "retry-after"), ("search", "quota"))},
    **{f"6 stuck at {at}": Life(fault("stuck", at=at), machines=2) for at in ("null", "loading")},
    "7 port closed": Life(fault("port-closed"), machines=2),
    "7 sshd late": Life(fault("sshd-late", seconds=30)),
    "7 another host key": Life(
        then(fault("host-key"), fault("stuck-scheduling", None)), lambda double, _: double.credit(0),
        then(mended("stuck-scheduling"), credit(100)), machines=2,
    ),
    **{f"8 ports {how}": Life(fault("no-ports", None, how=how), mend=mended("no-ports"))
       for how in ("null", "other")},
    "8 blank address": Life(fault("blank-address", None)),
    "9 null fields": Life(fault("null-fields", None)),
    "10 pages": Life(fault("pages", None, size=1)),
    "10 a page is lost": Life(then(fault("pages", None, size=1), fault("page-lost"))),
    "11 the old list answers, too": Life(fault("old-list", None)),
    **{f"12 list is {body}": Life(ready=lambda double, _, body=body: double.fault("list-nonsense", times=3, body=body))
       for body in ("empty", "refused")},
    "13 outbid, and bid more": Life(ready=lambda double, number: double.outbid(number), more=", kind: bid"),
    "13 outbid for good": Life(
        ready=lambda double, number: double.market(number, 0.9), more=", kind: bid, bid_wait_s: 30", machines=2
    ),
    "14 its GPUs are somebody else's": Life(
        fault("stuck-scheduling", None), lambda double, _: double.credit(0), credit(100), machines=2
    ),
    "15 offline, and back": Life(
        ready=lambda double, number: double.offline(number), mend=lambda double: double.online(min(double.instances))
    ),
    "15 offline for good": Life(ready=lambda double, number: double.offline(number), machines=2),
    "16 exited": Life(ready=lambda double, number: double.exit(number, "out of memory"), machines=2),
    "17 credit used up": Life(ready=lambda double, _: double.credit(0), mend=credit(100)),
    "18 contract over": Life(ready=lambda double, number: double.end_contract(number), machines=2),
    "19 destroyed, and still there": Life(fault("destroy-lingers", looks=6)),
    "19 destroy says 404": Life(fault("destroy-404")),
    "19 destroy says no such instance": Life(fault("destroy-gone")),
    "21 a label that looks like ours": Life(lambda double: double.foreign("stoker/ffffffff/" + "0" * 12)),
    "22 price rise": Life(ready=lambda double, number: double.price_rise(number, 0.4)),
    "23 clock skew": Life(fault("clock-skew")),
    "24 no log ever comes": Life(then(fault("logs-never", None), fault("port-closed")), machines=2),
    "25 notices come late, twice and from somebody else": Life(
        ready=lambda double, number: notify(double), machines=1, notices=True
    ),
    "25 no notice comes": Life(ready=lambda double, number: double.exit(number), machines=2),
    "image cannot be pulled": Life(
        fault("stuck", at="created"), machines=2,
        mend=lambda double: double.fail(min(double.instances), "manifest for x not found: unauthorized"),
    ),
}  # fmt: skip


# All that happens to a machine, as the provider would say it.
NOTICES = ("client:outbid", "client:instance_stopped", "client:instance_started", "client:low_credit")


def notify(double: Double) -> None:
    """Notices of what never was: signed and old, twice, and forged."""
    hook = next(iter(double.server.account.webhooks.values()))
    for event in NOTICES:
        old = double.webhook(hook["id"], event, age_s=900, event_id=event)
        forged = double.webhook(hook["id"], event, forged=True)
        assert [one.post(hook["webhook_url"]) for one in (old, old, forged)] == [200, 200, 200]


@contextmanager
def taken(double: Double, at_each: Callable[[], Any]) -> Iterator[list[str]]:
    """Somebody's receiver of notices, which believes all of them; what came."""
    came = list[str]()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            came.append(self.headers["X-Vast-Event-Id"])
            at_each()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_said: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever)
    thread.start()
    # The provider takes addresses of https only; what is sent is the same.
    hook = {"id": 1, "webhook_url": f"http://127.0.0.1:{server.server_port}/", "webhook_secret": "0" * 64}
    double.server.account.webhooks[1] = hook
    try:
        yield came
    finally:
        double.server.account.webhooks.clear()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
    session = Session(store_url=f"sqlite:///{tmp_path}/store.db", config_file=tmp_path / "stoker.yml")
    yield session
    session.close()


@pytest.mark.accepts("B11")
@pytest.mark.parametrize("name", LIVES)
def test_nothing_is_left_and_nothing_is_rented_twice(
    name: str, session: Session, nodes: Callable[..., list[PlainNode]], tmp_path: Path
) -> None:
    life = LIVES[name]
    (tmp_path / "stoker.yml").write_text(SETTINGS % life.more)
    with vast_double(machines=nodes(2)) as double:
        double.boot = Boot(1, 2, 5)
        provider = Provider(Vast(double.key, double.url, sleep=double.advance))
        life.before(double)
        strangers, open_before = set(double.instances), listening(os.getpid())
        assert open_before, "the double itself listens"
        if life.notices:
            with taken(double, lambda: tend(session, now=double.now, asked=provider)) as came:
                live(session, double, provider, life)
            assert len(came) == 3 * len(NOTICES)
        else:
            live(session, double, provider, life)
        # What it does not use can do it no harm: the old list, the provider's logs, its notices.
        assert {one.endpoint for one in double.requests} <= USED, (
            "docs/rented.md and contracts/vast/proofs.py tell of it"
        )
        assert not [one for one in double.requests if (one.method, one.path) == ("GET", "/api/v0/instances/")]
        assert (double.server.account.webhooks, listening(os.getpid()) - open_before) == ({}, set())
        assert (set(double.instances), len(double.ended)) == (strangers, life.machines)
        rows = session.store.instances.all(live=False)
        assert [row.phase for row in rows if row.provider_id is not None] == ["gone"] * life.machines
        own = [row.provider_id for row in rows if row.provider_id is not None]
        spent = cost.of(session.store.instances.intervals(), double.now()).total
        # It is looked at every ten seconds; what changed in between is known that much later.
        assert abs(spent - sum(double.billed(number).total for number in own)) < 0.01
        assert session.store.instances.reservations() == []


def live(session: Session, double: Double, provider: Provider, life: Life) -> None:
    """Turns, until the job had a machine after the fault, was stopped, and all machines are gone."""
    job = session.store.add_job("train", {"argv": ["true"]}, "pool:cheap").id
    strangers, acted, mended_at, told = set(double.instances), None, 0, list[str]()
    for turn in range(TURNS):
        tended = tend(session, now=double.now, asked=provider)
        rows = session.store.instances.all(live=False)
        told.append(f"{[(row.phase, row.problem, row.evidence) for row in rows]} {tended.problems} {tended.steps}")
        assert len(set(double.instances) - strangers) <= 1, told
        ready = [row for row in rows if row.phase == "ready" and row.problem is None]
        if ready and acted is None:
            acted = turn
            life.ready(double, int(ready[0].provider_id or 0))
        elif turn == (3 if acted is None else acted + 4) and not mended_at:
            mended_at = turn
            life.mend(double)
        elif ready and acted is not None and turn > acted + 8:
            session.store.request_stop(job)
        over = session.store.job(job)
        if over is not None and over.finished and rows and not any(row.live for row in rows):
            tend(session, now=double.now, asked=provider)
            return
        double.advance(TURN_S)
    raise AssertionError("\n".join(told[-6:]))
