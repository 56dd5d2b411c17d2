# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rented machines from the intent to their end, against the contract's provider with real machines behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contracts.vast import Boot, Double, vast_double
from testbed import PlainNode

from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.errors import UsageError
from stoker.operations import rented_hosts, rented_ssh, vast, vast_changes
from stoker.operations.rented_tending import Tended, tend
from stoker.operations.session import Session
from stoker.store import JobRow
from stoker.store.instance_rows import InstanceRow

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, idle_s: 60, max_respawns: 1, setup: ["touch was-set-up"]}
"""


@pytest.fixture
def machines(nodes: Callable[..., list[PlainNode]]) -> list[PlainNode]:
    return nodes(2)


@pytest.fixture
def double(machines: list[PlainNode], monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with vast_double(machines=machines) as double:
        double.boot = Boot(1, 2, 5)
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        yield double


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
    Path("stoker.yml").write_text(SETTINGS)
    session = Session(store_url=f"sqlite:///{tmp_path}/store.db")
    yield session
    session.close()


def job(session: Session, name: str = "train") -> JobRow:
    return session.store.add_job(name, {"argv": ["true"]}, "pool:cheap")


def turn(session: Session, double: Double) -> Tended:
    return tend(session, now=double.now)


def until(session: Session, double: Double, *phases: str, seconds: float = 5.0) -> list[InstanceRow]:
    """Turns, with time between them, until the instances are in these phases."""
    deadline = time.monotonic() + 120
    seen: list[str] = []
    while time.monotonic() < deadline:
        tended = turn(session, double)
        rows = session.store.instances.all(live=False)
        if [row.phase for row in rows] == list(phases):
            return rows
        seen.append(f"{[(row.phase, row.problem, row.evidence) for row in rows]} {tended.problems} {tended.steps}")
        double.advance(seconds)
    raise AssertionError("\n".join(seen[-4:]))


def test_a_machine_is_rented_for_a_job_made_ready_and_ended_when_nobody_needs_it(
    session: Session, double: Double, machines: list[PlainNode]
) -> None:
    row = job(session)
    [ready] = until(session, double, "ready")
    assert (ready.job, ready.node) == (row.id, f"vast-{ready.provider_id}")
    assert session.runner.inventory().match("pool:cheap") == [ready.node]
    assert any((node.home / "was-set-up").exists() for node in machines)
    # It stops by itself when nobody asks it anything any more.
    assert "CONTAINER_API_KEY" not in str(double.instances[int(ready.provider_id or 0)].body["env"])
    assert any((node.state_dir / "alive").exists() for node in machines)
    session.store.request_stop(row.id)
    [over] = until(session, double, "gone", seconds=30)
    assert (double.instances, over.ended_at is not None) == ({}, True)
    session.forget_inventory()
    assert session.runner.inventory().match("pool:cheap") == []


def claimed(session: Session, instance: InstanceRow) -> JobRow:
    """The job that a round begins on the machine."""
    assert instance.node is not None
    node = NodeInfo(instance.node, (), {"stoker_pool": instance.pool})
    requests = begin_round(session.store, [node], RoundRequest(), time.time())
    [order] = requests[instance.node]["orders"]
    found = session.store.job(order["spec"]["job"])
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["exit", "outbid"])
def test_a_loss_is_proven_by_the_provider_and_the_job_gets_another_machine(
    session: Session, double: Double, how: str
) -> None:
    if how == "outbid":
        Path("stoker.yml").write_text(SETTINGS.replace("price: 0.5", "price: 0.5, kind: bid, bid_wait_s: 0, bid: 0.2"))
    row = job(session)
    [first] = until(session, double, "ready")
    running = claimed(session, first)
    assert (running.id, running.node, running.state) == (row.id, first.node, "starting")
    assert turn(session, double).steps[first.id].do == "use"
    number = int(first.provider_id or 0)
    # More than the pool's price: no higher bid brings it back.
    double.exit(number) if how == "exit" else double.market(number, 0.9)
    double.advance(1)
    turn(session, double)
    lost = session.store.attempts(row.id)[0]
    assert (lost.state, lost.reason) == ("lost", "provider")
    assert f"the provider says that its machine {first.provider_id} is" in (lost.detail or "")
    # Never two at once: the second is rented when the first is shown gone.
    [gone, second] = until(session, double, "gone", "ready")
    assert second.machine_id != first.machine_id
    assert (second.job, second.replaces) == (row.id, first.id)
    assert (gone.ended_at or 0) <= second.created_at
    again = claimed(session, second)
    assert (again.attempt, again.moves, again.retries_used) == (2, 1, 0)
    # The pool gives one other machine, not two.
    double.exit(int(second.provider_id or 0))
    until(session, double, "gone", "gone")
    over = session.store.job(row.id)
    assert over is not None
    assert (over.state, over.reason) == ("lost", "provider")
    double.advance(60)
    turn(session, double)
    assert double.instances == {}


@pytest.mark.accepts("V19")
@pytest.mark.parametrize("state", ["offline", "exited", "unknown"])
def test_a_machine_that_is_not_well_is_noticed_at_the_next_look(session: Session, double: Double, state: str) -> None:
    job(session)
    [ready] = until(session, double, "ready")
    double.instances[int(ready.provider_id or 0)].show(state, None, None)
    turn(session, double)
    events = session.store.events(types=("instance.problem",), limit=10)
    assert [(event.node, event.data["problem"]) for event in events] == [(ready.node, state)]
    assert state in str(events[0].data["evidence"])


@pytest.mark.accepts("V39")
def test_no_machine_above_the_price_and_none_beyond_its_time(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("price: 0.5", "price: 0.36"))
    row = job(session)
    told = turn(session, double).pools or {}
    assert (double.instances, session.store.instances.all()) == ({}, [])
    assert told["cheap"] == "the provider has no offer that fits"
    Path("stoker.yml").write_text(SETTINGS.replace("price: 0.5", "price: 0.5, time_to_live_s: 300"))
    session.forget_config()
    [ready] = until(session, double, "ready")
    claimed(session, ready)
    # Nobody ends the job, and nobody looks: the time to live does.
    double.advance(600)
    assert turn(session, double).steps[ready.id].why.startswith("its time to live is over")
    drained = session.store.job(row.id)
    assert drained is not None
    assert "time to live" in (drained.put_back or "")
    # It does not answer the order to end: after half an hour it goes all the same, and that is told.
    for _ in range(4):
        double.advance(1000)
        turn(session, double)
    assert ready.provider_id not in double.instances


def test_who_destroys_all_has_to_type_it(session: Session, double: Double) -> None:
    job(session)
    [ready] = until(session, double, "ready")
    asked: list[str] = []

    def typed(question: str) -> str:
        asked.append(question)
        return "destroy"

    session.asks = typed
    with pytest.raises(UsageError, match="nothing was destroyed"):
        vast_changes.destroy(session, all=True)
    assert asked == [f"type 'destroy 1' to destroy {ready.node}: "]
    session.asks = lambda question: question.split("'")[1]
    assert vast_changes.destroy(session, all=True).exit_code == 0
    assert double.instances == {}


def test_a_create_in_flight_and_somebody_who_ends_the_job_meanwhile(session: Session, double: Double) -> None:
    row = job(session)
    slow = double.fault("create-slow", times=1)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(turn, session, double)
        deadline = time.monotonic() + 150
        while not double.instances and time.monotonic() < deadline:
            time.sleep(0.05)
        session.store.request_stop(row.id)
        [gone] = until(session, double, "gone")
        slow.release()
        first.result(60)
    assert (double.instances, gone.provider_id in double.ended) == ({}, True)
    assert turn(session, double).steps == {}


def test_a_setup_that_fails_ends_the_job_before_it_costs_more(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("touch was-set-up", "echo disk full >&2; exit 3"))
    row = job(session)
    until(session, double, "gone")
    turn(session, double)
    over = session.store.job(row.id)
    assert over is not None
    assert (over.state, over.reason) == ("failed", "start")
    assert "could not be made ready: the setup ended with 3: disk full" in (over.detail or "")
    assert (double.instances, len(double.ended)) == ({}, 1)


def test_two_who_tend_at_once_rent_once(session: Session, double: Double, tmp_path: Path) -> None:
    job(session)

    def tending(_who: int) -> None:
        other = Session(store_url=f"sqlite:///{tmp_path}/store.db")
        for _ in range(8):
            tend(other, now=double.now)
            double.advance(2)
        other.close()

    with ThreadPoolExecutor(2) as both:
        list(both.map(tending, (1, 2)))
    [ready] = until(session, double, "ready")
    assert list(double.instances) == [ready.provider_id]
    assert [call.endpoint for call in double.requests].count("create") == 1


@pytest.mark.accepts("B11")
def test_what_is_still_billed_is_an_alert_until_it_is_gone(session: Session, double: Double) -> None:
    job(session)
    [ready] = until(session, double, "ready")
    double.fault("destroy-lingers", looks=10_000)
    session.store.request_stop(str(ready.job))
    until(session, double, "destroying", seconds=30)
    for _ in range(12):
        double.advance(30)
        turn(session, double)
    [told] = vast.list_instances(session).alerts
    assert f"{ready.label} ({ready.provider_id}) may still be billed: it was to be destroyed" in told
    assert len(session.store.events(types=("alert.raised",), limit=10)) == 1
    double.instances[int(ready.provider_id or 0)].looks_left = 0
    until(session, double, "gone", seconds=30)
    assert vast.list_instances(session).alerts == ()


def test_a_pool_holds_its_least_and_ends_what_is_no_more_in_the_settings(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("max: 2", "min: 1, max: 2"))
    [held] = until(session, double, "ready")
    double.advance(600)
    assert turn(session, double).steps[held.id].do == "use"
    Path("stoker.yml").write_text("budget: {per_day: 20}\n")
    session.forget_config()
    until(session, double, "gone")
    assert double.instances == {}


def test_without_a_key_it_is_said_of_the_pools(
    session: Session, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(session)
    monkeypatch.delenv("VAST_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    tended = turn(session, double)
    assert tended.pools == {"cheap": tended.problems[0].message}
    assert "there is no key for vast.ai" in tended.problems[0].message


def test_another_controller_that_takes_over_is_let_in(
    session: Session, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(session)
    [ready] = until(session, double, "ready")
    # Another machine, with a state folder of its own, on the same store.
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "other"))
    other = Session(store_url=f"sqlite:///{tmp_path}/store.db")
    assert other.whole_inventory.match("pool:cheap") == []
    tend(other, now=double.now)
    other.forget_inventory()
    assert other.whole_inventory.match("pool:cheap") == [ready.node]
    place = rented_hosts.place_of(other)
    double.advance(1)
    told = rented_ssh.ask(place, str(ready.host), int(ready.port or 0), str(ready.host_key), "exit 7", 20)
    assert (told.code, told.problem) == (7, None)
    other.close()


def test_a_machine_that_forgot_the_key_is_told_again(
    session: Session, double: Double, machines: list[PlainNode]
) -> None:
    job(session)
    [asked] = until(session, double, "loading", seconds=0)
    # It is written down as told, and was not.
    place = rented_hosts.place_of(session)
    rented_ssh.public_key(place)
    (place.folder / "attached.json").write_text(f"[{asked.provider_id}]")
    until(session, double, "ready")


@pytest.mark.accepts("V09")
def test_a_private_image_is_fetched_with_what_is_stored_nowhere(
    session: Session, double: Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = "image_login: {server: ghcr.io, user_env: WHO_PULLS, password_env: PULLS_WITH}, onstart: touch began"
    Path("stoker.yml").write_text(SETTINGS.replace("max: 2", f"max: 2, env: {{HF_HOME: /data}}, {login}"))
    job(session)
    told = turn(session, double)
    assert told.pools == {"cheap": "WHO_PULLS is not set here, and the image is fetched with it"}
    assert double.instances == {}
    monkeypatch.setenv("WHO_PULLS", "alice")
    monkeypatch.setenv("PULLS_WITH", "s3cret-of-alice")
    double.advance(60)
    turn(session, double)
    [machine] = double.instances.values()
    assert (machine.body["image"], machine.body["env"]) == ("pytorch/pytorch:2.4", {"HF_HOME": "/data"})
    assert machine.body["image_login"] == "-u alice -p s3cret-of-alice ghcr.io"
    assert machine.body["onstart"].endswith("touch began")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret-of-alice" in path.read_bytes()]
    assert files == []


@pytest.mark.accepts("V09")
def test_an_image_that_cannot_be_had_ends_the_job_in_the_provider_s_words(session: Session, double: Double) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("max_respawns: 1", "max_respawns: 0"))
    row = job(session)
    double.fault("stuck", at="created")
    [made] = until(session, double, "loading")
    double.fail(int(made.provider_id or 0), "manifest for pytorch/pytorch:2.4 not found")
    until(session, double, "gone")
    turn(session, double)
    over = session.store.job(row.id)
    assert over is not None
    assert (over.state, double.instances) == ("failed", {})
    assert "it lost 1 machine, and its pool gives it 0 others" in (over.detail or "")
    assert "manifest for pytorch/pytorch:2.4 not found" in (over.detail or "")
