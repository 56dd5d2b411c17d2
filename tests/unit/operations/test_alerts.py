# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts of nodes: each told once when it begins and once when it is over, and silences that outlast a restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stoker.errors import NotFound, UsageError
from stoker.operations import alerts, inbox, notify
from stoker.operations.session import Session
from stoker.store import AlertRow, NodeRow

# The file is a target whose messages are never sent, so that what is due can be seen.
RULES = """\
notify:
  targets: {team: {url_env: NO_SUCH_VARIABLE}}
  rules:
    - {events: [node.*, alert.*], to: [team, inbox]}
"""


@pytest.fixture
def told(session: Session) -> Session:
    """A session with rules, whose targets are told from now on."""
    Path("stoker.yml").write_text(RULES)
    session.forget_config()
    notify.send(session)
    return session


def node(session: Session, name: str, kind: str, at: float) -> None:
    """A node goes away or comes back, as a round writes it."""
    away = at if kind == "offline" else None
    with session.store.write() as transaction:
        transaction.put_node(NodeRow(name, {}, 1.0, away, "no route to host", 9, None, at, away))
        transaction.event(f"node.{kind}", at, node=name)


def due(session: Session, now: float) -> list[str]:
    """What the team would be sent at that moment; nothing of it is sent."""
    rows = session.store.notices.claim(["team"], 99, now, now=now)
    return [row.title for row in rows]


def waiting(session: Session) -> int:
    return session.store.notices.counts().get("team", {}).get("due", 0)


@pytest.mark.accepts("C53")
def test_an_outage_is_told_once_and_its_end_once(told: Session) -> None:
    now = time.time()
    node(told, "n1", "offline", now - 100)
    notify.send(told)
    assert due(told, now) == ["node n1 offline"]
    notify.send(told)
    assert waiting(told) == 1
    node(told, "n1", "online", now - 50)
    notify.send(told)
    assert due(told, now + 1) == ["node n1 offline", "node n1 online"]


@pytest.mark.accepts("C53")
def test_one_that_comes_and_goes_is_told_again_after_five_minutes_and_only_if_it_is_so_then(told: Session) -> None:
    now = time.time()
    for at, kind in ((-60, "offline"), (-50, "online"), (-40, "offline"), (-30, "online"), (-20, "offline")):
        node(told, "n1", kind, now + at)
    notify.send(told)
    first = ["node n1 offline", "node n1 online"]
    assert due(told, now) == first
    assert due(told, now + 239) == first
    # The outage that lasts is not lost: five minutes after the first one it is told.
    assert due(told, now + 241) == [*first, "node n1 offline"]
    assert told.store.notices.counts()["team"] == {"due": 3, "left_out": 2}


@pytest.mark.accepts("C53")
def test_a_silence_outlasts_a_restart_and_critical_alerts_are_still_written_down(told: Session) -> None:
    now = time.time()
    node(told, "n1", "online", now - 10)
    node(told, "n2", "online", now - 10)
    notify.send(told)
    told.store.notices.give_up(now, now=now)
    assert alerts.squelch(told, "n1*", "30m").squelch.nodes == ("n1",)
    other = Session(store_url=str(told.store_url))
    node(other, "n1", "offline", now)
    node(other, "n2", "offline", now)
    with other.store.write() as transaction:
        transaction.raise_alert(AlertRow("n1", "memory", now, "memory is 95% used"))
        transaction.event("node.joined", now, node="n1")
    notify.send(other)
    assert due(other, now + 1) == ["node n2 offline"]
    # Critical: written down and in the inbox; a full memory is only written down.
    assert [mail.title for mail in inbox.list_inbox(other, limit=2).messages] == ["node n2 offline", "node n1 offline"]
    assert {"node.offline", "alert.raised"} <= {event.type for event in other.store.events(node="n1")}
    shown = alerts.alerts(other)
    assert [(one.node, one.key, one.squelched_until is not None) for one in shown.alerts] == [
        ("n1", "offline", True), ("n2", "offline", False), ("n1", "memory", True),
    ]  # fmt: skip
    # What is still so is told when the silence is over, whoever looks then.
    assert due(other, now + 1799) == ["node n2 offline"]
    assert sorted(due(other, now + 1802)) == ["alert n1 raised", "node n1 offline", "node n2 offline"]
    other.close()


@pytest.mark.accepts("C53")
def test_what_is_over_before_the_silence_is_never_told_and_an_end_by_hand_tells_the_rest(told: Session) -> None:
    now = time.time()
    alerts.squelch(told, "n1", 3600)
    alerts.squelch(told, "n2", 3600)
    for name in ("n1", "n2"):
        node(told, name, "offline", now + 1)
    node(told, "n1", "online", now + 2)
    notify.send(told)
    assert due(told, now + 3) == []
    assert alerts.squelch(told, "n2", end=True).ended
    assert due(told, now + 3) == ["node n2 offline"]
    assert alerts.squelch(told, "n1", end=True).ended
    assert due(told, now + 4) == ["node n2 offline"]
    assert alerts.alerts(told).squelches == ()


def test_what_is_due_when_a_silence_begins_waits_too_however_long_it_lasts(told: Session) -> None:
    now = time.time()
    node(told, "n1", "offline", now - 5)
    notify.send(told)
    alerts.squelch(told, "n*", "7d")
    assert due(told, now + 5 * 86400) == []
    assert told.store.notices.give_up(now + 6 * 86400, now=now + 7 * 86400) == 0
    assert due(told, now + 7 * 86400 + 60) == ["node n1 offline"]


def test_bad_silences_are_refused_with_the_next_step(told: Session) -> None:
    node(told, "spark", "offline", time.time())
    with pytest.raises(UsageError, match=r"no node is called 'sparc'\. Did you mean 'spark'"):
        alerts.squelch(told, "sparc")
    with pytest.raises(UsageError, match="30 days at most"):
        alerts.squelch(told, "spark", "99d")
    with pytest.raises(UsageError, match="is not a duration"):
        alerts.squelch(told, "spark", "soon")
    with pytest.raises(NotFound, match="'spark' is not silenced"):
        alerts.squelch(told, "spark", end=True)
