# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labelled suite: what is found, what is missed, and that healthy runs raise no alarm."""

from __future__ import annotations

from pathlib import Path

import curves
import measured as measuring
import publish
import pytest
from measured import Measured

PAGE = Path(__file__).parents[4] / "docs/detectors.md"

# (precision, recall of weak, clear and strong faults) that no change may go below. Weak ones are near the limits.
FLOORS = dict.fromkeys(curves.FAULTS, (0.95, 0.6, 0.95, 0.95)) | {
    "exploding_gradients": (0.95, 0.2, 0.95, 0.95),
    "spike": (0.9, 0.2, 0.75, 0.95),
    "no_warmup": (0.95, 0.3, 0.95, 0.95),
    "change_point": (0.85, 0.5, 0.95, 0.95),
    "plateau": (0.85, 0.7, 0.7, 0.95),
}


@pytest.mark.accepts("R08")
@pytest.mark.parametrize("name", list(curves.FAULTS))
def test_precision_and_recall_on_runs_that_no_limit_was_tuned_on(name: str, measured: Measured) -> None:
    score = measured.scores[name]
    precision, *recalls = FLOORS[name]
    assert sum(score.there.values()) == 3 * len(measuring.HELD_OUT)
    assert score.precision >= precision, dict(score.wrong_on)
    for strength, least in zip(curves.STRENGTHS, recalls, strict=True):
        assert score.recall(strength) >= least, strength


@pytest.mark.accepts("R08")
def test_healthy_runs_raise_no_alarm(measured: Measured) -> None:
    alarmed = {family: alarms for family, alarms in measured.alarmed.items() if alarms}
    assert sum(len(alarms) for alarms in alarmed.values()) <= 0.01 * sum(measured.healthy.values()), alarmed
    assert set(measured.healthy) == {curves.healthy(make, 0).family for make in curves.HEALTHY}


@pytest.mark.accepts("R08")
def test_the_published_figures_are_those_that_were_measured(measured: Measured) -> None:
    page = PAGE.read_text()
    for name, text in publish.parts(measured).items():
        assert publish.part_of(page, name) == text, f"python {Path(publish.__file__)} writes {PAGE.name} anew"


def test_no_seed_is_in_both_halves() -> None:
    assert set(measuring.TUNED_ON).isdisjoint(measuring.HELD_OUT)
