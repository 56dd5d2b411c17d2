# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a pattern means."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import NotFound, UsageError
from stoker.runner import Inventory, InventoryNode
from stoker.runner.listing import inventory_of

INVENTORY = Inventory(
    Path("/etc/inventory.yml"),
    tuple(InventoryNode(name) for name in ("spark", "rtx-01", "rtx-02", "rtx-03")),
    {"gpu": ("spark", "rtx-01", "rtx-02"), "rented": ("rtx-02", "rtx-03")},
)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("all", ["spark", "rtx-01", "rtx-02", "rtx-03"]),
        ("spark", ["spark"]),
        ("rtx-03,spark", ["spark", "rtx-03"]),
        ("rented", ["rtx-02", "rtx-03"]),
        ("gpu:&rented", ["rtx-02"]),
        ("gpu,!rented", ["spark", "rtx-01"]),
        ("!rented", ["spark", "rtx-01"]),
        ("rtx-*", ["rtx-01", "rtx-02", "rtx-03"]),
        ("~rtx-0[12]", ["rtx-01", "rtx-02"]),
        ("gpu[0]", ["spark"]),
        ("gpu[1:2]", ["rtx-01", "rtx-02"]),
        ("gpu[-1]", ["rtx-02"]),
        ("rtx-0[12]", ["rtx-01", "rtx-02"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert INVENTORY.match(pattern) == names


def test_an_unknown_name_is_said_with_the_nearest_one() -> None:
    with pytest.raises(UsageError) as caught:
        INVENTORY.match("sparc")
    assert str(caught.value) == (
        "no node or group 'sparc' in inventory.yml. Did you mean 'spark'? (stoker nodes lists them)"
    )


@pytest.mark.parametrize("pattern", ["", " , ", "zzz*", "spark,nope", "all:!nope"])
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        INVENTORY.match(pattern)


def test_a_node_by_name() -> None:
    assert INVENTORY.node("spark").name == "spark"
    with pytest.raises(NotFound, match="Did you mean 'rtx-01'"):
        INVENTORY.node("rtx01")


def test_groups_hold_their_childrens_nodes_and_secrets_are_left_out() -> None:
    listing = {
        "_meta": {
            "hostvars": {
                "a": {
                    "ansible_host": "10.0.0.1",
                    "ansible_password": "s3cret",
                    "ansible_become_pass": "s3cret",
                    "ansible_ssh_private_key_file": "~/.ssh/id",
                    "ansible_ssh_private_key": "s3cret",
                    "stoker_vault": {"__ansible_vault": "s3cret"},
                    "stoker_api_token": "s3cret",
                    "stoker_keep": True,
                    "other": 1,
                }
            }
        },
        "all": {"children": ["ungrouped", "site"]},
        "site": {"children": ["gpu"], "hosts": ["b"]},
        "gpu": {"hosts": ["a"]},
    }
    inventory = inventory_of(Path("i.yml"), listing)
    assert inventory.groups == {"site": ("b", "a"), "gpu": ("a",)}
    assert dict(inventory.node("a").vars) == {
        "ansible_host": "10.0.0.1",
        "ansible_ssh_private_key_file": "~/.ssh/id",
        "stoker_keep": True,
    }
    assert inventory.node("a").groups == ("gpu", "site")
