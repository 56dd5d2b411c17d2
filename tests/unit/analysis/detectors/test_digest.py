# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on what a node sends of a run: with all points that of the file, with a digest never another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import curves
import measured as measuring
import numpy as np
import pytest
from asked import the_run
from curves import Curve, Written

from ansible_collections.stoker.fleet.plugins.module_utils import run_info
from ansible_collections.stoker.fleet.plugins.module_utils.run_files import Source
from stoker.analysis import remote, statistics, verdict
from stoker.analysis.findings import RunCheck
from stoker.analysis.model import Run
from stoker.analysis.values import Seen

ENDED = {"state": "succeeded", "evidence": "exit record: exit 0", "exit_code": 0}
CURVES = list(measuring.all_curves(range(1000, 1001)))


def sent(path: Path, *, full: bool = False, limit: int = run_info.ROOM_BYTES, **observation: Any) -> Run:
    """What a node says of a file, as the controller reads it."""
    one = run_info._File(Source("jsonl", str(path), path.name), None, False, full)
    one.grow()
    told = [one.report_head(str(path.parent))]
    columns = run_info._metrics([one], told, full, limit)
    seen = Seen("n1", "train-1", 1, 0.0, 0.0, 0, full, str(path.parent), "", 0)
    run = {"files": told, "columns": columns, "notes": []}
    (found,) = remote.runs_of(run, {**ENDED, **observation}, seen)
    assert found.run is not None
    return found.run


def judged(run: Run) -> RunCheck:
    return verdict.check(run, curves.NOW)


@pytest.mark.accepts("B01")
def test_all_points_of_the_labelled_suite_give_the_verdict_of_the_file(written: Written) -> None:
    for curve in CURVES:
        path = written(curve) / "metrics.jsonl"
        here = the_run(path)
        there = sent(path, full=True)
        assert list(there.metrics) == list(here.metrics)
        for name, metric in here.metrics.items():
            assert np.array_equal(metric.values, there.metrics[name].values, equal_nan=True), (curve.family, name)
        assert outcomes(judged(there)) == outcomes(judged(here)), curve.family


def outcomes(told: RunCheck) -> dict[tuple[str, str], object]:
    """By detector and metric what was found. How the run ended is told by other evidence there."""
    found: dict[tuple[str, str], object] = {(c.detector, c.metric): c.outcome for c in told.checks}
    found.update({(f.detector, f.metric): (f.says, f.steps, f.evidence, f.count) for f in told.findings})
    return {key: value for key, value in found.items() if key[0] != "silence"}


@pytest.mark.accepts("B01")
def test_a_digest_of_the_labelled_suite_gives_the_same_verdict_or_says_that_it_cannot(written: Written) -> None:
    unsure = 0
    for curve in CURVES:
        path = written(curve) / "metrics.jsonl"
        whole, digest = outcomes(judged(the_run(path))), outcomes(judged(sent(path)))
        for key, outcome in digest.items():
            if outcome == "cannot tell":
                unsure += whole.get(key) != "cannot tell"
            elif key[0] == "not_finite" and isinstance(outcome, tuple):
                # The places beyond the first ones are counted, not listed.
                says, _steps, *rest = whole[key]  # type: ignore[misc]
                assert (outcome[0], list(outcome[2:])) == (says, rest), (curve.family, key)
            else:
                assert outcome == whole[key], (curve.family, key)
    assert unsure, "these curves are too short to be digested"


@pytest.mark.accepts("B01")
def test_the_figures_of_a_digest_are_those_of_all_points(written: Written) -> None:
    for curve in CURVES[:12]:
        path = written(curve) / "metrics.jsonl"
        here, there = the_run(path), sent(path, limit=2000)
        assert any(metric.figures is not None for metric in there.metrics.values())
        for name, metric in here.metrics.items():
            exact, told = statistics.stats(metric, {}), statistics.stats(there.metrics[name], {})
            for figure in ("count", "nan", "inf", "first", "last", "min", "max", "best"):
                assert getattr(exact, figure) == getattr(told, figure), (curve.family, name, figure)
            for figure in ("mean", "std"):
                assert getattr(told, figure) == pytest.approx(getattr(exact, figure), rel=1e-9), (name, figure)


@pytest.mark.accepts("B01")
def test_what_is_whole_in_a_digest_is_judged(written: Written) -> None:
    curve: Curve = CURVES[0]
    path = written(curve) / "metrics.jsonl"
    there = sent(path, limit=10_000_000)
    assert all(metric.figures is None for metric in there.metrics.values())
    assert outcomes(judged(there)) == outcomes(judged(the_run(path)))
