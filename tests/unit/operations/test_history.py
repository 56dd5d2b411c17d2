# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics against figures worked out by hand, and the comparison of two jobs."""

from __future__ import annotations

import math

import pytest
from played import PlayedNodes

from stoker.errors import NotFound, UsageError
from stoker.operations import compare, stats, submit
from stoker.operations.session import Session

# template, node, state, seconds
HISTORY = [
    ("train", "n1", "succeeded", 10.0), ("train", "n1", "succeeded", 20.0), ("train", "n2", "failed", 3.0),
    ("train", "n2", "lost", None), ("train", "n1", "cancelled", 1000.0), ("train", "n1", "running", 5000.0),
    ("eval", "n2", "dead", 4.0), ("eval", "n2", "cancelled", 0.5),
    (None, "n1", "succeeded", 1.0), (None, None, "queued", None), ("idle", None, "queued", None),
]  # fmt: skip


@pytest.fixture
def history(session: Session, nodes_played: PlayedNodes) -> Session:
    for template, node, state, seconds in HISTORY:
        job = session.store.add_job("a", {"argv": ["true"]}, template=template)
        if node is not None:
            nodes_played.show(job.id, state, node=node, elapsed_s=seconds)
    return session


def told(figures: stats.JobFigures) -> tuple[object, ...]:
    counts = figures.jobs, figures.finished, figures.succeeded, figures.cancelled, figures.unfinished
    return *counts, figures.runtime_avg_s, figures.runtime_min_s, figures.runtime_max_s


@pytest.mark.accepts("D30")
def test_figures_by_template_are_those_worked_out_by_hand(history: Session) -> None:
    found = stats.stats(history)
    assert {f.group: told(f) for f in found.groups} == {
        "train": (6, 4, 2, 1, 1, 11.0, 3.0, 20.0),
        "eval": (2, 1, 0, 1, 0, 4.0, 4.0, 4.0),
        "idle": (1, 0, 0, 0, 1, None, None, None),
        None: (2, 1, 1, 0, 1, 1.0, 1.0, 1.0),
    }
    assert [f.group for f in found.groups] == ["train", "eval", "idle", None]
    assert {f.group: f.success_rate for f in found.groups} == {"train": 0.5, "eval": 0.0, "idle": None, None: 1.0}
    assert {f.group: f.runtime_known for f in found.groups} == {"train": 3, "eval": 1, "idle": 0, None: 1}
    assert told(found.total) == (11, 6, 3, 2, 3, 7.6, 1.0, 20.0)
    assert found.total.success_rate == 0.5


@pytest.mark.accepts("D30")
def test_figures_by_node_are_those_worked_out_by_hand(history: Session) -> None:
    found = stats.stats(history, by="node")
    assert {f.group: told(f) for f in found.groups} == {
        "n1": (5, 3, 3, 1, 1, 31 / 3, 1.0, 20.0),
        "n2": (4, 3, 0, 1, 0, 3.5, 3.0, 4.0),
        None: (2, 0, 0, 0, 2, None, None, None),
    }


def test_figures_of_the_last_stretch_of_time(history: Session) -> None:
    assert stats.stats(history, since="1h").total.jobs == 11
    history.store.add_job("old", {"argv": ["true"]}, now=1.0)
    assert stats.stats(history, since="1h").total.jobs == 11
    assert stats.stats(history).total.jobs == 12
    with pytest.raises(UsageError, match="--since"):
        stats.stats(history, since="yesterday")


def test_statistics_of_nothing(session: Session) -> None:
    assert (stats.stats(session).groups, stats.stats(session).total.success_rate) == ((), None)


@pytest.mark.accepts("D29")
def test_two_jobs_are_compared_over_all_metrics_that_either_has(session: Session, nodes_played: PlayedNodes) -> None:
    a, b = (submit.run(session, ["x"], on="n1").job.id for _ in "ab")
    loss = {"count": 3, "first": 4.0, "last": 2.0, "min": 1.0, "max": 4.0}
    better = {"count": 3, "first": 4.0, "last": 1.5, "min": 1.5, "max": 5.0}
    nodes_played.show(a, "succeeded", metrics={"loss": loss, "only_a": {"count": 1, "last": 1.0}})
    nodes_played.show(b, "running", metrics={"loss": better, "acc": {"count": 1, "last": 0.5}})
    found = compare.compare(session, a, b)
    assert (found.a.id, found.b.id, [m.name for m in found.metrics]) == (a, b, ["acc", "loss", "only_a"])
    figures = {m.name: m.figures for m in found.metrics}
    assert list(figures["loss"]) == ["last", "min", "max", "first"]
    assert {name: (d.a, d.b, d.delta, d.percent) for name, d in figures["loss"].items()} == {
        "last": (2.0, 1.5, -0.5, -25.0), "min": (1.0, 1.5, 0.5, 50.0), "max": (4.0, 5.0, 1.0, 25.0),
        "first": (4.0, 4.0, 0.0, 0.0),
    }  # fmt: skip
    assert figures["acc"]["last"] == compare.Difference(None, 0.5, None, None)
    assert figures["only_a"]["last"] == compare.Difference(1.0, None, None, None)
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        compare.compare(session, a, "nope")


@pytest.mark.accepts("D29")
def test_a_percentage_is_said_only_where_there_is_one() -> None:
    assert compare.difference(0.0, 0.5) == compare.Difference(0.0, 0.5, 0.5, None, "the base is 0")
    assert compare.difference(0.0, 0.0) == compare.Difference(0.0, 0.0, 0.0, None, "the base is 0")
    assert compare.difference(-2.0, -1.0) == compare.Difference(-2.0, -1.0, 1.0, 50.0)
    assert compare.difference(2.0, -1.0).percent == -150.0
    for a, b in ((math.nan, 1.0), (1.0, math.nan), (1.0, math.inf), (math.inf, math.inf), (5e-324, 1.0)):
        found = compare.difference(a, b)
        assert (found.percent, found.percent_unknown) == (None, "not a finite number")
        assert found.delta != 0
    assert math.isnan(compare.difference(math.nan, 1.0).delta or 0)
