# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine is rented: one that fits, by what a run on it really costs, as far as earlier times tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.operations.rented_provider import seen_of
from stoker.pool_settings import Budget, Pool
from stoker.rented import budget, offers
from stoker.rented.offers import History
from stoker.store.instance_rows import InstanceRow, Ledger, MarkRow

POOL = Pool(price=0.5, image="a/b", gpu=("RTX 4090", "RTX 3090"), disk_gb=20.0, expected_s=7200.0)


def offer(machine: int, total: float = 0.30, **fields: Any) -> dict[str, Any]:
    """An offer as the provider's search gives it, its disk of 20 GB in the price."""
    return {
        "id": 1000 + machine, "machine_id": machine, "gpu_name": "RTX 4090", "num_gpus": 1, "gpu_ram": 24564,
        "cpu_cores_effective": 16.0, "cpu_ram": 64000, "disk_space": 400.0, "inet_up": 800.0, "inet_down": 900.0,
        "inet_up_cost": 0.003, "inet_down_cost": 0.002, "reliability2": 0.99, "verification": "verified",
        "hosting_type": 0, "geolocation": "Texas, US", "cuda_max_good": 12.8, "dph_total": total,
        "dph_base": total - 0.004, "min_bid": 0.1, "storage_cost": 0.144,
        "search": {"gpuCostPerHour": total - 0.004, "diskHour": 0.004, "totalHour": total}, **fields,
    }  # fmt: skip


def row_of(machine: int, **more: Any) -> InstanceRow:
    """An instance on that machine."""
    fields: dict[str, Any] = {
        "id": f"{machine:012x}", "label": "l", "pool": "cheap", "job": "train-9x4c", "kind": "on-demand", "offer": {},
        "machine_id": machine, "price": None, "gpu_rate": 0.2, "disk_rate": 0.01, "disk_gb": 20.0, "phase": "gone",
        "phase_since": 0.0, "created_at": 0.0, "expires_at": 86400.0, "lease_s": 1800.0, **more,
    }  # fmt: skip
    return InstanceRow(**fields)


def machines(found: list[offers.Ranked]) -> list[int]:
    return [each.offer["machine_id"] for each in found]


@pytest.mark.parametrize(
    "price", [-1.0, float("nan"), float("inf"), pytest.param(10**400, id="huge"), True, "0.3", None]
)
def test_a_price_that_is_none_is_not_known(price: Any) -> None:
    [why] = {offers.unfit(offer(1, dph_total=price, search={}, dph_base=None), POOL)}
    assert why == "do not say what they cost"
    listed = {"id": 7, "instance": {"gpuCostPerHour": price, "diskHour": 0.01}, "min_bid": price}
    seen = seen_of(listed, 1.0)
    # It is no sum's part: what was known of it before still counts.
    assert (seen.gpu_rate, seen.disk_rate, seen.min_bid) == (None, 0.01, None)


def test_the_search_asks_for_all_that_the_pool_says() -> None:
    pool = replace(
        POOL, gpus=2, gpu_memory_gb=20, cpu_cores=8, memory_gb=32, min_inet_mbps=200, cuda=12.4, datacenter=True
    )
    assert offers.query(pool, exclude=(9, 3)) == {
        "rentable": {"eq": True}, "rented": {"eq": False}, "external": {"eq": False}, "num_gpus": {"eq": 2},
        "disk_space": {"gte": 20.0}, "reliability2": {"gte": 0.95}, "dph_total": {"lte": 0.5},
        "gpu_ram": {"gte": 20000}, "cpu_ram": {"gte": 32000}, "cpu_cores_effective": {"gte": 8},
        "inet_down": {"gte": 200}, "inet_up": {"gte": 200}, "cuda_max_good": {"gte": 12.4},
        "gpu_name": {"in": ["RTX 4090", "RTX 3090"]}, "verified": {"eq": True}, "datacenter": {"eq": True},
        "machine_id": {"notin": [3, 9]},
    }  # fmt: skip
    assert offers.query(replace(POOL, kind="bid"))["min_bid"] == {"lte": 0.5}


@pytest.mark.accepts("V24")
def test_the_next_offer_is_on_another_machine_by_the_same_filters_and_within_the_budget() -> None:
    listed = [offer(1, 0.2), offer(2, 0.3), offer(3, 0.1, gpu_name="RTX 3060"), offer(4, 0.9), offer(5, 0.25)]
    first, second, third = offers.ranked(listed, POOL)
    assert machines([first, second, third]) == [1, 5, 2]
    # Machine 1 failed: the search leaves it out, and so does the choice, whatever the search answers.
    lost = row_of(1, problem="offline")
    assert offers.excluded([lost, row_of(2), row_of(5, problem="refused")]) == {1}
    assert offers.query(POOL, exclude=offers.excluded([lost]))["machine_id"] == {"notin": [1]}
    assert machines(offers.ranked(listed, POOL, exclude=[1])) == [5, 2]
    assert offers.ranked(listed, POOL, exclude=[1, 2, 5]) == []
    assert offers.why_none(listed, POOL, exclude=[1, 2, 5]) == (
        "of 5 offers none fits: 3 are machines that failed before, 1 have no RTX 4090 or RTX 3090, "
        "1 cost more than $0.5 per hour"
    )
    # What the first one has spent counts for the second one.
    row = replace(row_of(5), phase="intended", replaces=lost.id)
    nothing = Ledger((), (), ())
    assert not isinstance(budget.allows(Budget(per_day=1.0), row, second.usd_per_hour, POOL, nothing, 0.0, 3600), str)
    said = budget.allows(Budget(per_day=0.2), row, second.usd_per_hour, POOL, nothing, 0.0, 3600)
    assert str(said).startswith("the budget of $0.20 a day has $0.20 left, and $0.25 would be put aside for 1 h")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("gpu_ram", 8000, "have less than 20,000 MB of GPU memory"),
        ("gpu_ram", None, "have less than 20,000 MB of GPU memory"),
        ("num_gpus", 2, "have not 1 GPUs"), ("reliability2", 0.5, "have less than reliability 0.95"),
        ("verification", "unverified", "are not verified"), ("inet_up", 10.0, "have less than 200 Mbit/s from it"),
        ("cuda_max_good", 11.8, "have less than CUDA 12.4"), ("disk_space", 10, "have less than 20 GB of disk"),
        ("dph_total", None, "do not say what they cost"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_rented_and_the_reason_is_told(field: str, value: object, words: str) -> None:
    pool = replace(POOL, gpu_memory_gb=20, min_inet_mbps=200, cuda=12.4)
    assert offers.unfit(offer(1), pool) is None
    assert offers.unfit(offer(1, **{field: value}), pool) == words
    assert offers.why_none([offer(1, **{field: value})], pool).endswith(f"1 {words}")


@pytest.mark.accepts("V37")
def test_offers_are_ranked_by_what_a_run_costs_and_the_reason_is_shown() -> None:
    pool = replace(POOL, data_gb=50.0, checkpoint_gb=2.0, checkpoint_s=600.0)
    dear_traffic = offer(1, 0.20, inet_down_cost=0.02, inet_up_cost=0.02)
    fair = offer(2, 0.28)
    first, second = offers.ranked([dear_traffic, fair], pool)
    assert machines([first, second]) == [2, 1]
    # By hand: 2 h at 0.28, 50 GB in (1 h / 8.1 of staging, 0.1 dollars), 12 checkpoints of 2 GB out.
    assert first.usd_per_run > 2 * 0.28 + 50 * 0.002 + 24 * 0.003
    assert first.usd_per_hour_effective == pytest.approx(first.usd_per_run / 2)
    assert first.usd_per_hour == pytest.approx(0.28)
    assert first.why.startswith("RTX 4090 in Texas, US: $0.2800 per hour (disk $0.0040), $0.7")
    assert "traffic $0.17" in first.why
    assert "traffic $1.4" in second.why
    assert first.why.endswith("reliability 0.99; this machine was never rented before")


@pytest.mark.accepts("V37")
def test_what_is_known_of_a_machine_and_of_runs_decides() -> None:
    pool = replace(POOL, prefer_pct=0.0, checkpoint_s=3600.0)
    listed = [offer(1, 0.30), offer(2, 0.31), offer(3, 0.32)]
    assert machines(offers.ranked(listed, pool)) == [1, 2, 3]
    lossy = MarkRow(1, boots=4, boot_s=8000.0, failures=2, losses=6, run_s=12 * 3600.0, failed_at=1.0)
    good = MarkRow(3, boots=5, boot_s=300.0, run_s=900 * 3600.0)
    found = offers.ranked(listed, pool, History(marks={1: lossy, 3: good}))
    assert machines(found)[-1] == 1
    assert "4 times ready after 2000 s, 2 times never ready, lost 6 times in 12 h" in found[-1].why
    # A GPU that has done such a run in a third of the time may cost twice as much an hour.
    slow, fast = offer(1, 0.20, gpu_name="RTX 3090"), offer(2, 0.40)
    assert machines(offers.ranked([slow, fast], pool)) == [1, 2]
    known = History(run_s={"RTX 3090": 10800.0, "RTX 4090": 3600.0})
    quick, _ = offers.ranked([slow, fast], pool, known)
    assert quick.offer["machine_id"] == 2
    assert "for a run of 1 h" in quick.why


def test_of_offers_that_cost_alike_the_preferred_gpu_and_region_come_first() -> None:
    pool = replace(POOL, prefer_gpus=("RTX 4090",), prefer_regions=("DE", "US"), prefer_pct=10.0)
    listed = [
        offer(1, 0.300, gpu_name="RTX 3090", geolocation="Saxony, DE"), offer(2, 0.310, geolocation="Texas, US"),
        offer(3, 0.320, geolocation="Berlin, DE"), offer(4, 0.450, geolocation="Berlin, DE"), offer(5, 0.315),
    ]  # fmt: skip
    assert machines(offers.ranked(listed, pool)) == [3, 2, 5, 1, 4]
    assert machines(offers.ranked(listed, replace(pool, prefer_pct=0.0))) == [1, 2, 5, 3, 4]


def test_a_bid_that_wins_within_the_cap_is_offered() -> None:
    pool = replace(POOL, kind="bid", price=0.25, bid_step=0.02)
    (found,) = offers.ranked([offer(1, min_bid=0.1), offer(2, min_bid=0.3)], pool)
    assert (found.bid, found.disk_rate, round(found.usd_per_hour, 6)) == (0.12, 0.004, 0.124)
    (found,) = offers.ranked([offer(1, min_bid=0.1)], replace(pool, bid=0.2))
    assert found.bid == 0.2
    assert offers.unfit(offer(2, min_bid=0.3), pool) == "take no bid within $0.25 per hour"


@given(
    st.lists(
        st.fixed_dictionaries({
            "machine_id": st.one_of(st.none(), st.integers(1, 5)), "dph_total": st.one_of(st.none(), st.floats(0, 2)),
            "gpu_name": st.sampled_from(["RTX 4090", "RTX 3090", "H100", None]),
            "num_gpus": st.sampled_from([1, 2, None]),
            "reliability2": st.one_of(st.none(), st.floats(0, 1)), "inet_down": st.one_of(st.none(), st.floats(0, 9e9)),
            "search": st.sampled_from([None, {"diskHour": 0.01}, {}]),
            "verification": st.sampled_from(["verified", None]),
        }),
        max_size=12,
    ),
    st.sets(st.integers(1, 5), max_size=3),
)  # fmt: skip
def test_no_choice_ever_leaves_the_filters_the_cap_or_the_exclusions(rows: list[dict[str, Any]], out: set[int]) -> None:
    listed = [{**offer(1), **row, "id": number} for number, row in enumerate(rows)]
    found = offers.ranked(listed, replace(POOL, data_gb=1.0), exclude=out)
    for each in found:
        assert each.offer["machine_id"] not in out
        assert each.offer["gpu_name"] in POOL.gpu
        assert each.usd_per_hour <= POOL.price
        assert each.usd_per_run >= each.usd_per_hour * 2 > 0 or each.usd_per_hour == 0
    costs = [each.usd_per_run for each in found]
    assert not costs or costs[0] <= min(costs) * 1.1 + 1e-9
