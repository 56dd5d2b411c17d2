# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages in the store: one for an event and a target, ever; each is sent by one of several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from stoker.store import Store

NOW = 1_000_000.0


def notice(seq: int, topic: str = "", **more: object) -> dict[str, object]:
    return {
        "seq": seq, "at": NOW + seq, "topic": topic or f"t{seq}", "title": "title\0", "body": "body", "mood": "info",
        "urgent": False, "cooldown_s": 0.0, **more,
    }  # fmt: skip


def test_an_event_makes_one_message_for_a_target(store: Store) -> None:
    store.notices.begin(["team"], 3)
    store.notices.begin(["team", "ops"], 9)
    assert {name: row.seen for name, row in store.notices.targets().items()} == {"team": 3, "ops": 9}
    assert store.notices.add("team", 6, [notice(5), notice(6)], now=NOW) == 2
    assert store.notices.add("team", 6, [notice(5)], now=NOW) == 0
    assert store.notices.add("team", 8, [notice(6), notice(8)], now=NOW) == 1
    assert store.notices.add("ops", 5, [notice(5)], now=NOW) == 0
    assert store.notices.due() == ["team"]
    assert store.notices.counts() == {"team": {"due": 3}}


def test_what_was_just_told_is_left_out_by_the_time_of_the_events(store: Store) -> None:
    store.notices.begin(["team"], 0)
    made = [notice(seq, "node n1", cooldown_s=300.0) for seq in (1, 200, 301, 400)]
    assert store.notices.add("team", 400, made, now=NOW) == 2
    assert [row.seq for row in store.notices.claim(["team"], 9, NOW + 60, now=NOW)] == [1, 301]


def test_of_several_that_send_each_gets_others(store: Store) -> None:
    store.notices.begin(["team"], 0)
    store.notices.add("team", 20, [notice(seq) for seq in range(1, 21)], now=NOW)
    with ThreadPoolExecutor(4) as several:
        claimed = list(several.map(lambda _: store.notices.claim(["team"], 5, NOW + 60, now=NOW), range(4)))
    assert sorted(row.seq for rows in claimed for row in rows) == list(range(1, 21))
    assert store.notices.claim(["team"], 5, NOW + 120, now=NOW + 59) == []
    # Who claimed them was killed.
    assert len(store.notices.claim(["team"], 5, NOW + 120, now=NOW + 61)) == 5


def test_one_that_failed_waits_behind_the_others_until_it_is_given_up(store: Store) -> None:
    store.notices.begin(["team"], 0)
    store.notices.add("team", 2, [notice(1), notice(2, urgent=True)], now=NOW)
    store.notices.release(1, "team", tried=True, detail="refused")
    assert [row.seq for row in store.notices.claim(["team"], 9, NOW, now=NOW)] == [2, 1]
    assert [row.seq for row in store.notices.claim(["team"], 9, NOW, now=NOW + 1, urgent_only=["team"])] == [2]
    store.notices.end(2, "team", "sent", now=NOW)
    assert store.notices.give_up(NOW + 1.5, now=NOW) == 1
    assert store.notices.counts() == {"team": {"failed": 1, "sent": 1}}
    for _ in range(2):
        store.notices.went("team", now=NOW, failed="refused", next_try=NOW + 10)
    target = store.notices.targets()["team"]
    assert (target.failures, target.failing_since, target.detail) == (2, NOW, "refused")
    store.notices.went("team", now=NOW + 5, failed=None)
    target = store.notices.targets()["team"]
    assert (target.failures, target.failing_since, target.next_try, target.sent_at) == (0, None, None, NOW + 5)


def test_a_place_in_what_was_heard_only_moves_on(store: Store) -> None:
    store.notices.begin(["@telegram"], 0)
    assert store.notices.reached("@telegram", 5)
    assert not store.notices.reached("@telegram", 5)
    assert not store.notices.reached("@telegram", 4)
    seq = store.notices.receive("telegram:1", "hello", now=NOW)
    assert store.notices.mark("inbox", None, "read_at", now=NOW) == [seq]
    assert store.notices.mark("inbox", [seq], "read_at", now=NOW) == []
    assert [row.body for row in store.notices.newest("inbox", 5)] == ["hello"]
    assert store.counts()["notices"] == 1
