# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assistants that know of each other: sessions, messages and memory through real clients over stdio and HTTP."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed.assistant import Wire, assistant, over_http, over_stdio


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Cli]:
    """A command line whose one node is this machine."""
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        "all:\n  hosts:\n    here:\n      ansible_connection: local\n"
        f"      ansible_python_interpreter: {sys.executable}\n      stoker_state_dir: {tmp_path}/node\n"
    )
    cli = Cli(tmp_path, inventory)
    yield cli
    cli.close()


def sessions(cli: Cli) -> dict[str, dict[str, Any]]:
    """All sessions that the command line sees, by id."""
    listed = cli("session", "list", "--all", "--json").json()["sessions"]
    return {session["id"]: session for session in listed}


@pytest.mark.accepts("C56", "C28", "C29")
def test_two_assistants_see_each_other_share_a_thread_and_exchange_a_message(here: Cli) -> None:
    with (
        assistant(over_stdio(here.env, here.folder)) as one,
        assistant(over_stdio(here.env, here.folder), mode="legacy") as two,
    ):
        # Each is there from its start, and called what it calls itself once it has said so.
        until(lambda: [s["client"] for s in sessions(here).values()] == ["mcp", "mcp"], "the sessions", 180)
        seen = sessions(here)
        assert {(s["state"], s["via"], s["project"]) for s in seen.values()} == {("live", "stdio", here.folder.name)}
        assert len({s["pid"] for s in seen.values()}) == 2
        mine = {name: s for name, s in seen.items() if s["version"] is not None}
        assert len(mine) == 2
        (first,) = [s["id"] for s in one.value("memory", do="session list")["value"]["sessions"] if s["mine"]]
        (second,) = [s["id"] for s in two.value("memory", do="session list")["value"]["sessions"] if s["mine"]]
        assert {first, second} == set(seen)
        thread = one.value("memory_change", do="thread start", title="Find the rate")["value"]["thread"]["id"]
        for said in ("one", "two"):
            one.value("memory_change", do="thread think", thread=thread, text=said)
        one.value("memory_change", do="thread handoff", thread=thread, text="go on with 3e-4", to=second)
        assert "unread: 1 message" in two.call("jobs", do="jobs").content[0].text
        (message,) = two.value("memory", do="session inbox")["value"]["messages"]
        assert (message["sender"], thread in message["text"]) == (first, True)
        two.value("memory_change", do="session ack", messages=[message["number"]])
        (sent,) = one.value("memory", do="session inbox", sent=True, all=True)["value"]["messages"]
        assert sent["acked_by"] == second
        assert "unread" not in two.value("jobs", do="jobs")
        read = json.loads(two.ask("read_resource", "stoker://whereami").contents[0].text)["value"]
        assert [t["text"] for t in read["thoughts"]] == ["one", "two", "go on with 3e-4"]
        assert read["thoughts"][0]["by"] == first
        assert "go on with 3e-4" in Path(read["file"]).read_text()
    until(lambda: {s["state"] for s in sessions(here).values()} == {"ended"}, "the end of the sessions", 180)


@pytest.mark.accepts("C56")
def test_the_session_of_a_server_that_is_killed_has_ended(here: Cli) -> None:
    server = Wire(here.env, here.folder)
    try:
        until(lambda: [s["state"] for s in sessions(here).values()] == ["live"], "the session", 180)
        assert [s["client"] for s in sessions(here).values()] == [None]
        server.initialize()
        until(lambda: [s["client"] for s in sessions(here).values()] == ["test"], "the name of the client", 180)
        assert [s["pid"] for s in sessions(here).values()] == [server.process.pid]
        server.process.send_signal(signal.SIGKILL)
        until(lambda: [s["state"] for s in sessions(here).values()] == ["ended"], "its end", 180)
    finally:
        server.close()


@pytest.mark.accepts("C56")
def test_over_http_each_client_of_each_token_has_a_session(here: Cli) -> None:
    tokens = [here("token", "add", name, "--role", "operate", "--expires", "1h").out.strip() for name in ("ada", "bob")]
    served = here.start("mcp", "--http", "--listen", "127.0.0.1:0")
    try:
        assert served.stderr is not None
        said = b""
        while b"listening on " not in said:
            said += served.stderr.readline()
            assert served.poll() is None, said
        url = said.decode().partition("listening on ")[2].strip()
        with assistant(over_http(url, tokens[0])) as ada, assistant(over_http(url, tokens[1]), mode="legacy") as bob:
            (mine,) = [s for s in bob.value("memory", do="session list")["value"]["sessions"] if s["mine"]]
            assert (mine["who"], mine["via"], mine["pid"]) == ("bob", "http", served.pid)
            until(lambda: {s["who"] for s in sessions(here).values()} == {"ada", "bob"}, "the sessions", 180)
            ada.value("memory_change", do="session send", to=mine["id"], text="hello")
            got = bob.value("memory", do="session inbox")["value"]["messages"]
            assert [message["text"] for message in got] == ["hello"]
            # What is for one is not for the other.
            assert ada.value("memory", do="session inbox")["value"]["messages"] == []
            assert ada.call("memory_change", do="session ack", messages=[got[0]["number"]]).is_error
            bob.value("memory_change", do="session ack", messages=[got[0]["number"]])
    finally:
        served.send_signal(signal.SIGTERM)
        served.wait(90)
    until(lambda: {s["state"] for s in sessions(here).values()} == {"ended"}, "the end of the sessions", 180)
