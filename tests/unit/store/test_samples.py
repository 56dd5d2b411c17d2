# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples in the store: read back, thinned out, gone in the end; alerts with their history."""

from __future__ import annotations

from itertools import pairwise

from stoker.store import AlertRow, SampleRow, Store


def sample(at: float, node: str = "n1") -> SampleRow:
    return SampleRow(node, at, at - 0.5, 12.5, 0.5, 3 << 40, 4 << 40, {"disks": [{"mount": "/\0", "used_pct": 1.5}]})


def add(store: Store, *samples: SampleRow, keep_s: float = 1e6) -> None:
    for one in samples:
        with store.write() as transaction:
            transaction.add_sample(one, keep_s)


def test_a_sample_comes_back_as_it_was(store: Store) -> None:
    add(store, sample(10.0), sample(20.0, "n2"), sample(15.0))
    assert [(s.node, s.at) for s in store.samples.since(0)] == [("n1", 10.0), ("n1", 15.0), ("n2", 20.0)]
    found = store.samples.newest("n1")
    assert found is not None
    assert (found.node_at, found.cpu_pct, found.load, found.memory_used, found.memory_total) == (
        14.5, 12.5, 0.5, 3 << 40, 4 << 40)  # fmt: skip
    assert found.detail["disks"] == [{"mount": "/\0", "used_pct": 1.5}]
    assert store.samples.newest("n3") is None
    assert [s.node for s in store.samples.since(0, ["n2"])] == ["n2"]
    assert store.samples.since(20.5) == []


def test_old_samples_are_thinned_and_the_oldest_removed(store: Store) -> None:
    start = 1_000_000.0
    add(store, *(sample(start + i * 20) for i in range(90)), sample(start, "n2"))
    assert len(store.samples.since(0, ["n1"])) == 90
    # An hour after the first half hour: of that one a minute is left.
    add(store, sample(start + 3600 + 1800))
    left = [s.at for s in store.samples.since(0, ["n1"])]
    assert 30 <= len(left) <= 32
    assert left[0] == start
    assert min(later - earlier for earlier, later in pairwise(left)) >= 40
    # A day later one for ten minutes.
    add(store, sample(start + 90000))
    assert 4 <= len(store.samples.since(0, ["n1"])) <= 6
    add(store, sample(start + 90000 + 70), keep_s=3600.0)
    assert [s.at - start for s in store.samples.since(0)] == [90000.0, 90070.0]


def test_alerts_are_told_by_events_too(store: Store) -> None:
    alert = AlertRow("n1", "disk:/data", 10.0, "disk /data is 93% full")
    with store.write() as transaction:
        transaction.raise_alert(alert)
    assert store.samples.alerts() == [alert]
    with store.write() as transaction:
        transaction.clear_alert(alert, 25.0, "disk /data is 50% full")
    assert store.samples.alerts() == []
    assert [(e.type, e.at, e.node, e.data["text"]) for e in store.events()] == [
        ("alert.raised", 10.0, "n1", "disk /data is 93% full"),
        ("alert.cleared", 25.0, "n1", "disk /data is 50% full"),
    ]
    assert store.events()[1].data["raised_s"] == 15.0
