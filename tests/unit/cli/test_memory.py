# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered, as it is asked on a command line and by assistants."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typed import Stoker

from stoker.mcp.perform import perform
from stoker.operations import whereami
from stoker.operations.session import Session
from stoker.store.memory_rows import SessionRow

# Put together here, so that nothing in this file looks like one to those who scan for them.
SECRET = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG3iL6"
DSN = "postgresql://ada:hunter2@db.example/x"


def ask(command: str, client: str | None = None, **given: Any) -> dict[str, Any]:
    """What an assistant is answered; `client` is the id of its session."""
    request: Mapping[str, Any] = {
        "operation": command, "arguments": given, "who": "ada", "role": "operate", "via": "stdio", "session": client,
    }  # fmt: skip
    return perform(request, lambda _text: None)


def live(stoker: Stoker, name: str, *, seen_s_ago: float = 0.0) -> str:
    now = time.time() - seen_s_ago
    stoker.session.store.sessions.begin(
        SessionRow(name, "stdio", "ada", "bot", "1.0", "here", "host", 7, 60.0, now, now, None)
    )
    return name


def file_of(project: str = "here") -> Path:
    return whereami.file_of(project, os.environ["STOKER_STORE_URL"])


def snapshot(project: str = "here") -> str:
    return file_of(project).read_text()


@pytest.mark.accepts("C27")
def test_a_thread_from_its_start_to_its_end(stoker: Stoker) -> None:
    thread = stoker("thread", "start", "Find the rate", "--json").json()["value"]["thread"]["id"]
    for said in ("one", "two", "three"):
        added = stoker("thread", "think", thread, said, "--json").json()["value"]
    assert added["thread"]["position"] == added["thought"]["position"] == 3
    (listed,) = stoker("thread", "list", "--json").json()["value"]["threads"]
    assert (listed["position"], listed["project"]) == (3, "here")
    assert "#3" in stoker("thread", "show", thread[:8], "--last", "1").out
    assert "2 before these" in stoker("thread", "show", thread, "--last", "1").out
    handed = stoker("thread", "handoff", thread, "go on with 3e-4")
    assert "handed over, number 4" in handed.out
    for said in range(20):
        ask("thread think", thread=thread, text=f"later {said}")
    shown = stoker("thread", "show", thread, "--json").json()["value"]
    assert len(shown["thoughts"]) == 20
    assert shown["handoff"]["text"] == "go on with 3e-4"
    assert "go on with 3e-4" in stoker("thread", "show", thread).out
    assert stoker("thread", "end", thread, "--text", "3e-4 it is").code == 0
    assert "as before" in stoker("thread", "end", thread).out
    assert stoker("thread", "list", "--json").json()["value"]["threads"] == []
    assert "3e-4 it is" in stoker("thread", "show", thread).out
    late = stoker("thread", "think", thread, "late")
    assert (late.code, "has ended" in late.err) == (2, True)
    near = stoker("thread", "show", "find-the-rat-xxxx")
    assert f"Did you mean '{thread}'?" in near.err


@pytest.mark.accepts("C27", "C28")
def test_facts_are_set_listed_searched_and_forgotten(stoker: Stoker) -> None:
    assert "written for here" in stoker("memory", "set", "goal", "loss below 0.4", "--pinned", "--category", "aim").out
    assert "in the place of the old one" in stoker("memory", "set", "goal", "loss below 0.3", "--pinned").out
    assert stoker("memory", "set", "far", "x", "--project", "other").code == 0
    (fact,) = stoker("memory", "list", "--json").json()["value"]["facts"]
    assert (fact["value"], fact["category"], fact["pinned"]) == ("loss below 0.3", "general", True)
    assert stoker("memory", "set", "soon", "x", "--expires", "0").code == 2
    gone = stoker("memory", "set", "soon", "high", "--pinned", "--expires", "1ms", "--json").json()["value"]["fact"]
    assert gone["expires_at"] is not None
    time.sleep(0.002)
    assert "soon" not in stoker("memory", "list").out + stoker("whereami").out + stoker("memory", "search", "high").out
    found = stoker("memory", "search", "LOSS bel*", "--json").json()["value"]["found"]
    assert [each["fact"]["key"] for each in found] == ["goal"]
    assert stoker("memory", "search", "!").code == 2
    assert "--all looks in every project" in stoker("memory", "search", "far").out
    assert "far" in stoker("memory", "search", "far", "--all").out
    assert "Did you mean 'goal'?" in stoker("memory", "forget", "gaol").err
    assert stoker("memory", "forget", "goal").code == 0
    assert stoker("memory", "list", "--json").json()["value"]["facts"] == []


@pytest.mark.accepts("C28")
def test_what_looks_writes_nothing_whatever_it_is_given(stoker: Stoker) -> None:
    thread = stoker("thread", "start", "rate", "--json").json()["value"]["thread"]["id"]
    stoker("memory", "set", "goal", "rate")
    mine = live(stoker, "session-a")
    stoker.session.store.sessions.send([mine], "x", "rate")
    hostile = ["rate' OR 1=1 --", 'rate" NEAR', "WITH x AS (DELETE FROM jobs RETURNING 1) SELECT 1", "PRAGMA x = 1"]
    before = {table.name: table for table in stoker.session.store.sums()}
    file = file_of().stat()
    for said in hostile:
        for command, given in (
            ("memory search", {"text": said}), ("memory search", {"text": said, "project": said}),
            ("memory search", {"text": said, "all": True}), ("memory list", {"category": said, "project": said}),
            ("thread list", {"all": True, "project": said}), ("thread show", {"thread": said}),
            ("thread show", {"thread": thread}), ("whereami", {"project": said}), ("session list", {"all": True}),
            ("session inbox", {"of": said}), ("session inbox", {"all": True}),
        ):  # fmt: skip
            ask(command, mine, **given)
    after = {table.name: table for table in stoker.session.store.sums()}
    # The note of each call is the server's own.
    assert {name for name in after if after[name] != before[name]} == {"calls"}
    assert file_of().stat() == file


@pytest.mark.accepts("C29")
def test_the_snapshot_is_there_after_each_change(stoker: Stoker) -> None:
    thread = stoker("thread", "start", "Find the rate", "--json").json()["value"]["thread"]["id"]
    assert thread in snapshot()
    for number in range(7):
        stoker("thread", "think", thread, f"thought-{number}\n## not a heading \x1b[2J")
        assert f"#{number + 1}: thought-{number}" in snapshot()
    assert "thought-1" not in snapshot()
    assert "\n## not a heading" not in snapshot()
    assert "\x1b" not in snapshot()
    stoker("memory", "set", "goal", "loss below 0.4", "--pinned", "--expires", "2h")
    stoker("memory", "set", "aside", "not to be seen")
    assert "**goal**: loss below 0.4 (until " in snapshot()
    assert "not to be seen" not in snapshot()
    stoker("thread", "handoff", thread, "3e-4 comes next")
    assert "handed over" in snapshot()
    assert snapshot().partition("## Threads")[2] == stoker("whereami").out.partition("## Threads")[2]
    stoker("memory", "forget", "goal")
    assert "goal" not in snapshot()
    stoker("thread", "end", thread)
    assert f"**{thread}**" not in snapshot()
    assert stat.S_IMODE(file_of().stat().st_mode) == 0o600
    assert sorted(path.name for path in file_of().parent.iterdir()) == [".lock", "whereami.md"]
    stoker("memory", "set", "k", "v", "--project", "../../../etc", "--pinned")
    assert file_of("../../../etc").parent.parent == file_of().parent.parent
    assert "**k**: v" in snapshot("../../../etc")


@pytest.mark.accepts("C29")
def test_a_reader_of_the_snapshot_sees_a_whole_one_and_at_last_the_newest(stoker: Stoker, tmp_path: Path) -> None:
    stoker("memory", "set", "k", "start", "--pinned")
    over, torn = threading.Event(), list[str]()

    def read() -> None:
        while not over.is_set():
            if not snapshot().startswith("# here\n") or "## Last 5 thoughts\n\nnone\n" not in snapshot():
                torn.append(snapshot())

    def write(name: str) -> None:
        session = Session(store_url=f"sqlite:///{tmp_path}/store.db")
        for number in range(15):
            session.store.memory.put(
                "here", name, f"{name}-{number}", "ada", category="c", pinned=True, expires_at=None
            )
            whereami.write(session, "here")
        session.close()

    writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert torn == []
    assert "a-14" in snapshot()
    assert "b-14" in snapshot()


@pytest.mark.accepts("C31", "C29")
def test_a_credential_is_refused_or_redacted_before_anything_is_stored(stoker: Stoker, tmp_path: Path) -> None:
    thread = stoker("thread", "start", "Find the rate", "--json").json()["value"]["thread"]["id"]
    other = live(stoker, "session-b")
    nested = json.dumps({"db": [{"url": DSN}]})
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("thread start", {"title": SECRET}, "title"),
        ("thread think", {"thread": thread, "text": f"use {SECRET}"}, "text"),
        ("thread handoff", {"thread": thread, "text": f"use {SECRET}", "to": other}, "text"),
        ("memory set", {"key": "db", "value": nested, "pinned": True}, "value.db[0].url"),
        ("memory set", {"key": SECRET, "value": "x"}, "key"),
        ("memory set", {"key": "db password", "value": "hunter22"}, "value"),
        ("session send", {"to": other, "text": f"use {DSN}"}, "text"),
        ("thread end", {"thread": thread, "text": SECRET}, "text"),
    ]
    for command, given, place in asked:
        refused = ask(command, **given)
        assert refused["error"], command
        assert f"{place} has what looks like a credential" in refused["text"]
        assert "nothing was stored" in refused["text"]
    # What is refused for another reason is not kept by the way.
    for given in ({"thread": SECRET, "text": "x"}, {"thread": thread, SECRET: "x", "text": "y"}, {"thread": [DSN]}):
        assert ask("thread think", **given)["error"]
    assert [t.position for t in stoker.session.store.memory.reading.threads("here")] == [0]
    assert stoker.session.store.memory.reading.context("here") == []
    assert stoker.session.store.sessions.inbox(other) == []
    for command, given, place in asked:
        done = ask(command, **given, redact=True)
        assert not done["error"], done
        assert place in [each["place"] for each in done["structured"]["value"]["redacted"]]
    typed = stoker("memory", "set", "db", nested, "--pinned", "--redact")
    assert "warning: value.db[0].url has what looks like a credential (password in a URL)" in typed.err
    kept = json.loads(stoker.session.store.memory.reading.context("here", category="general")[1].value)
    assert kept == {"db": [{"url": "postgresql://ada:[redacted: password in a URL]@db.example/x"}]}
    # Neither in the store, nor in the note of the calls that were refused, nor in the snapshot.
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (SECRET, "hunter2"):
        assert secret.encode() not in everything, secret


@pytest.mark.accepts("C56")
def test_sessions_see_each_other_and_messages_are_relayed_and_acknowledged(stoker: Stoker) -> None:
    first, second = live(stoker, "session-a"), live(stoker, "session-b")
    stale, ended = live(stoker, "session-c", seen_s_ago=61), live(stoker, "session-d")
    stoker.session.store.sessions.end([ended])
    seen = ask("session list", first)["structured"]["value"]["sessions"]
    assert {each["id"]: (each["state"], each["mine"]) for each in seen} == {
        first: ("live", True), second: ("live", False), stale: ("stale", False),
    }  # fmt: skip
    assert {(each["client"], each["version"], each["pid"]) for each in seen} == {("bot", "1.0", 7)}
    assert "ended" in stoker("session", "list", "--all").out
    sent = ask("session send", first, to=second, text="the rate is 3e-4")["structured"]["value"]["messages"]
    assert [(each["sender"], each["recipient"]) for each in sent] == [(first, second)]
    everyone = ask("session send", first, to="all", text="hello")["structured"]["value"]["messages"]
    assert [each["recipient"] for each in everyone] == [second]
    assert "unread: 2 messages" in ask("jobs", second)["text"]
    assert "unread" not in ask("jobs", first)["text"]
    number = sent[0]["number"]
    got = ask("session inbox", second)["structured"]["value"]
    assert [each["text"] for each in got["messages"]] == ["the rate is 3e-4", "hello"]
    assert ask("session inbox", first, of=second)["error"]
    assert ask("session ack", first, messages=[number])["error"]
    acked = ask("session ack", second, messages=[number])["structured"]["value"]["messages"]
    assert acked[0]["acked_by"] == second
    assert ask("session ack", second, messages=[number])["structured"]["value"]["messages"] == acked
    mine = ask("session inbox", first, sent=True, all=True)["structured"]["value"]["messages"]
    assert [(each["text"], each["acked_by"]) for each in mine] == [("the rate is 3e-4", second), ("hello", None)]
    assert "has ended" in ask("session send", first, to=ended, text="x")["text"]
    assert ask("session send", first, to="nobody", text="x")["error"]
    # A person sees all, and can answer.
    assert "the rate is 3e-4" in stoker("session", "inbox", "--all").out
    assert stoker("session", "send", first, "well done").code == 0
    assert "well done" in ask("session inbox", first)["text"]
    handed = ask("thread start", second, title="t")["structured"]["value"]["thread"]["id"]
    assert (
        ask("thread handoff", second, thread=handed, text="next: x", to=first)["structured"]["value"]["sent_to"]
        == first
    )
    assert f"the thread {handed} is handed over to you" in ask("session inbox", first)["text"]
    assert [t.created_by for t in stoker.session.store.memory.reading.threads("here")] == [second]
