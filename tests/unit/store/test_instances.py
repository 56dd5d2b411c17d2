# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rented machines in the store: the intent comes first, a change counts once, a dollar is put aside once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stoker.pool_settings import Budget, Pool
from stoker.rented import budget, changes, cost
from stoker.rented.reap import label
from stoker.store import Store, open_store
from stoker.store.dispatchers import SupersededError
from stoker.store.instance_rows import InstanceRow, Ledger, MarkRow, ReservationRow

NOW = 1_000_000.0


def intent(store: Store, number: int = 1, job: str | None = "train-9x4c", **more: object) -> InstanceRow:
    name = f"{number:012x}"
    fields: dict[str, object] = {
        "id": name, "label": label(store.instances.store_id(), name), "pool": "cheap", "job": job,
        "kind": "on-demand", "offer": {"id": 7, "gpu_name": "RTX 4090"}, "machine_id": 70, "price": None,
        "gpu_rate": 0.3, "disk_rate": 0.01, "disk_gb": 20.0, "phase": "intended", "phase_since": NOW,
        "created_at": NOW, "expires_at": NOW + 86400, "lease_s": 1800.0, "why": "the cheapest", **more,
    }  # fmt: skip
    return InstanceRow(**fields)  # type: ignore[arg-type]


def test_an_intent_is_there_before_anything_is_rented_and_its_way_is_told(store: Store) -> None:
    assert store.instances.store_id() == store.instances.store_id()
    row = intent(store)
    assert store.instances.add(row) is None
    stored = store.instances.get(row.id)
    assert stored is not None
    assert replace(stored, offer=row.offer) == row
    assert stored.offer["gpu_name"] == "RTX 4090"
    asked = store.instances.change(row, {"phase": "asked", "asked_at": NOW}, now=NOW + 1)
    assert asked is not None
    # Whoever looked before the change is too late: it does not send a second create.
    assert store.instances.change(row, {"phase": "asked"}, now=NOW + 2) is None
    gone = store.instances.change(asked, {"phase": "gone", "evidence": "instances: null"}, {"by": "me"}, now=NOW + 3)
    assert gone is not None
    assert not gone.live
    assert store.instances.all() == []
    assert [each.phase for each in store.instances.all(live=False)] == ["gone"]
    events = [(event.type, event.job_id, event.data.get("evidence")) for event in store.events()]
    told = [("instance.intended", row.job, None), ("instance.asked", row.job, None)]
    assert events == [*told, ("instance.gone", row.job, "instances: null")]


def test_what_somebody_wants_by_hand_is_not_undone_by_a_turn_that_began_before(store: Store) -> None:
    row = intent(store, phase="reachable", provider_id=101, wish=changes.START)
    assert store.instances.add(row) is None
    assert store.instances.change(row, changes.unwanted("destroy")) is not None
    # The turn waited for its ssh meanwhile, and takes it for one that is to be there.
    assert store.instances.change(row, changes.provisioned(row, "vast-101", NOW), now=NOW) is None
    after = store.instances.get(row.id)
    assert after is not None
    assert (after.phase, after.wish) == ("reachable", "destroy")
    # What has nothing to do with that is written down as before.
    assert store.instances.change(row, {"evidence": "being set up"}) is not None
    again = store.instances.get(row.id)
    assert again is not None
    assert (again.wish, store.instances.change(again, {"wish": None}) is not None) == ("destroy", True)


def test_a_job_is_never_given_two_instances(store: Store) -> None:
    with ThreadPoolExecutor(4) as several:
        said = list(several.map(lambda number: store.instances.add(intent(store, number)), range(1, 5)))
    assert said.count(None) == 1
    (held,) = store.instances.all()
    assert {text for text in said if text is not None} == {f"train-9x4c has the instance {held.id} (intended)"}
    # One that is on its way out may still run: only when it was shown gone may another one come.
    going = store.instances.change(held, {"phase": "destroying"})
    assert going is not None
    assert store.instances.add(intent(store, 5)) is not None
    assert store.instances.change(going, {"phase": "gone"}) is not None
    assert store.instances.add(intent(store, 5, replaces=held.id)) is None
    assert store.instances.add(intent(store, 6, job=None)) is None
    assert store.instances.add(intent(store, 7, job=None)) is None
    assert [row.id for row in store.instances.of_job("train-9x4c")] == [held.id, f"{5:012x}"]


def test_two_that_rent_at_once_cannot_both_have_the_last_dollar(store: Store) -> None:
    limits, pool = Budget(per_day=1.0), Pool(price=0.5, image="a/b")

    def rent(number: int) -> str | None:
        row = intent(store, number, job=f"train-{number}")
        aside = ReservationRow(row.id, 0.6, NOW, row.job, None)

        def allow(ledger: Ledger) -> str | None:
            said = budget.allows(limits, row, 0.3, pool, ledger, NOW, seconds=7200)
            return said if isinstance(said, str) else None

        return store.instances.add(row, aside, allow, day=cost.day_start(NOW))

    with ThreadPoolExecutor(4) as several:
        said = list(several.map(rent, range(1, 5)))
    assert said.count(None) == 1
    assert all("put aside for 2 h" in text for text in said if text is not None)
    (aside,) = store.instances.reservations()
    assert store.instances.settle(aside.instance, 0.41, now=NOW + 9)
    assert not store.instances.settle(aside.instance, 9.0)
    assert store.instances.reservations() == []
    (settled,) = store.instances.reservations(unsettled=False)
    assert (settled.settled, settled.settled_at) == (0.41, NOW + 9)
    assert [event.data["dollars"] for event in store.events(types=["budget.*"])] == [0.41]


@pytest.mark.accepts("V08")
def test_times_in_each_state_are_kept_and_come_to_what_is_billed(store: Store) -> None:
    row = intent(store, gpu_rate=0.389, disk_rate=0.004, project="proj", submitted_by="ada")
    store.instances.add(row)
    assert not store.instances.put_transfer(row.id, 1.0, 1.0)
    for at, state in ((0, "loading"), (720, "running"), (900, "running"), (11520, "stopped")):
        changed = store.instances.put_interval(row, state, NOW + at, up_rate=0.003, down_rate=0.002)
        assert changed == (at != 900)
        if state != "loading":
            assert store.instances.put_transfer(row.id, 12.0 if state == "running" else 0.0, 0.0)
        else:
            store.instances.put_transfer(row.id, 0.0, 40.0)
    gone = store.instances.change(row, {"phase": "gone"}, now=NOW + 13320)
    assert gone is not None
    found = store.instances.intervals(row.id)
    assert [(each.number, each.state, each.since - NOW, (each.until or 0) - NOW) for each in found] == [
        (1, "loading", 0.0, 720.0), (2, "running", 720.0, 11520.0), (3, "stopped", 11520.0, 13320.0),
    ]  # fmt: skip
    # 3 h of GPU, 3.7 h of disk, 40 GB in and 12 GB out.
    assert str(cost.of(found, NOW + 99999).total.normalize()) == "1.2978"
    assert cost.by(found, NOW + 99999, cost.user)["ada"].cents == cost.of(found, NOW + 99999).cents
    assert store.instances.intervals(since=NOW + 11520) == found[2:]
    ledger = store.instances.ledger("train-9x4c", None, day=NOW + 99999)
    assert ledger.intervals == tuple(found)
    assert store.instances.ledger("other", "proj", day=NOW + 99999).intervals == tuple(found)
    assert store.instances.ledger("other", None, day=NOW + 99999).intervals == ()


def test_a_change_of_job_or_rate_begins_a_new_interval_and_no_time_is_negative(store: Store) -> None:
    row = intent(store)
    store.instances.add(row)
    store.instances.put_interval(row, "running", NOW)
    assert store.instances.put_interval(replace(row, job=None), "running", NOW + 5)
    assert store.instances.put_interval(replace(row, job=None, gpu_rate=0.4), "running", NOW - 100)
    found = [(each.job, each.gpu_rate, each.since, each.until) for each in store.instances.intervals(row.id)]
    assert found == [("train-9x4c", 0.3, NOW, NOW + 5), (None, 0.3, NOW + 5, NOW + 5), (None, 0.4, NOW + 5, None)]


def test_a_problem_is_told_once_with_its_beginning(store: Store) -> None:
    row = intent(store, phase="ready", provider_id=101)
    store.instances.add(row)
    lost = store.instances.change(row, {"problem": "offline", "evidence": "actual offline\0"}, now=NOW + 7)
    assert lost is not None
    assert (lost.problem, lost.problem_since) == ("offline", NOW + 7)
    assert store.instances.change(lost, {"evidence": "still"}, now=NOW + 8) is not None
    back = store.instances.change(lost, {"problem": None}, now=NOW + 9)
    assert back is not None
    assert back.problem_since is None
    told = [(event.type, event.data.get("problem")) for event in store.events(types=["instance.*"])]
    assert told[1:] == [("instance.problem", "offline"), ("instance.recovered", None)]


def test_what_a_machine_did_is_added_up(store: Store) -> None:
    store.instances.mark(MarkRow(70, boots=1, boot_s=200.0))
    store.instances.mark(MarkRow(70, losses=1, run_s=3600.0, failed_at=NOW))
    store.instances.mark(MarkRow(70, boots=1, boot_s=100.0, run_s=60.0))
    assert store.instances.marks() == {70: MarkRow(70, boots=2, boot_s=300.0, losses=1, run_s=3660.0, failed_at=NOW)}


def test_a_leader_of_before_changes_nothing(store: Store) -> None:
    first, _presence = store.dispatchers.join("desk", os.getpid(), 20.0)
    epoch = store.dispatchers.lead(first, None, "nobody leads")
    row = intent(store)
    fenced = store.under(epoch)
    assert fenced.instances.add(row) is None
    leader = next(one for one in store.dispatchers.list() if one.leader)
    second, _other = store.dispatchers.join("desk", os.getpid(), 20.0)
    assert store.dispatchers.lead(second, leader, "it was silent")
    with pytest.raises(SupersededError):
        fenced.instances.change(row, {"phase": "asked"})
    stored = store.instances.get(row.id)
    assert stored is not None
    assert stored.phase == "intended"


def test_what_somebody_wanted_of_a_machine_is_taken_out_of_its_reason(store: Store, store_url: str) -> None:
    reasons = ["by hand: RTX 4090", "to be stopped: RTX 4090", "RTX 4090", None]
    for number, why in enumerate(reasons):
        assert store.instances.add(intent(store, number, job=None, why=why)) is None
    with store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE instances DROP COLUMN wish")
        connection.exec_driver_sql("UPDATE stoker_version SET version_num = '0020'")
    with open_store(store_url) as migrated:
        found = [(row.wish, row.why) for row in migrated.instances.all()]
    assert found == [("start", "RTX 4090"), ("stop", "RTX 4090"), (None, "RTX 4090"), (None, None)]
