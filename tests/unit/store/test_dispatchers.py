# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dispatcher leads, on both databases; who has ended is known by the lock that ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testbed import Postgres

from stoker.errors import StokerError
from stoker.store import Store, open_store
from stoker.store.dispatchers import DispatcherRow, SupersededError, may_lead
from stoker.store.presence import Presence

ROW = DispatcherRow("desk-2222", "desk", 1, 20.0, 0.0, 0.0, True, 7, 0, None, None)

# Joins, leads where it is told to, and stays until it is killed.
DISPATCHER = """
import os, sys, time
from stoker.store import open_store
store = open_store(sys.argv[1])
name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
if sys.argv[2:] == ["lead"]:
    leader = next((row for row in store.dispatchers.list() if row.leader), None)
    assert store.dispatchers.lead(name, leader, "asked to")
print(name, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize(
    ("leader", "there", "silent_s", "why"),
    [
        (None, False, 0.0, "nobody leads"),
        (ROW, True, 0.0, None),
        (ROW, True, 20.0, None),
        (ROW, True, 21.0, "desk-2222 has been silent for 21 s"),
        (ROW, False, 0.0, "desk-2222 has ended"),
    ],
)
def test_who_may_lead(leader: DispatcherRow | None, there: bool, silent_s: float, why: str | None) -> None:
    assert may_lead("other-3333", leader, there, silent_s) == why


@given(there=st.booleans(), silent_s=st.floats(0, 1e6), lease_s=st.floats(1, 1e6))
def test_one_that_gives_signs_is_never_taken_over(there: bool, silent_s: float, lease_s: float) -> None:
    leader = DispatcherRow(**{**vars(ROW), "lease_s": lease_s})
    may = may_lead("other-3333", leader, there, silent_s)
    assert (may is None) == (there and silent_s <= lease_s)


@pytest.fixture
def started(store_url: str) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], url: str, *words: str) -> tuple[subprocess.Popen[str], str]:
    argv = [sys.executable, "-c", DISPATCHER, url, *words]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    out: IO[str] | None = process.stdout
    assert out is not None
    return process, out.readline().strip()


def soon_gone(store: Store, name: str) -> bool:
    """Whether nobody holds the lock: PostgreSQL notices the end of a session a moment later."""
    end = time.monotonic() + 150
    while store.dispatchers.there(name):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def leader(store: Store) -> DispatcherRow | None:
    return next((row for row in store.dispatchers.list() if row.leader), None)


@pytest.mark.accepts("B16")
def test_a_killed_one_is_known_to_have_ended_and_a_stopped_one_to_be_there(
    store: Store, store_url: str, started: list[subprocess.Popen[str]]
) -> None:
    first, name = start(started, store_url, "lead")
    second, other = start(started, store_url)
    assert [(row.id, row.leader) for row in store.dispatchers.list()] == [(name, True), (other, False)]
    assert (store.dispatchers.there(name), store.dispatchers.there(other)) == (True, True)
    first.send_signal(signal.SIGSTOP)
    assert store.dispatchers.there(name)
    first.kill()
    first.wait()
    second.kill()
    second.wait()
    # PostgreSQL notices the end of a session a moment later.
    for _ in range(100):
        if not store.dispatchers.there(name) and not store.dispatchers.there(other):
            break
        os.sched_yield()
    assert (store.dispatchers.there(name), store.dispatchers.there(other)) == (False, False)


@pytest.mark.accepts("B16")
def test_of_two_that_take_over_at_once_one_leads(store: Store) -> None:
    for name in ("a-2222", "b-2222", "c-2222"):
        store.dispatchers.write_down(name, "desk", 1, 20.0)
    assert store.dispatchers.lead("a-2222", None, "nobody leads")
    seen = leader(store)
    first = store.dispatchers.lead("b-2222", seen, "a-2222 has ended")
    assert first is not None
    assert store.dispatchers.lead("c-2222", seen, "a-2222 has ended") is None
    row = leader(store)
    assert row is not None
    assert row.id == "b-2222"
    assert sum(row.leader for row in store.dispatchers.list()) == 1
    told = [event.data["instead_of"] for event in store.events(types=("dispatcher.leads",))]
    assert told == [None, "a-2222"]


def test_a_sign_of_life_in_the_last_moment_keeps_the_lead(store: Store) -> None:
    for name in ("a-2222", "b-2222"):
        store.dispatchers.write_down(name, "desk", 1, 20.0, now=100.0)
    epoch = store.dispatchers.lead("a-2222", None, "nobody leads", now=100.0)
    seen = leader(store)
    assert store.dispatchers.beat("a-2222", now=130.0)
    assert store.dispatchers.lead("b-2222", seen, "silent") is None
    row = leader(store)
    assert row is not None
    assert (row.id, row.epoch) == ("a-2222", epoch)


@pytest.mark.accepts("B16")
def test_what_an_older_epoch_brings_is_refused_whole(store: Store) -> None:
    for name in ("a-2222", "b-2222"):
        store.dispatchers.write_down(name, "desk", 1, 20.0)
    old = store.dispatchers.lead("a-2222", None, "nobody leads")
    with store.under(old).write() as transaction:
        transaction.event("test", 1.0)
    new = store.dispatchers.lead("b-2222", leader(store), "a-2222 has ended")
    assert (old, new) != (None, None)
    newest = store.last_event()
    late = pytest.raises(SupersededError, match=f"made under epoch {old}, and b-2222 leads under epoch {new}")
    with late, store.under(old).write() as transaction:
        transaction.event("test", 2.0)
    store.add_job("a", {"argv": ["true"]}, queue="night")
    newest = store.last_event()
    with pytest.raises(SupersededError):  # so do the parts of the store
        store.under(old).queues.pause("night", "late")
    assert store.last_event() == newest
    with store.under(new).write() as transaction:
        transaction.event("test", 3.0)
    store.dispatchers.leave("b-2222")
    with pytest.raises(SupersededError, match="no dispatcher leads"), store.under(new).write():
        pass


def test_an_epoch_is_never_given_twice(store: Store) -> None:
    epochs = []
    for number in range(3):
        store.dispatchers.write_down(f"a-{number}", "desk", 1, 20.0)
        epochs.append(store.dispatchers.lead(f"a-{number}", leader(store), "asked to"))
        store.dispatchers.leave(f"a-{number}")
        store.delete_events(before=1e12)
    assert epochs == sorted(set(epochs))


def test_those_that_ended_without_a_word_are_forgotten_after_a_day(store: Store) -> None:
    store.dispatchers.write_down("old-2222", "desk", 1, 20.0, now=100.0)
    store.dispatchers.write_down("new-2222", "desk", 1, 20.0, now=100_000.0)
    store.dispatchers.write_down("me-2222", "desk", 1, 20.0, now=100_000.0)
    assert store.dispatchers.lead("me-2222", None, "nobody leads", now=100_001.0)
    assert {row.id for row in store.dispatchers.list()} == {"me-2222", "new-2222"}


def test_a_presence_is_taken_once_and_given_back(store: Store) -> None:
    name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
    assert store.dispatchers.there(name)
    presence.release()
    assert soon_gone(store, name)
    assert not store.dispatchers.there("nobody-2222")


def test_a_presence_that_was_cut_is_taken_again(postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
        with store.touch() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            )
        assert soon_gone(store, name)
        presence.hold()
        assert store.dispatchers.there(name)
        presence.release()


def test_a_presence_is_taken_again_after_the_server_was_away(postgres: Postgres, postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
        postgres.stop()
        try:
            for _ in range(2):
                with pytest.raises(StokerError):
                    presence.hold()
        finally:
            postgres.start()
        presence.hold()
        assert store.dispatchers.there(name)
        presence.release()
        assert soon_gone(store, name)


def test_a_presence_that_another_process_took_is_taken_again_after_it(postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
        presence.release()
        assert soon_gone(store, name)
        other = Presence.take(store._engine, name)
        for _ in range(2):
            with pytest.raises(StokerError, match=f"another process is the dispatcher {name}"):
                presence.hold()
        other.release()
        assert soon_gone(store, name)
        presence.hold()
        assert store.dispatchers.there(name)
        presence.release()


def test_one_that_was_refused_leaves_the_lock_of_the_other(store: Store) -> None:
    name, presence = store.dispatchers.join("desk", os.getpid(), 20.0)
    with pytest.raises(StokerError, match="another process is the dispatcher"):
        Presence.take(store._engine, name)
    assert store.dispatchers.there(name)
    presence.release()
    assert soon_gone(store, name)
