# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trend and alerts, as rules over samples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.dispatch.telemetry import GB, Limits, Trend, judge, sample_of, trend
from stoker.store import AlertRow, SampleRow

LIMITS = Limits()


def sample(at: float, used: float | None, total: int = 100 * GB, **detail: Any) -> SampleRow:
    return SampleRow("n1", at, at, 5.0, 1.0, None if used is None else int(used), total, detail)


@pytest.mark.accepts("D05")
@given(st.floats(-5, 5), st.floats(5, 60), st.integers(3, 60), st.integers(0, 10**9))
def test_the_trend_of_a_line_is_its_slope(gb_per_min: float, every_s: float, count: int, start: int) -> None:
    samples = [
        sample(start + i * every_s, 50 * GB + i * every_s / 60 * gb_per_min * GB)
        for i in range(count)
        if i * every_s <= 590
    ]
    found = trend(samples)
    if len(samples) >= 3:
        assert found.gb_per_min == pytest.approx(gb_per_min, abs=1e-3)


@pytest.mark.accepts("D05")
@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([sample(0, GB)], "1 sample"),
        ([sample(0, GB), sample(60, 2 * GB)], "2 samples"),
        ([sample(0, None), sample(5, None), sample(10, GB)], "1 sample"),
        ([sample(0, GB), sample(1, GB), sample(3, GB)], "3 samples in 3 s"),
        ([sample(0, GB), sample(5, GB), sample(10, GB), sample(2000, GB)], "1 sample"),
    ],
)
def test_a_trend_of_too_little_is_unknown(samples: list[SampleRow], why: str) -> None:
    assert (trend(samples).gb_per_min, trend(samples).unknown) == (None, why)


def test_when_the_memory_is_full_is_said_only_of_a_line() -> None:
    line = [sample(i * 10, (90 + i) * GB) for i in range(6)]
    assert trend(line).full_in_s == pytest.approx(50)
    assert trend(line[:4]).full_in_s is None
    jumping = [sample(i * 10, (90 + (5 if i % 2 else 0) + i * 0.1) * GB) for i in range(9)]
    assert trend(jumping).full_in_s is None
    assert trend([sample(i * 10, (90 - i) * GB) for i in range(6)]).full_in_s is None


def open_after(*steps: dict[str, Any]) -> list[list[str]]:
    """The keys that each step raised (+) and cleared (-)."""
    raised: list[AlertRow] = []
    told = []
    for at, step in enumerate(steps):
        moving = step.pop("trend", Trend(None, 0, "no samples"))
        found = judge(sample(at, step.pop("used", None), **step), moving, raised, LIMITS)
        gone = {alert.key for alert, _ in found.cleared}
        raised = [alert for alert in raised if alert.key not in gone] + list(found.raised)
        told.append([f"+{alert.key}" for alert in found.raised] + [f"-{key}" for key in sorted(gone)])
    return told


@pytest.mark.accepts("V21")
def test_an_alert_is_raised_once_and_cleared_once() -> None:
    used = [50 * GB, 90 * GB, 91 * GB, 99 * GB, 90 * GB, None, 89 * GB, 88 * GB, 50 * GB, 95 * GB]
    told = open_after(*({"used": value} for value in used))
    assert told == [[], [], ["+memory"], [], [], [], [], ["-memory"], [], ["+memory"]]


@pytest.mark.accepts("V21")
def test_each_disk_and_gpu_has_an_alert_of_its_own() -> None:
    def disks(root: float | None, data: float | None) -> dict[str, Any]:
        return {"disks": [{"mount": "/", "used_pct": root}, {"mount": "/data", "used_pct": data}]}

    told = open_after(disks(50, 91), disks(93, 91), disks(93, None), {"disks": None}, disks(93, 80))
    assert told == [["+disk:/data"], ["+disk:/"], [], [], ["-disk:/data"]]
    gpus = [{"gpus": [{"index": 0, "uuid": "a", "temp_c": heat}]} for heat in (85, 86, 83, None, 82)]
    assert open_after(*gpus) == [[], ["+gpu:a"], [], [], ["-gpu:a"]]


def test_memory_that_fills_up_is_an_alert_until_it_stops() -> None:
    trends = [
        Trend(1.0, 9, full_in_s=29 * 60), Trend(None, 1, "1 sample"), Trend(1.0, 9, full_in_s=33 * 60),
        Trend(0.0, 9), Trend(0.0, 9),
    ]  # fmt: skip
    told = open_after(*({"trend": moving} for moving in trends))
    assert told == [["+memory_full"], [], [], ["-memory_full"], []]


def test_what_was_not_asked_is_no_sample() -> None:
    assert sample_of("n1", {"now": 1.0, "cpus": 4}, 2.0) is None
    found = sample_of("n1", {"now": 1.0, "memory": None, "memory_unknown": "no /proc"}, 2.0)
    assert found is not None
    assert (found.memory_used, found.detail["unknown"]) == (None, {"memory": "no /proc"})
