# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.operations import quantities


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1 h 30 m", 5400), ("0.5", 0.5), ("500ms", 0.5),
        (7, 7), ("7d", 604800),
    ],
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert quantities.seconds(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "2 hours ago", "-5", "1h30x", "2,5h", "inf", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--timeout: .* is not a duration"):
        quantities.seconds(text, "--timeout")


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 * 1024**3), ("512M", 512 * 1024**2), ("1024", 1024), ("1.5 GiB", 1.5 * 1024**3), (42, 42)],
)
def test_sizes(text: str | int, size: float) -> None:
    assert quantities.size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "G", "8X", "-1", "0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        quantities.size(text, "--memory")
