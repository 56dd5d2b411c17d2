# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a caller may give wrongly: refused by the name of the option, before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from played import PlayedNodes

from stoker import Fleet
from stoker.errors import UsageError
from stoker.operations import events, jobs, queue, submit
from stoker.operations.session import Session

VAST = 10**30


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"retries": VAST}, f"--retries: {VAST} is not a number of at most 2,147,483,647"),
        ({"retries": -1}, "--retries: -1 is not a number of 0 or more"),
        ({"gpus": -1}, "--gpus: -1 is not a number of 0 or more"),
        ({"gpus": VAST}, f"--gpus: {VAST} is not a number of at most"),
        ({"cpus": float("nan")}, "--cpus: nan is not a number of more than 0 CPUs"),
        ({"cpus": 0}, "--cpus: 0 is not a number of more than 0 CPUs"),
        ({"timeout": 0}, "--timeout: 0 is not a duration of more than 0 seconds"),
        ({"timeout": "0s"}, "--timeout: '0s' is not a duration of more than 0 seconds"),
        ({"checkpoint_signal": "FOO"}, "--checkpoint-signal: 'FOO' is not a signal for this"),
        ({"on": ["n1"]}, "--on: ['n1'] is not a text"),
        ({"env": ["A"]}, "--env: ['A'] is not a mapping of names to texts"),
        ({"env": {"A": 1}}, "--env: {'A': 1} is not a mapping of names to texts"),
        ({"secret": "KEY"}, "--secret: 'KEY' is not a list of texts"),
        ({"name": 5}, "--name: 5 is not a text"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(session: Session, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as told:
        submit.run(session, ["true"], **options)
    assert sentence in told.value.message
    assert not session.store.jobs()


@pytest.mark.parametrize("argv", ["echo hi", [1, 2], ["echo", None], 5])
def test_a_command_is_a_list_of_texts(session: Session, argv: Any) -> None:
    with pytest.raises(UsageError, match="the command") as told:
        submit.run(session, argv)
    if isinstance(argv, str):
        assert told.value.next_step == "give a list, or script="
    assert not session.store.jobs()


@pytest.mark.parametrize("priority", [VAST, -VAST])
def test_a_priority_that_no_store_holds_is_refused(session: Session, priority: int) -> None:
    with pytest.raises(UsageError, match=rf"^--priority: {priority} is not a number of"):
        queue.add(session, ["true"], priority=priority)
    with pytest.raises(UsageError, match=r"^--max: "):
        queue.change(session, "q", max=VAST)


def test_one_state_may_be_given_as_a_text(session: Session) -> None:
    assert jobs.list_jobs(session, state="running").jobs == ()
    with pytest.raises(UsageError, match="there is no state 'foo'"):
        jobs.list_jobs(session, state="foo")


@pytest.mark.parametrize("since", ["-1", -1, VAST])
def test_events_begin_with_a_number_that_can_be_one(session: Session, since: Any) -> None:
    with pytest.raises(UsageError, match=rf"^--since: {since} is not the number of an event"):
        events.events(session, since=since)


def test_what_has_to_be_a_text_is_refused_otherwise() -> None:
    with pytest.raises(UsageError, match=r"^run: None is not a text$"):
        Fleet().runs.summary(None)  # type: ignore[arg-type]


def test_an_inventory_without_hosts_is_told_once(session: Session, nodes_played: PlayedNodes) -> None:
    assert session.whole_inventory.nodes
    assert nodes_played.said == []
    for name in ("localhost", "n1", "n2"):
        nodes_played.leave(name)
    assert not session.whole_inventory.nodes
    assert not session.whole_inventory.nodes
    assert nodes_played.said == ["inventory.yml names no host (next: write them under hosts:)"]
