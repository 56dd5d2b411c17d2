# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rented machines that nobody looked at for a while, or used again for another job: against the contract's provider."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.vast import Boot, Double, vast_double

from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.operations import rented_losses, rented_renting, vast_changes
from stoker.operations.rented_needs import needs
from stoker.operations.rented_provider import provider
from stoker.operations.rented_tending import Tended, tend
from stoker.operations.rented_unpaid import unpaid
from stoker.operations.rented_values import of_job
from stoker.operations.session import Session
from stoker.rented import changes, cost, lifecycle
from stoker.store import JobRow, NodeRow
from stoker.store.instance_rows import InstanceRow

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, idle_s: 60%s}
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
    Path("stoker.yml").write_text(SETTINGS % "")
    session = Session(store_url=f"sqlite:///{tmp_path}/store.db")
    yield session
    session.close()


def job(session: Session, name: str = "train") -> JobRow:
    return session.store.add_job(name, {"argv": ["true"]}, "pool:cheap")


def turn(session: Session, double: Double, seconds: float = 0.0) -> Tended:
    double.advance(seconds)
    return tend(session, now=double.now)


def ready(session: Session, double: Double) -> InstanceRow:
    """A machine that is rented for the job that waits, and written down as one that takes jobs."""
    turn(session, double)
    turn(session, double, 30)
    [row] = session.store.instances.all()
    values = {"phase": "ready", "node": f"vast-{row.provider_id}", "ready_at": double.now(), "idle_since": double.now(),
              "host_key": "ssh-ed25519 AAAA"}  # fmt: skip
    changed = session.store.instances.change(row, values, now=double.now())
    assert changed is not None
    return changed


def alerts(session: Session) -> list[str]:
    return [alert.text for alert in session.store.samples.alerts()]


def test_a_create_that_is_carried_out_after_it_was_taken_for_failed_is_ended(session: Session, double: Double) -> None:
    waits = job(session)
    turn(session, double)
    [first] = session.store.instances.all()
    # Its create is on its way for so long that it is given up, and its job with it.
    late = double.provider.instances.pop(int(first.provider_id or 0))
    unheard = {"phase": "asked", "provider_id": None}
    assert session.store.instances.change(first, unheard, now=double.now()) is not None
    session.store.request_stop(waits.id)
    turn(session, double, 130)
    assert [row.phase for row in session.store.instances.all(live=False)] == ["failed"]
    double.provider.instances[late.id] = late
    turn(session, double, 60)
    turn(session, double, 60)
    assert double.instances == {}
    assert [(row.phase, row.provider_id) for row in session.store.instances.all(live=False)] == [("gone", late.id)]


def test_a_create_that_answers_after_it_was_taken_for_failed_is_ended(session: Session, double: Double) -> None:
    job(session)
    slow = double.fault("create-slow", times=1)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(turn, session, double)
        deadline = time.monotonic() + 150
        while not double.instances and time.monotonic() < deadline:
            time.sleep(0.05)
        [asked] = session.store.instances.all()
        over = {"phase": "failed", "ended_at": double.now() + 3600}
        assert session.store.instances.change(asked, over, now=double.now()) is not None
        slow.release()
        first.result(60)
    assert double.instances == {}


def test_one_with_a_label_of_this_store_and_no_row_is_an_alert_until_it_is_gone(
    session: Session, double: Double
) -> None:
    job(session)
    turn(session, double)
    own = session.store.instances.store_id()
    stray = double.foreign(f"stoker/{own}/{'0' * 12}")
    turn(session, double, 5)
    [told] = alerts(session)
    assert told.startswith(f"instance {stray} is billed: its label is of this store, which has no such intent")
    double.provider.instances.pop(stray)
    turn(session, double, 5)
    assert alerts(session) == []


def test_no_machine_is_kept_for_a_job_that_its_queue_does_not_let_start(session: Session, double: Double) -> None:
    session.store.queues.change("one", max_running=1)
    jobs = [session.store.add_job(name, {"argv": ["true"]}, "pool:cheap", queue="one") for name in ("first", "second")]
    machine = ready(session, double)
    assert (machine.job, len(session.store.instances.all())) == (jobs[0].id, 1)


def test_no_machine_is_rented_for_a_gang_that_has_lost_a_rank(session: Session, double: Double) -> None:
    session.store.add_job("both", {"argv": ["true"]}, "pool:cheap", wants={"ranks": 2}, ranks=2)
    rented_losses.fail(session.store, session.store.jobs()[0].id, "it is no good", double.now())
    assert [row.state for row in session.store.jobs()].count("queued") == 1
    turn(session, double)
    assert session.store.instances.all(live=False) == []


def test_a_machine_on_which_its_job_never_begins_is_ended_and_told_of(session: Session, double: Double) -> None:
    waits = job(session)
    machine = ready(session, double)
    assert turn(session, double, 110).steps[machine.id].do == "use"
    step = turn(session, double, 11).steps[machine.id]
    assert (step.do, step.why) == ("destroy", f"{waits.id} waits for it since 121 s, and was not started on it")
    [told] = alerts(session)
    assert told == f"{machine.node}: {step.why}"


@pytest.mark.parametrize("why", ["late", "unused"])
def test_a_job_that_begins_on_no_machine_waits_longer_for_each(session: Session, double: Double, why: str) -> None:
    Path("stoker.yml").write_text(SETTINGS % ", boot_timeout_s: 60, max_respawns: 9")
    waits = job(session)
    pauses, gone = list[float](), 0.0
    if why == "late":
        double.fault("stuck", at="loading")
    for times in (1, 2, 3):
        # It comes up and is never used, or never comes up.
        while len(rows := session.store.instances.all(live=False)) < times:
            told = turn(session, double, 1).pools or {}
        if pauses:
            assert -1 <= double.now() - gone - pauses[-1] < 3, "the next one came when it was said"
        if why == "unused":
            turn(session, double, 30)
            values = {"phase": "ready", "node": f"vast-{rows[-1].provider_id}", "ready_at": double.now(),
                      "idle_since": double.now(), "host_key": "ssh-ed25519 AAAA"}  # fmt: skip
            assert session.store.instances.change(session.store.instances.all()[-1], values, now=double.now())
        while session.store.instances.all():
            told = turn(session, double, 10).pools or {}
        [*_, last] = session.store.instances.all(live=False)
        assert (last.phase, last.problem, last.job) == ("gone", why, waits.id)
        gone = float(last.ended_at or 0)
        words = {"late": "it took no job within 60 s: actual loading", "unused": "was not started on it"}[why]
        assert told["cheap"].startswith(f"{waits.id} did not begin on {last.node or last.label}: "), told
        assert words in told["cheap"]
        [left] = re.findall(r"another one in (\d+) s$", told["cheap"])
        pauses.append(float(left) + double.now() - gone)
    # With up to a tenth more, and never on the same machine again.
    assert [15 <= pauses[0] <= 17, 30 <= pauses[1] <= 34] == [True, True], pauses
    assert len({row.machine_id for row in session.store.instances.all(live=False)}) == 3


def came_to_nothing(waits: JobRow, number: int, at: float) -> InstanceRow:
    """What is left of a machine of this number that never took the job it was rented for, and went at `at`."""
    name = f"{number:012x}"
    return InstanceRow(
        id=name, label=f"stoker/s/{name}", pool="cheap", job=waits.id, kind="on-demand", offer={},
        machine_id=number, price=None, gpu_rate=0.3, disk_rate=0.01, disk_gb=20.0, phase="gone", phase_since=at,
        created_at=at + number, expires_at=at, lease_s=600.0, provider_id=number + 1, problem="late",
        evidence="it is gone", ended_at=at, asked_at=at,
    )  # fmt: skip


@pytest.mark.parametrize("least", [1, 2])
def test_what_a_pool_always_holds_does_not_undo_the_pause_of_a_job(
    session: Session, double: Double, least: int
) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("max: 2", f"min: {least}, max: 2") % "")
    waits = job(session)
    [*bad, good] = sorted(each["machine_id"] for each in double.offers)
    for number in bad:
        assert session.store.instances.add(came_to_nothing(waits, number, double.now())) is None
    told = turn(session, double, 1).pools or {}
    # The job is one of those that the pool holds a machine for; what is rented beside that may become the job's.
    assert [(row.job, row.machine_id) for row in session.store.instances.all()] == [(None, good)] * (least - 1)
    if least == 1:
        assert told["cheap"].startswith(f"{waits.id} did not begin on "), told
        turn(session, double, 40)
        assert [(row.job, row.machine_id) for row in session.store.instances.all()] == [(waits.id, good)]


def test_a_job_that_begins_nowhere_is_given_up(session: Session, double: Double) -> None:
    waits = job(session)
    at = double.now() - 20_000
    for number in range(rented_renting.IN_VAIN):
        assert session.store.instances.add(came_to_nothing(waits, number, at)) is None
    turn(session, double)
    given_up = session.store.job(waits.id)
    assert given_up is not None
    assert (given_up.state, given_up.detail) == (
        "failed", "it did not begin on any of the last 10 machines; the last one: it is gone",
    )  # fmt: skip
    assert double.instances == {}


def test_a_machine_that_does_not_answer_is_for_no_job(session: Session, double: Double) -> None:
    waits = job(session)
    machine = ready(session, double)
    with session.store.write() as transaction:
        transaction.put_node(NodeRow(str(machine.node), {}, None, 1.0, "no route", 3, offline_since=1.0))
    turn(session, double, 121)
    turn(session, double, 61)
    [first, other] = session.store.instances.all(live=False)
    assert (first.phase in ("destroying", "gone"), other.phase, other.job) == (True, "loading", waits.id)


def of_project(session: Session, name: str, folder: str, by: str) -> JobRow:
    Path(folder).mkdir()
    (Path(folder) / "train.py").write_text(f"# {name}")
    files = session.store.snapshots.take(Path(folder), max_bytes=1 << 20).as_spec()
    return session.store.add_job(name, {"argv": ["true"], "snapshot": files}, "pool:cheap", submitted_by=by)


def test_a_machine_that_is_used_again_is_paid_for_by_who_has_it(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("idle_s: 60", "idle_s: 20000") % "" + "budget: {per_project: 0.4}\n")
    first = of_project(session, "first", "a", "ann")
    machine = ready(session, double)
    assert (machine.job, machine.submitted_by) == (first.id, "ann")
    session.store.request_stop(first.id)
    second = of_project(session, "second", "b", "bob")
    turn(session, double, 5)
    [held] = session.store.instances.all()
    assert (held.id, held.job, held.project, held.submitted_by) == (machine.id, second.id, "b", "bob")
    turn(session, double, 5)
    # What the machine costs now is not less because another one pays.
    assert [round(each.usd_per_hour or 0, 4) for each in of_job(session, first)] == [0.364]
    # More than an hour comes to what the second project may spend: its next job gets no machine, not even this one.
    turn(session, double, 5000)
    session.store.request_stop(second.id)
    spent = cost.by(session.store.instances.intervals(), double.now(), cost.user)
    assert spent["bob"].total > 10 * spent["ann"].total
    third = session.store.add_job("third", second.spec, "pool:cheap", submitted_by="bob")
    told = unpaid(session, [third], double.now())[third.id]
    assert told.startswith(f"the budget of $0.40 for the project {held.project} is reached: $0.")
    [node] = [NodeInfo(str(machine.node), (), {"stoker_pool": "cheap"})]
    assert begin_round(session.store, [node], RoundRequest(unpaid={third.id: told}), time.time()) == {}
    waits = session.store.job(third.id)
    assert waits is not None
    assert (waits.state, waits.detail) == ("queued", told)
    turn(session, double, 5)
    assert [row.job for row in session.store.instances.all(live=False)] == [None]


def test_time_in_which_nobody_looked_costs_no_less_than_it_may(session: Session, double: Double) -> None:
    job(session)
    turn(session, double)
    turn(session, double, 36_000)
    [row] = session.store.instances.all(live=False)
    told = cost.of(session.store.instances.intervals(row.id), double.now())
    assert told.total >= double.billed(int(row.provider_id or 0)).total > 3


def test_what_is_found_by_its_label_costs_since_it_was_asked_for(session: Session, double: Double) -> None:
    job(session)
    double.fault("create-reply-lost", times=1)
    turn(session, double)
    turn(session, double, 36_000)
    [row] = session.store.instances.all(live=False)
    told = cost.of(session.store.instances.intervals(row.id), double.now())
    assert told.total >= double.billed(int(row.provider_id or 0)).total > 3


def test_what_is_stopped_stays_so_whoever_rented_or_started_it(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS % ", after: stop")
    rented_renting.by_hand(session, provider(), "cheap", session.config.pools["cheap"])
    machine = ready(session, double)
    # As a setup that is over writes it down.
    again = session.store.instances.change(machine, changes.provisioned(machine, str(machine.node), double.now()))
    assert again is not None
    for _ in range(2):
        steps = [turn(session, double, 61).steps[machine.id].do for _ in range(3)]
        assert (steps[0], steps[-1]) == ("stop", "wait")
        [row] = session.store.instances.all()
        assert row.phase == "stopped"
        # `vast start`: until it is ready, or stopped again.
        begun = session.store.instances.change(row, {**changes.wished(), "phase": "loading"})
        assert begun is not None
        session.store.instances.change(begun, changes.provisioned(begun, str(row.node), double.now()))
        double.provider.instances[int(row.provider_id or 0)].intended = "running"


def test_who_tends_a_machine_meanwhile_stops_what_somebody_wants_stopped(session: Session, double: Double) -> None:
    """`vast stop` writes its wish down: a dispatcher that knows nothing else of it neither uses nor destroys it."""
    job(session)
    machine = ready(session, double)
    assert turn(session, double, 1).steps[machine.id].do == "use"
    assert session.store.instances.change(machine, changes.unwanted()) is not None
    assert turn(session, double, 1).steps[machine.id].do == "stop"
    [row] = [each for each in session.store.instances.all() if each.id == machine.id]
    assert (row.phase, lifecycle.end_by_hand(row), row.why) == ("stopping", None, machine.why), "it is fulfilled"
    # Whoever wants it back takes the wish back.
    wanted = replace(row, **{**changes.unwanted(), **changes.wished()})
    assert (lifecycle.by_hand(wanted), lifecycle.end_by_hand(wanted)) == (True, None)
    assert (changes.fulfilled(wanted), changes.fulfilled(row)) == ({"wish": None}, {})


def test_what_was_to_stop_twice_is_started_for_the_next_job(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS % ", after: stop")
    over = job(session)
    machine = ready(session, double)
    session.store.request_stop(over.id)
    while turn(session, double, 31).steps[machine.id].do != "stop":
        pass
    [row] = session.store.instances.all()
    # `vast stop` of one that its pool is stopping just now.
    assert session.store.instances.change(row, changes.unwanted()) is not None
    turn(session, double, 5)
    [row] = session.store.instances.all()
    assert (row.phase, row.wish) == ("stopped", None)
    job(session, "next")
    assert turn(session, double, 5).steps[machine.id].do == "start"


@pytest.mark.parametrize("how", ["stop", "destroy"])
def test_no_job_is_counted_on_a_machine_that_somebody_wants_ended(session: Session, double: Double, how: str) -> None:
    waits = job(session)
    machine = ready(session, double)
    assert needs(session, [machine], double.now()).given == {machine.id: waits.id}
    wanted = needs(session, [replace(machine, **changes.unwanted(how))], double.now())
    assert (wanted.given, [each.id for each in wanted.unheld["cheap"]]) == ({}, [waits.id])


def test_a_destroy_by_hand_is_carried_out_by_whoever_tends(session: Session, double: Double) -> None:
    """Who asked for it is gone before it was so: his machine went to sleep."""
    job(session)
    machine = ready(session, double)
    asked = vast_changes.destroy(session, str(machine.node), patience=0)
    # Nothing of it reached the provider, as when he is gone before that.
    back = {"phase": "ready", "destroy_asked_at": None, "evidence": None}
    row = session.store.instances.get(machine.id)
    assert row is not None
    assert asked.exit_code == 1
    assert session.store.instances.change(row, back, now=double.now()) is not None
    assert turn(session, double, 5).steps[machine.id].do == "destroy"


def test_one_that_has_no_label_yet_is_not_taken_for_none(session: Session, double: Double) -> None:
    job(session)
    double.fault("create-reply-lost", times=1)
    turn(session, double)
    [number] = double.instances
    label, double.provider.instances[number].label = double.instances[number].label, None
    for _ in range(5):
        turn(session, double, 100)
    assert [row.phase for row in session.store.instances.all(live=False)] == ["asked"]
    assert list(double.instances) == [number], "no other one is rented"
    [told] = alerts(session)
    assert told.endswith(f"instance {number} is on the machine that it was asked for of, and has no label yet")
    double.provider.instances[number].label = label
    turn(session, double, 5)
    assert [(row.phase, row.provider_id) for row in session.store.instances.all()] == [("loading", number)]


def test_what_a_clock_that_was_ahead_wrote_down_does_not_wait_for_it(session: Session, double: Double) -> None:
    over = job(session)
    machine = ready(session, double)
    session.store.request_stop(over.id)
    double.fault("broken", times=1, endpoint="destroy", status=400)
    tend(session, now=lambda: double.now() + 6 * 3600)
    tend(session, now=lambda: double.now() + 6 * 3600 + 70)
    assert [row.phase for row in session.store.instances.all()] == ["destroying"]
    problems = [problem.message for problem in turn(session, double, 5).problems]
    assert any(re.search(r"was written down 21\d\d\d s ahead of this clock", text) for text in problems), problems
    # Its end is asked for again as soon as ever, and it is paid for the time that was.
    for _ in range(5):
        turn(session, double, 10)
    assert (double.instances, session.store.instances.all()) == ({}, [])
    spent = cost.of(session.store.instances.intervals(machine.id), double.now()).total
    assert abs(spent - double.billed(int(machine.provider_id or 0)).total) < 0.01
    assert all((each.until or 0) <= double.now() for each in session.store.instances.intervals(machine.id))


def test_the_disk_of_one_that_nobody_here_stopped_is_not_kept_for_nobody(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS % ", kind: bid")
    over = job(session)
    machine = ready(session, double)
    double.outbid(int(machine.provider_id or 0))
    session.store.request_stop(over.id)
    assert turn(session, double, 5).steps[machine.id].do == "wait"
    for _ in range(4):
        turn(session, double, 61)
    assert double.instances == {}


def test_a_start_that_is_refused_keeps_the_disk(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("max: 2", "max: 1") % ", after: stop")
    over = job(session)
    machine = ready(session, double)
    session.store.request_stop(over.id)
    for _ in range(3):
        turn(session, double, 61)
    [row] = session.store.instances.all()
    assert row.phase == "stopped"
    double.credit(0)
    job(session)
    for _ in range(6):
        tended = turn(session, double, 61)
    [again] = session.store.instances.all()
    assert (again.phase, again.problem, again.phase_since) == ("stopped", "refused", row.phase_since), tended
    assert "start: vast.ai said no" in tended.problems[0].message
    [told] = alerts(session)
    assert told.startswith(f"{machine.node}: the provider does not start it: ")
    double.credit(100)
    turn(session, double, 61)
    assert [row.phase for row in session.store.instances.all()] == ["loading"]
