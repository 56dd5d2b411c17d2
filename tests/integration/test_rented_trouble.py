# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a turn does with rented machines while something is wrong: with the key, the list, this machine, the budget."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from contracts.vast import Boot, Double, vast_double

from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.operations import vast_changes
from stoker.operations.rented_tending import tend
from stoker.operations.session import Session
from stoker.store.instance_rows import InstanceRow

SETTINGS = """
pools:
  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 2, idle_s: 60, time_to_live_s: 3600}
"""


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with vast_double(offers=[{}, {}, {}]) as double:
        double.boot = Boot(1, 2, 5)
        use(double, monkeypatch)
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


def use(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in double.environment.items():
        monkeypatch.setenv(name, value)


def running(session: Session, double: Double) -> InstanceRow:
    """A machine that was rented, with a job under way, as it is in the store when its setup is done."""
    session.store.add_job("train", {"argv": ["true"]}, "pool:cheap")
    tend(session, now=double.now)
    double.advance(30)
    [row] = session.store.instances.all()
    node = f"vast-{row.provider_id}"
    ready = {"phase": "ready", "node": node, "ready_at": double.now(), "host": "127.0.0.1", "port": 9, "host_key": "k"}
    changed = session.store.instances.change(row, ready, now=double.now())
    assert changed is not None
    begin_round(session.store, [NodeInfo(node, (), {"stoker_pool": "cheap"})], RoundRequest(), double.now())
    return changed


def alerts(session: Session) -> list[str]:
    return [alert.text for alert in session.store.samples.alerts() if alert.key.startswith("rented:")]


def test_the_key_of_another_account_proves_nothing(
    session: Session, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = running(session, double)
    assert row.account == double.provider.account
    with ExitStack() as stack:
        other = stack.enter_context(vast_double(offers=[{}, {}]))
        other.provider.account = 78
        use(other, monkeypatch)
        for _ in range(4):
            double.advance(300)
            tended = tend(session, now=double.now)
            why = f"it is of the provider's account {double.provider.account}, and the key here is of account 78"
            assert f"{row.node}: {why}" in [problem.message for problem in tended.problems]
        # Its job is not taken for lost, no other machine is rented for it, and what cannot be known is told.
        assert [attempt.state for attempt in session.store.attempts(str(row.job))] == ["starting"]
        assert [one.phase for one in session.store.instances.all(live=False)] == ["ready"]
        assert other.instances == {}
        assert why in alerts(session)[0]
        # A person who wants it ended is told the same; nothing says that it is gone.
        ended = vast_changes.destroy(session, str(row.node), patience=0)
        assert ended.exit_code == 1
        assert why in " ".join(problem.message for problem in ended.problems)
    use(double, monkeypatch)
    tend(session, now=double.now)
    assert (list(double.instances), alerts(session)) == ([row.provider_id], [])


def test_a_stopped_machine_of_another_account_is_not_started(
    session: Session, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = running(session, double)
    session.store.instances.change(row, {"phase": "stopped"}, now=double.now())
    with vast_double() as other:
        other.provider.account = 78
        use(other, monkeypatch)
        told = vast_changes.start(session, str(row.node))
    assert "the key here is of account 78" in told.problems[0].message
    assert [one.phase for one in session.store.instances.all()] == ["stopped"]


def test_without_a_list_a_machine_ends_all_the_same_when_its_time_is_over(session: Session, double: Double) -> None:
    row = running(session, double)
    session.store.request_stop(str(row.job))
    double.fault("list-nonsense", body="refused")
    double.advance(900)
    assert "vast.ai" in tend(session, now=double.now).problems[0].message
    for _ in range(7):
        double.advance(900)
        tend(session, now=double.now)
    [gone] = session.store.instances.all(live=False)
    # Gone because the provider said so when asked for it by its number.
    assert (double.instances, gone.phase) == ({}, "gone")


def test_without_a_list_what_came_up_meanwhile_is_not_given_up(session: Session, double: Double) -> None:
    session.store.add_job("train", {"argv": ["true"]}, "pool:cheap")
    tend(session, now=double.now)
    [row] = session.store.instances.all()
    double.offline(int(row.provider_id or 0))
    double.advance(10)
    tend(session, now=double.now)
    assert [one.problem for one in session.store.instances.all()] == ["offline"]
    double.fault("list-nonsense", body="refused")
    double.online(int(row.provider_id or 0))
    double.advance(600)
    tend(session, now=double.now)
    # It was offline when last seen in a list, ten minutes ago.
    [kept] = session.store.instances.all()
    assert (kept.phase, kept.problem) == ("loading", None)


def test_what_is_wrong_here_for_one_machine_is_no_matter_of_the_others(
    session: Session, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = running(session, double)
    double.advance(3000)
    session.store.add_job("next", {"argv": ["true"]}, "pool:cheap")
    tend(session, now=double.now)
    double.advance(30)
    tend(session, now=double.now)
    # The files of its first contact cannot be written, and the time of the other one is over.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    double.advance(600)
    tended = tend(session, now=double.now)
    before, after = session.store.instances.all()
    assert (before.id, before.phase) == (first.id, "destroying")
    assert tended.steps[after.id].do == "probe"
    told = [
        problem.message for problem in tended.problems if "could not be tended: FileNotFoundError" in problem.message
    ]
    assert (len(told), told) == (1, alerts(session))


def test_an_address_that_no_lease_takes_is_told_before_anything_is_asked_for(
    session: Session, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAST_URL", double.url.replace("127.0.0.1", "localhost"))
    session.store.add_job("train", {"argv": ["true"]}, "pool:cheap")
    tended = tend(session, now=double.now)
    assert "could not be tended" in " ".join(problem.message for problem in tended.problems)
    assert [(row.phase, row.asked_at) for row in session.store.instances.all()] == [("intended", None)]
    assert ("could not be tended" in alerts(session)[0], double.instances) == (True, {})


def test_without_a_key_what_may_be_billed_is_an_alert(
    session: Session, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = running(session, double)
    monkeypatch.delenv("VAST_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    double.advance(600)
    tend(session, now=double.now)
    [told] = alerts(session)
    assert f"{row.label} may be billed" in told
    assert "there is no key for vast.ai" in told
    use(double, monkeypatch)
    tend(session, now=double.now)
    assert alerts(session) == []


def searches(double: Double) -> int:
    return [call.endpoint for call in double.requests].count("search")


@pytest.mark.parametrize(
    ("price", "more", "why"),
    [("0.1", "", "has no offer that fits"), ("0.5", "budget: {per_day: 0.01}", "would be put aside for 1 h")],
)
def test_a_search_that_brought_nothing_is_not_made_again_in_every_round(
    session: Session, double: Double, price: str, more: str, why: str
) -> None:
    Path("stoker.yml").write_text(SETTINGS.replace("price: 0.5", f"price: {price}") + more)
    session.store.add_job("train", {"argv": ["true"]}, "pool:cheap")
    for _ in range(6):
        assert why in (tend(session, now=double.now).pools or {})["cheap"]
        double.advance(10)
    # One, and one after half a minute; other settings are another search.
    assert searches(double) == 2
    Path("stoker.yml").write_text(SETTINGS)
    session.forget_config()
    tend(session, now=double.now)
    assert (searches(double), len(double.instances)) == (3, 1)


def test_where_the_budget_is_spent_no_offer_is_asked_for(session: Session, double: Double) -> None:
    running(session, double)
    double.advance(1800)
    tend(session, now=double.now)
    before = searches(double)
    Path("stoker.yml").write_text(SETTINGS + "budget: {per_day: 0.01}")
    session.forget_config()
    session.store.add_job("next", {"argv": ["true"]}, "pool:cheap")
    for _ in range(3):
        assert "a day is spent" in (tend(session, now=double.now).pools or {})["cheap"]
        double.advance(60)
    assert searches(double) == before
