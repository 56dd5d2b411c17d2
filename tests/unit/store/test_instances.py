# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rented machines in the store: the intent comes first, a change counts once, a dollar is put aside once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stoker.rented import budget, cost
from stoker.rented.reap import label
from stoker.store import Store
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
