# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is named of a hub."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.operations.hub import source_of


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("hf:org/Tiny-1.5", ("models", "org/Tiny-1.5")), ("hf:gpt2", ("models", "gpt2")),
        ("hf:datasets/squad", ("datasets", "squad")), ("hf:datasets/org/squad.v2", ("datasets", "org/squad.v2")),
    ],
)  # fmt: skip
def test_with_and_without_an_organisation(source: str, named: tuple[str, str]) -> None:
    assert source_of(source) == named


@pytest.mark.parametrize(
    "source", ["org/Tiny", "hf:", "hf:/x", "hf:a/b/c", "hf:..", "hf:a/..", "hf:datasets/", "hf:a b"]
)
def test_what_names_nothing_of_a_hub_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match="is nothing of a hub"):
        source_of(source)
