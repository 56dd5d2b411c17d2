# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rented machines cost: a history of states comes to exact cents, and what is not known is named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.rented import cost
from stoker.store.instance_rows import IntervalRow

# 2026-03-01 22:00 UTC.
START = 1_772_402_400.0
HOUR = 3600.0


def interval(state: str, since_h: float, until_h: float | None, **more: Any) -> IntervalRow:
    fields: dict[str, Any] = {
        "instance": "a" * 12, "number": 1, "state": state, "since": START + since_h * HOUR,
        "until": None if until_h is None else START + until_h * HOUR, "gpu_rate": 0.389, "disk_rate": 0.004,
        "up_gb": 0.0, "down_gb": 0.0, "up_rate": 0.003, "down_rate": 0.002, "pool": "cheap", "job": "train-9x4c",
        "project": "proj", "submitted_by": "ada", **more,
    }  # fmt: skip
    return IntervalRow(**fields)


# One machine: 12 minutes of loading, 3 hours of work with 40 GB in and 12 GB out, outbid for half an hour, 45 minutes
# of work for another job, its host offline for an hour, frozen for 15 minutes, stopped for two days, and destroyed.
HISTORY = [
    interval("loading", 0, 0.2),
    interval("running", 0.2, 3.2, number=2, down_gb=40.0, up_gb=12.0),
    interval("stopped", 3.2, 3.7, number=3),
    interval("running", 3.7, 4.45, number=4, job="eval-81bb", submitted_by="bob", project="other"),
    interval("offline", 4.45, 5.45, number=5, job=None),
    interval("frozen", 5.45, 5.7, number=6, job=None, up_gb=1.0),
    interval("stopped", 5.7, 53.7, number=7, job=None),
]


@pytest.mark.accepts("V08")
def test_a_history_of_states_comes_to_exact_cents() -> None:
    whole = cost.of(HISTORY, START + 100 * HOUR)
    # By hand: GPU 3 + 0.75 + 0.25 hours; disk in all but the hour offline; 40 GB in, 13 GB out.
    gpu, disk, transfer = Decimal("4") * Decimal("0.389"), Decimal("52.7") * Decimal("0.004"), Decimal("0.119")
    assert (whole.gpu, whole.disk, whole.transfer) == (gpu, disk, transfer)
    assert whole.total == gpu + disk + transfer == Decimal("1.8858")
    assert (whole.cents, whole.unknown) == (Decimal("1.89"), ())


@pytest.mark.accepts("V08")
@pytest.mark.parametrize(
    ("state", "gpu", "disk"),
    [("loading", 0, 1), ("running", 1, 1), ("frozen", 1, 1), ("stopped", 0, 1), ("offline", 0, 0), ("unknown", 1, 1)],
)
def test_each_state_is_charged_as_the_provider_charges_it(state: str, gpu: int, disk: int) -> None:
    found = cost.of([interval(state, 0, 10, up_gb=100.0)], START + 10 * HOUR)
    assert (found.gpu, found.disk, found.transfer) == (gpu * Decimal("3.89"), disk * Decimal("0.04"), Decimal("0.3"))


@pytest.mark.accepts("V08")
def test_it_is_told_for_each_job_day_pool_project_and_user() -> None:
    end = START + 100 * HOUR
    jobs = {name: found.cents for name, found in cost.by(HISTORY, end, cost.job).items()}
    assert jobs == {"train-9x4c": Decimal("1.30"), "eval-81bb": Decimal("0.29"), None: Decimal("0.29")}
    users = {name: found.total for name, found in cost.by(HISTORY, end, cost.user).items()}
    assert users == {"ada": Decimal("1.8858") - Decimal("0.29475"), "bob": Decimal("0.29475")}
    assert set(cost.by(HISTORY, end, cost.project)) == {"proj", "other"}
    assert cost.by(HISTORY, end, cost.pool)["cheap"] == cost.of(HISTORY, end)
    days = {name: found.total for name, found in cost.by(HISTORY, end, cost.day).items()}
    assert list(days) == ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]
    # Up to midnight: 1.8 of 3 hours of work, 2 of disk, and as much of the traffic.
    spread = Decimal("0.6") * (40 * Decimal("0.002") + 12 * Decimal("0.003"))
    assert days["2026-03-01"] == Decimal("1.8") * Decimal("0.389") + 2 * Decimal("0.004") + spread
    assert days["2026-03-03"] == 24 * Decimal("0.004")
    assert sum(days.values()) == cost.of(HISTORY, end).total


def test_what_goes_on_counts_up_to_now_and_what_is_later_does_not_count() -> None:
    running = interval("running", 0, None)
    assert cost.of([running], START + HOUR).total == Decimal("0.393")
    assert cost.of([running], START - HOUR).total == 0
    assert cost.of([replace(running, until=START + 5 * HOUR)], START + HOUR).total == Decimal("0.393")
    today = cost.since([running], START + 2 * HOUR, START + 3 * HOUR)
    assert cost.of(today, START + 3 * HOUR).total == Decimal("0.393")


def test_a_rate_or_amount_that_is_not_known_is_no_zero() -> None:
    found = cost.of([interval("running", 0, 1, gpu_rate=None, down_gb=None)], START + HOUR)
    assert found.total == Decimal("0.004")
    assert found.unknown == (f"GPU of {'a' * 12}", f"transfer of {'a' * 12}")
    # Where traffic costs nothing it does not matter that nobody counted it.
    assert cost.of([interval("running", 0, 1, down_gb=None, down_rate=0.0)], START + HOUR).unknown == ()


@given(
    cuts=st.lists(st.floats(0.001, 200.0), max_size=8),
    states=st.lists(st.sampled_from(["loading", "running", "stopped", "offline", "unknown"]), min_size=9, max_size=9),
)
def test_how_a_time_is_cut_changes_no_cent(cuts: list[float], states: list[str]) -> None:
    edges = [0.0, *sorted(set(cuts)), 201.0]
    rows = [interval(states[i], start, stop, number=i) for i, (start, stop) in enumerate(pairwise(edges))]
    end = START + 300 * HOUR
    whole = cost.of(rows, end)
    parts = cost.by(rows, end, cost.day)
    assert abs(sum(part.total for part in parts.values()) - whole.total) < Decimal("0.00000001")
    assert whole.total <= Decimal("201") * Decimal("0.393")
