# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node told of its versions, as `stoker update check` shows it."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.operations.updates import _side

TOLD: dict[str, Any] = {
    "wanted": "b" * 16, "used": "a" * 16, "kept": {"version": "a" * 16, "reason": "it failed", "at": 1.0},
    "python": "3.11.4", "state_dir": "/home/me/.stoker", "jobs": [], "ill": [],
    "versions": [{"version": "a" * 16, "brought_at": 1.0, "intact": True, "jobs": []}],
}  # fmt: skip


def test_a_note_without_a_reason_is_shown_all_the_same() -> None:
    side = _side("n1", TOLD | {"kept": {"version": "a" * 16}})
    assert (side.use, side.kept_reason) == ("kept", "it is not noted why")


@pytest.mark.parametrize("wrong", [{"kept": ["no note"]}, {"versions": None}, {"versions": [{}]}, {"jobs": 3}])
def test_an_answer_of_another_form_is_unknown(wrong: dict[str, Any]) -> None:
    assert _side("n1", TOLD).use == "kept"
    side = _side("n1", TOLD | wrong)
    assert (side.node, side.use, side.used) == ("n1", "unknown", None)
    assert "its answer cannot be understood" in str(side.unknown)
