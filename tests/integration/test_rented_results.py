# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results on a machine that exits before they were fetched: got all the same where its pool says so, else said lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.vast import Boot, Double, vast_double

from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.operations import results
from stoker.operations.rented_tending import tend
from stoker.operations.session import Session
from stoker.rented import changes
from stoker.store import JobRow
from stoker.store.instance_rows import InstanceRow

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, max_respawns: 0, time_to_live_s: 20000%s}
"""


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with vast_double(offers=[{}, {}, {}]) as double:
        double.boot = Boot(1, 2, 5)
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        yield double


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
    session = Session(store_url=f"sqlite:///{tmp_path}/store.db")
    yield session
    session.close()


def turn(session: Session, double: Double, seconds: float = 0.0) -> InstanceRow:
    """A turn, so much later; the first machine after it."""
    double.advance(seconds)
    tend(session, now=double.now)
    return session.store.instances.all(live=False)[0]


def up(session: Session, double: Double, row: InstanceRow) -> InstanceRow:
    """Written down as one whose setup is done."""
    values = {"host_key": "ssh-ed25519 AAAA", **changes.provisioned(row, f"vast-{row.provider_id}", double.now())}
    changed = session.store.instances.change(row, values, now=double.now())
    assert changed is not None
    return changed


def exited(session: Session, double: Double, more: str = "") -> tuple[str, InstanceRow]:
    """A machine that exits under a job whose results are to be fetched."""
    Path("stoker.yml").write_text(SETTINGS % more)
    wanted = results.wanted(Path("here").absolute(), None, (), asked=True)
    job = session.store.add_job("train", {"argv": ["true"]}, "pool:cheap", results=wanted).id
    turn(session, double)
    machine = up(session, double, turn(session, double, 30))
    begin_round(
        session.store, [NodeInfo(str(machine.node), (), {"stoker_pool": "cheap"})], RoundRequest(), double.now()
    )
    double.advance(5)
    double.exit(int(machine.provider_id or 0), "out of memory")
    return job, machine


def of(session: Session, job: str) -> JobRow:
    row = session.store.job(job)
    assert row is not None
    return row


def told(session: Session) -> list[str]:
    return [str(event.data.get("reason")) for event in session.store.events(types=("results.lost",))]


@pytest.mark.accepts("V25")
def test_what_goes_with_its_machine_is_said_to_be_lost(session: Session, double: Double) -> None:
    job, machine = exited(session, double)
    while turn(session, double, 5).live:
        pass
    row = of(session, job)
    why = (
        f"lost: {machine.node} is gone (exited), and they were on it alone; "
        "with pools.cheap.fetch_after_exit: true it would have been started once more for them"
    )
    assert (row.state, row.node, (row.results or {})["problem"], told(session)) == ("lost", machine.node, why, [why])
    # Nobody tries again, nobody is told a command that cannot help, and that is said once.
    shown = results.results_of(row, session.store.node(str(row.node)))
    assert shown is not None
    assert (shown.command, session.store.due.jobs()) == (None, [])
    turn(session, double, 60)
    assert (told(session), double.instances) == ([why], {})


@pytest.mark.accepts("V25")
def test_it_is_started_once_more_for_them_and_takes_no_other_job(session: Session, double: Double) -> None:
    job, machine = exited(session, double, ", fetch_after_exit: true")
    assert turn(session, double, 5).phase == "stopping"
    assert turn(session, double, 5).phase == "loading"
    # It is for the job whose results lie there, and paid by it; another job gets another machine.
    other = session.store.add_job("other", {"argv": ["true"]}, "pool:cheap").id
    row = turn(session, double, 5)
    assert (row.phase, row.wish, row.job) == ("loading", "fetch", job)
    assert [each.job for each in session.store.instances.all()] == [job, other]
    session.store.request_stop(other)
    up(session, double, turn(session, double, 30))
    row = turn(session, double, 5)
    assert (row.phase, row.problem, row.job) == ("pulling", None, job)
    claimed = session.store.due.claim(job)
    assert claimed is not None
    session.store.due.put(claimed, {**(claimed.results or {}), "done_at": double.now()}, due=False)
    while turn(session, double, 5).live:
        pass
    assert (told(session), double.instances) == ([], {})
    assert machine.provider_id in double.ended


def test_once_is_not_twice(session: Session, double: Double) -> None:
    job, machine = exited(session, double, ", fetch_after_exit: true")
    for _ in range(4):
        turn(session, double, 5)
    up(session, double, turn(session, double, 30))
    double.exit(int(machine.provider_id or 0), "out of memory")
    turn(session, double, 5)
    while turn(session, double, 5).live:
        pass
    assert told(session) == [f"lost: {machine.node} is gone (exited), and they were on it alone"]
    assert of(session, job).state == "lost"


def test_at_its_limit_it_is_not_started_again(session: Session, double: Double) -> None:
    _, machine = exited(session, double, ", fetch_after_exit: true")
    double.advance(20000)
    while turn(session, double, 5).live:
        pass
    assert [one.body for one in double.requests if one.endpoint == "change"] == []
    assert told(session) == [f"lost: {machine.node} is gone (exited), and they were on it alone"]


def test_a_stopped_machine_is_started_once_for_results_that_cannot_be_fetched(session: Session, double: Double) -> None:
    job, machine = exited(session, double, ", fetch_after_exit: true, after: stop, stop_keep_s: 15000")
    states = list[str]()
    for _ in range(200):
        row = turn(session, double, 60)
        if row.phase == "loading" and double.instances[int(machine.provider_id or 0)].actual == "running":
            up(session, double, row)
        states += [row.phase] if states[-1:] != [row.phase] else []
    # Half an hour is tried, then its disk is kept for a person, and that is told until it goes.
    assert states == ["stopping", "loading", "pulling", "stopping", "stopped"]
    assert [alert.text for alert in session.store.samples.alerts()] == [f"results on {machine.node} were not fetched"]
    assert of(session, job).results_due
