# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads, thoughts, facts, sessions and messages in the store: alike on both databases, looked at without a pen."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from stoker.errors import NotFound, StokerError, UsageError
from stoker.store import Store, memory_reading
from stoker.store.memory_reading import Hit
from stoker.store.memory_rows import SessionRow

# What a search must take as words, or as nothing, whatever it looks like.
HOSTILE = (
    'rate" OR 1=1 --', "rate NEAR(x, 3)", "words : rate", "-rate", "rate AND",
    "(((", '"', "'", "';DROP TABLE threads;--", "NOT",
    "rate') UNION SELECT * FROM tokens --", "WITH x AS (DELETE FROM threads RETURNING 1) SELECT * FROM x",
    "PRAGMA query_only = OFF", "memory_index MATCH 'rate'", "^rate", "rate:*", "!rate", "rate & !x", "rate <-> x", "\\",
    "* *", "rate*rate", "\0rate", "{words} : rate", "\ud800", "rate " * 500, "x" * 10_000, "\u202erate",
)  # fmt: skip
WRITES = (
    "DELETE FROM threads", "UPDATE threads SET title = 'x'", "INSERT INTO threads (id) VALUES ('x')",
    "CREATE TABLE x (a integer)", "DROP TABLE threads",
)  # fmt: skip
OF_SQLITE = (
    "PRAGMA query_only = OFF", "PRAGMA writable_schema = ON", "PRAGMA journal_mode = DELETE", "CREATE TEMP TABLE x (a)",
    "WITH x AS (SELECT 1) INSERT INTO threads (id) SELECT 'x' FROM x", "VACUUM", "REINDEX",
    "INSERT INTO memory_index (memory_index) VALUES ('rebuild')", "SELECT load_extension('x')",
)  # fmt: skip
OF_POSTGRESQL = (
    "WITH x AS (DELETE FROM threads RETURNING id) SELECT id FROM x", "SET TRANSACTION READ WRITE", "TRUNCATE messages",
    "WITH x AS (INSERT INTO memory_words VALUES (1, 'a', 'b', 'c', 'd') RETURNING number) SELECT number FROM x",
    "SELECT * INTO x FROM threads", "SELECT setval(pg_get_serial_sequence('events', 'seq'), 9)",
    "COMMENT ON TABLE threads IS 'x'", "SELECT nextval(pg_get_serial_sequence('events', 'seq'))",
)  # fmt: skip


def seed(store: Store) -> str:
    thread = store.memory.start("Find the learning-rate", "lab", "ada", now=10.0)
    for number, said in enumerate(("3e-4 is too HIGH", "Ärger: naïve schedule, σ=0.1, 学习率", "rate_decay helps")):
        store.memory.think(thread.id, said, "ada", now=20.0 + number)
    store.memory.put(
        "lab", "goal", "loss below 0.4, high recall", "ada", category="aim", pinned=True, expires_at=None, now=30.0
    )
    store.memory.put("lab", "soon", "high tide", "ada", category="x", pinned=True, expires_at=100.0, now=31.0)
    other = store.memory.start("High hopes", "other", "bob", now=40.0)
    store.memory.end(other.id, "nothing came of it", now=50.0)
    return thread.id


def told(hits: list[Hit]) -> list[str]:
    """Each hit in a word, in order."""
    return [
        hit.context.key
        if hit.context
        else f"#{hit.thought.position}"
        if hit.thought
        else hit.thread.title
        if hit.thread
        else ""
        for hit in hits
    ]


@pytest.mark.accepts("C27")
def test_the_position_of_a_thread_is_that_of_its_last_thought(store: Store) -> None:
    thread = store.memory.start("lr", "lab", "ada", now=10.0)
    assert thread.position == 0
    for number in range(1, 4):
        thread, thought = store.memory.think(thread.id, f"thought {number}", "ada", now=10.0 + number)
        assert (thread.position, thought.position) == (number, number)
    assert [found.position for found in store.memory.reading.threads("lab")] == [3]
    assert [t.text for t in store.memory.reading.thoughts(thread=thread.id, last=2)] == ["thought 2", "thought 3"]
    ended, changed = store.memory.end(thread.id, "done", now=20.0)
    assert changed
    assert store.memory.end(thread.id, "again", now=30.0) == (ended, False)
    with pytest.raises(UsageError, match="has ended"):
        store.memory.think(thread.id, "late", "ada")
    with pytest.raises(NotFound):
        store.memory.think("none", "x", "ada")
    assert store.memory.reading.threads("lab") == []
    assert [t.summary for t in store.memory.reading.threads("lab", ended=True)] == ["done"]


@pytest.mark.accepts("C27")
def test_a_fact_is_replaced_by_its_key_and_gone_when_it_expires(store: Store) -> None:
    memory = store.memory
    first, replaced = memory.put("lab", "k", "old words", "ada", category="a", pinned=True, expires_at=None, now=10.0)
    assert not replaced
    second, replaced = memory.put("lab", "k", "new", "bob", category="b", pinned=False, expires_at=100.0, now=20.0)
    assert replaced
    assert (second.created_at, second.updated_at, second.updated_by) == (10.0, 20.0, "bob")
    memory.put("other", "k", "theirs", "bob", category="b", pinned=True, expires_at=None, now=21.0)
    assert [(f.value, f.category, f.pinned) for f in memory.reading.context("lab", now=30.0)] == [("new", "b", False)]
    assert memory.reading.context("lab", pinned=True, now=30.0) == []
    assert memory.reading.search("old", None, 9, now=30.0) == []
    assert told(memory.reading.search("new", "lab", 9, now=99.0)) == ["k"]
    # From that moment on it is gone, whether or not anything was written since.
    assert memory.reading.context("lab", now=100.0) == []
    assert memory.reading.search("new", "lab", 9, now=100.0) == []
    assert not memory.forget("lab", "k", now=100.0)
    third, replaced = memory.put("lab", "k", "newest", "ada", category="b", pinned=False, expires_at=None, now=101.0)
    assert not replaced
    assert third.created_at == 101.0
    assert memory.forget("lab", "k")
    assert not memory.forget("lab", "k")
    assert [f.value for f in memory.reading.context("other")] == ["theirs"]
    assert first.number < second.number < third.number


@pytest.mark.accepts("C28")
@pytest.mark.parametrize(
    ("said", "project", "found"),
    [
        ("high", "lab", ["soon", "goal", "#1"]),
        ("HIGH", None, ["High hopes", "soon", "goal", "#1"]),
        ("high 0.4", "lab", ["goal"]),
        ("learn*", "lab", ["Find the learning-rate"]),
        ("learn", "lab", []),
        ("learning rate", "lab", ["Find the learning-rate"]),
        ("3e-4", "lab", ["#1"]),
        ("ärger NAÏVE", "lab", ["#2"]),
        ("naive", "lab", []),
        ("Σ 学习率", "lab", ["#2"]),
        ("学习*", "lab", ["#2"]),
        ("rate_decay", "lab", ["#3"]),
        ("decay", "lab", []),
        ("came of it", None, ["High hopes"]),
        ("aim", "lab", ["goal"]),
        ("", "lab", []),
        ("!?", "lab", []),
    ],
)
def test_both_databases_find_the_same(store: Store, said: str, project: str | None, found: list[str]) -> None:
    seed(store)
    assert told(store.memory.reading.search(said, project, 20, now=60.0)) == found


@pytest.mark.accepts("C28")
def test_no_search_is_an_error_or_writes(store: Store) -> None:
    seed(store)
    before = store.sums()
    for said in HOSTILE:
        store.memory.reading.search(said, None, 20)
        store.memory.reading.threads_like(said)
        store.memory.reading.threads(said)
        store.memory.reading.thoughts(thread=said, project=said, last=5)
        store.memory.reading.context(said, category=said)
        store.sessions.inbox(said, sender=said)
    assert store.sums() == before
    assert told(store.memory.reading.search('"high" 0.4', "lab", 20, now=60.0)) == ["goal"]


@pytest.mark.accepts("C28")
def test_what_looks_cannot_write_whatever_statement_reaches_it(store: Store, tmp_path: Path) -> None:
    seed(store)
    before = store.sums()
    sqlite = store.url.startswith("sqlite")
    own = OF_SQLITE if sqlite else OF_POSTGRESQL
    files = (f"ATTACH '{tmp_path}/x.db' AS x", f"VACUUM INTO '{tmp_path}/x.db'") if sqlite else ()
    for statement in (*WRITES, *own, *files):
        with pytest.raises(StokerError), store._looking.read() as connection:
            connection.execute(text(statement)).fetchall()
    if sqlite:
        with store._looking.read() as connection:
            raw = connection.connection.driver_connection
            # Several at once, and without the authorizer: the file itself is open for reading only.
            with pytest.raises(sqlite3.DatabaseError):
                raw.executescript("COMMIT; PRAGMA query_only = OFF; DELETE FROM threads;")  # type: ignore[union-attr]
            raw.set_authorizer(None)  # type: ignore[union-attr]
            raw.execute("PRAGMA query_only = OFF")  # type: ignore[union-attr]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                raw.execute("DELETE FROM threads")  # type: ignore[union-attr]
    else:
        with store._looking.read() as connection:
            connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
        with pytest.raises(StokerError), store._looking.read() as connection:
            connection.execute(text("DELETE FROM threads"))
    assert store.sums() == before
    assert not (tmp_path / "x.db").exists()
    assert store.faults() == []


def test_what_is_remembered_can_be_searched_in_a_copy(store: Store, tmp_path: Path) -> None:
    from stoker.store import open_store

    thread = seed(store)
    with open_store(f"sqlite:///{tmp_path / 'copy.db'}") as copy:
        assert store.copy_to(copy) == copy.sums()
        assert told(copy.memory.reading.search("high", "lab", 9, now=60.0)) == ["soon", "goal", "#1"]
        _thread, thought = copy.memory.think(thread, "in the copy", "ada")
        assert thought.position == 4
        assert told(copy.memory.reading.search("copy", "lab", 9)) == ["#4"]
        copy.copy_to(store, replace=True)
        assert copy.faults() == []
    assert told(store.memory.reading.search("copy", "lab", 9)) == ["#4"]


@pytest.mark.accepts("C56")
def test_a_session_is_seen_by_others_and_its_messages_are_acknowledged_once(store: Store) -> None:
    sessions = store.sessions
    row = SessionRow("session-a", "stdio", "ada", None, None, "lab", "here", 7, 60.0, 10.0, 10.0, None)
    sessions.begin(row)
    named = SessionRow(**{**vars(row), "client": "bot", "client_version": "1.2", "seen_at": 12.0, "started_at": 12.0})
    sessions.begin(named)
    (seen,) = sessions.list()
    assert (seen.client, seen.client_version, seen.started_at, seen.seen_at) == ("bot", "1.2", 10.0, 12.0)
    sessions.seen(["session-a"], now=20.0)
    assert [each.seen_at for each in sessions.list()] == [20.0]
    (message,) = sessions.send(["session-a"], "session-b", "look at \0 this", now=21.0)
    assert [m.text for m in sessions.inbox("session-a")] == ["look at \ufffd this"]
    assert sessions.inbox("session-b") == []
    first = sessions.ack(message, "session-a", now=30.0)
    again = sessions.ack(message, "somebody", now=40.0)
    assert (first.acked_at, first.acked_by) == (again.acked_at, again.acked_by) == (30.0, "session-a")
    assert sessions.inbox("session-a") == []
    assert [m.acked_by for m in sessions.inbox(None, sender="session-b", acked=True)] == ["session-a"]
    sessions.end(["session-a"], now=50.0)
    sessions.end(["session-a"], now=60.0)
    assert [each.ended_at for each in sessions.list()] == [50.0]
    kinds = [event.type for event in store.events() if event.type.partition(".")[0] in ("session", "message")]
    assert kinds == ["session.started", "message.sent", "message.acked", "session.ended"]


def test_sessions_and_messages_of_long_ago_are_cleared_away(store: Store) -> None:
    row = SessionRow("old", "stdio", "ada", None, None, "lab", "here", 7, 60.0, 10.0, 10.0, 11.0)
    store.sessions.begin(row)
    for said in ("read", "unread"):
        (message,) = store.sessions.send(["old"], "x", said, now=12.0)
        if said == "read":
            store.sessions.ack(message, "old", now=13.0)
    store.sessions.begin(SessionRow(**{**vars(row), "id": "new", "started_at": 1e8, "seen_at": 1e8}))
    assert [each.id for each in store.sessions.list()] == ["new"]
    assert [message.text for message in store.sessions.inbox(None, acked=True)] == ["unread"]


@pytest.mark.accepts("C28")
def test_a_search_asks_the_full_text_index(store: Store) -> None:
    seed(store)
    if store.url.startswith("sqlite"):
        with store.touch() as connection:
            connection.exec_driver_sql("INSERT INTO memory_index (memory_index) VALUES ('delete-all')")
        assert store.memory.reading.search("high", None, 9) == []
        return
    with store._looking.read() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        condition = memory_reading._matching(connection, memory_reading.wanted("high lo*"))
        plan = connection.execute(text(f"EXPLAIN SELECT 1 FROM memory_words WHERE {condition}"), {"asked": "'high'"})
        assert "memory_words_index" in "\n".join(row[0] for row in plan)
