# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of rented machines: what they say, and the sentence where one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.config_check import validated
from stoker.marked import ConfigError
from stoker.operations import settings
from stoker.operations.session import Session
from stoker.pool_settings import Budget, ImageLogin, Pool

GOOD = """\
pools:
  cheap:
    image: pytorch/pytorch:2.9
    gpu: [RTX 4090, RTX 3090]
    price: 0.5
    kind: bid
    bid: 0.2
    prefer_regions: [DE, US]
    image_login: {server: ghcr.io, user_env: GHCR_USER, password_env: GHCR_TOKEN}
    env: {MODE: hunter2hunter2}
budget: {per_job: 5, per_day: 20}
"""


def test_pools_and_budgets_are_read() -> None:
    found = validated(GOOD, Path("stoker.yml"))
    assert found.budget == Budget(per_job=5.0, per_day=20.0)
    assert found.pools == {
        "cheap": Pool(
            price=0.5, image="pytorch/pytorch:2.9", gpu=("RTX 4090", "RTX 3090"), kind="bid", bid=0.2,
            prefer_regions=("DE", "US"), env={"MODE": "hunter2hunter2"},
            image_login=ImageLogin("ghcr.io", "GHCR_USER", "GHCR_TOKEN"),
        )
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("price: half a dollar", "4: pools.cheap.price: 'half a dollar' is not a number of dollars per hour"),
        ("price: .nan", "4: pools.cheap.price: nan is not a number of dollars per hour"),
        ("price: 0", "4: pools.cheap.price: 0 is not from 0.001 to 128 dollars per hour"),
        ("price: 1\n    mim: 2", "5: pools.cheap.mim: there is no such setting. Did you mean 'min'?"),
        ("gpus: 1", "2: pools.cheap: price is missing"),
        ("price: 1\n    kind: reserved", "5: pools.cheap.kind: 'reserved' is not on-demand or bid"),
        ("price: 1\n    bid: 0.1", "5: pools.cheap.bid: is for pools of kind: bid; this one rents on-demand"),
        ("price: 1\n    kind: bid\n    bid: 2", "6: pools.cheap.bid: 2 is above the price of 1: it is the most"),
        ("price: 1\n    min: 2", "5: pools.cheap.min: 2 is more than max, 1"),
        ("price: 1\n    disk_gb: 5", "5: pools.cheap.disk_gb: 5.0 is not a number of GB, 8 or more"),
        ("price: 1\n    min_reliability: 98", "5: pools.cheap.min_reliability: 98 is not a share from 0 to 1"),
        ("price: 1\n    env: {A B: x}", "5: pools.cheap.env.A B: is no name for a variable"),
        ("price: 1\n    env: {A: " + "x" * 257 + "}", "5: pools.cheap.env.A: has 257 characters; the provider"),
        ("price: 1\n    onstart: " + "x" * 5000, "5: pools.cheap.onstart: has 5,000 characters; there is room"),
        (
            "price: 1\n    image_login: {server: s, user_env: U, password_env: my password}",
            "5: pools.cheap.image_login.password_env: is no name for a variable: the value itself is not",
        ),
        ("price: 1\n  Spot-1: {image: x, price: 1}", "5: pools.Spot-1: is no name for a pool: small letters"),
        ("price: 1\nbudget: {per_day: much}", "5: budget.per_day: 'much' is not a number of dollars, more"),
        ("price: 1\nbudget: {per_day: 0}", "5: budget.per_day: 0.0 is not a number of dollars, more than 0"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_with_its_place(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as wrong:
        validated(f"pools:\n  cheap:\n    image: a/b\n    {line}\n", tmp_path / "stoker.yml")
    assert str(wrong.value).startswith(f"stoker.yml:{said}")


def test_no_value_of_the_environment_of_a_pool_is_shown(session: Session) -> None:
    Path("stoker.yml").write_text(GOOD)
    shown = {entry.key: entry.value for entry in settings.get(session, "pools").settings}
    assert shown["pools.cheap.env.MODE"] == "[redacted]"
    assert shown["pools.cheap.image_login.password_env"] == "GHCR_TOKEN"
    assert shown["pools.cheap.price"] == 0.5
