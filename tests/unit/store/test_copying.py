# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store copied as a whole, between every two databases."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from testbed import Postgres

from stoker.errors import StokerError, UsageError
from stoker.store import MemberRow, NodeRow, Store, copying, open_store, schema


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Another empty store, on each database."""
    if request.param == "sqlite":
        with open_store(f"sqlite:///{tmp_path / 'other.db'}") as store:
            yield store
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    with open_store(url) as store:
        yield store
    postgres.drop(url)


def fill(store: Store) -> None:
    for number in range(30):
        name = ("Ä b", "a-b", "a_b", "z", "B")[number % 5]
        spec = {"argv": ["echo", "ünïcödé 🙂 \u202e\x1b", str(number)], "env": {"A": "{{ x }}"}}
        job = store.add_job(name, spec, target="gpus", priority=number, now=1e9 + number / 7)
        if number % 3 == 0:
            store.request_stop(job.id)
    with store.write() as transaction:
        for name in ("n1", "Knöten", "N2"):
            transaction.put_node(NodeRow(name, {"gpus": None, "load": 0.1}, 1.5e9, None, None, 0, missed_at=1.4e9))
            transaction.put_member(MemberRow(name, "draining", "inventory", 1.5e9, drain_deadline=1.6e9))


def attempt_of(store: Store) -> str:
    """Give a job an attempt, with what columns of every kind can hold."""
    job = store.jobs(states=["queued"])[0]
    values = {"node": "n1", "state": "failed", "claimed_at": 1e9, "oom": True, "log_start": 2**40, "log_end": 2**41}
    with store.write() as transaction:
        transaction.add_attempt({"job_id": job.id, "number": 1, **values})
        transaction.change_job(job, {"attempt": 1})
    return job.id


@pytest.mark.accepts("C26", "C30")
def test_every_row_arrives(store: Store, other: Store) -> None:
    fill(store)
    job = attempt_of(store)
    made = store.copy_to(other)
    assert made == store.sums() == other.sums()
    assert {table.name: table.rows for table in made}["jobs"] == 30
    assert other.jobs() == store.jobs()
    assert other.attempts(job) == store.attempts(job)
    assert other.nodes() == store.nodes()
    assert other.members.list() == store.members.list()
    assert other.events() == store.events()
    assert other.faults() == []


@pytest.mark.accepts("C26")
def test_the_number_of_an_event_is_never_given_twice(store: Store, other: Store) -> None:
    fill(store)
    store.delete_events(before=2e10)
    newest = store.add_job("after", {"argv": ["true"]}).number
    store.delete_events(before=2e10)
    store.copy_to(other, without=["events"])
    assert other.events() == []
    assert other.add_job("next", {"argv": ["true"]}).number > newest


@pytest.mark.accepts("C26")
def test_calls_are_numbered_on_in_the_copy(store: Store, other: Store) -> None:
    for written in (store, other):
        for _ in range(3):
            written.calls.begin(via="mcp", who="a", role="read", operation="jobs.list", arguments={}, outcome="done")
        if written is store:
            store.copy_to(other)
    assert [call.seq for call in reversed(other.calls.newest(9))] == [1, 2, 3, 4, 5, 6]


@pytest.mark.accepts("C30")
def test_history_can_be_left_out_and_nothing_else(store: Store, other: Store) -> None:
    fill(store)
    made = store.copy_to(other, without=["events"])
    assert "events" not in {table.name for table in made}
    assert other.events() == []
    assert other.jobs() == store.jobs()
    with pytest.raises(UsageError, match="jobs cannot be left out"):
        store.copy_to(other, without=["jobs"], replace=True)


def test_a_store_with_something_in_it_is_not_filled(store: Store, other: Store) -> None:
    fill(store)
    kept = other.add_job("mine", {"argv": ["true"]})
    with pytest.raises(UsageError, match="1 row of jobs"):
        store.copy_to(other)
    assert other.jobs() == [kept]
    store.copy_to(other, replace=True)
    assert other.jobs() == store.jobs()


def test_a_copy_that_differs_changes_nothing(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, damage: Callable[[], None]
) -> None:
    fill(store)
    kept = other.add_job("mine", {"argv": ["true"]})
    damage()
    with pytest.raises(StokerError, match="differs from the store in jobs"):
        store.copy_to(other, replace=True)
    assert other.jobs() == [kept]


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A database that changes a row on its way in: what the comparison is there for."""

    def begin() -> None:
        real = copying._go_on_from

        def changed(connection: object, last: int) -> None:
            real(connection, last)  # type: ignore[arg-type]
            connection.execute(update(schema.jobs).values(priority=99))  # type: ignore[attr-defined]

        monkeypatch.setattr(copying, "_go_on_from", changed)

    return begin


@pytest.mark.accepts("C30")
def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    with open_store(f"sqlite:///{path}") as store:
        fill(store)
        store.fold()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("INSERT INTO attempts (job_id, number, node, state, claimed_at, log_start, log_end) "
                    "VALUES ('nobody', 1, 'n', 'failed', 0, 0, 0)")  # fmt: skip
    raw.close()
    with open_store(f"sqlite:///{path}") as store:
        assert store.faults() == ["a row of attempts refers to a row of jobs that is not there"]


def test_a_copy_that_takes_its_time_is_not_ended_for_standing_still(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = copying._sums

    def sums(*arguments: object) -> list[copying.TableCopy]:
        time.sleep(3)
        return slow(*arguments)  # type: ignore[arg-type]

    urls = [postgres.new_database() for _ in range(2)]
    with open_store(urls[0]) as source, open_store(urls[1]):
        fill(source)
    monkeypatch.setattr("stoker.store.engine.IDLE_S", 2.0)
    with open_store(urls[0]) as source, open_store(urls[1]) as target:
        monkeypatch.setattr(copying, "_sums", sums)
        assert source.copy_to(target) == target.sums()
    for url in urls:
        postgres.drop(url)
