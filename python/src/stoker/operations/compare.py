"""Two jobs side by side: what their metrics came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Freshness, Job, Metric, Problem
from stoker.operations.views import freshness_of, jobs_of

FIGURES = ("last", "min", "max", "first")


@dataclass(frozen=True)
class Difference:
    """One figure of one metric in both jobs; None in `a` or `b`: that job has no such number.

    `delta` is b - a and `percent` is delta in hundredths of the size of a (so that its sign says up or down also where
    a is negative). `percent_unknown` says why there is no percent though there are two numbers: the base is 0, or the
    quotient is no number. A metric that is not a number (nan) makes a delta that is not a number, never a 0.
    """

    a: float | None
    b: float | None
    delta: float | None
    percent: float | None
    percent_unknown: str | None = None


@dataclass(frozen=True)
class MetricDifference:
    """One metric: `figures` by name, `last`, `min`, `max` and `first`."""

    name: str
    figures: Mapping[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """Two jobs and the metrics that either has, by name."""

    a: Job
    b: Job
    metrics: tuple[MetricDifference, ...]
    freshness: Freshness
    problems: tuple[Problem, ...] = ()


@operation("jobs", "compare", "read")
def compare(session: Session, a: str, b: str, *, live: bool = False) -> Comparison:
    """Compare the metrics of two jobs: last, lowest, highest and first value of each, with the difference.

    Args:
        a: Id of the job to compare with, or the beginning of it.
        b: Id of the other job, or the beginning of it.
        live: Ask their nodes first.
    """
    ids = [job_row(session, named).id for named in (a, b)]
    problems = make_round(session, "observe", jobs=list(dict.fromkeys(ids))) if live else ()
    first, second = jobs_of(session, [job_row(session, job) for job in ids])
    freshness = freshness_of((first, second), live=live)
    return Comparison(first, second, differences(first.metrics, second.metrics), freshness, problems)


def differences(a: Mapping[str, Metric], b: Mapping[str, Metric]) -> tuple[MetricDifference, ...]:
    """The metrics that either has, by name."""
    return tuple(
        MetricDifference(
            name, {figure: difference(_figure(a.get(name), figure), _figure(b.get(name), figure)) for figure in FIGURES}
        )
        for name in sorted({*a, *b})
    )


def difference(a: float | None, b: float | None) -> Difference:
    """From `a` to `b`."""
    if a is None or b is None:
        return Difference(a, b, None, None)
    delta = b - a
    if a == 0:
        return Difference(a, b, delta, None, "the base is 0")
    percent = delta / abs(a) * 100
    if not math.isfinite(percent):
        return Difference(a, b, delta, None, "not a finite number")
    return Difference(a, b, delta, percent)


def _figure(metric: Metric | None, name: str) -> float | None:
    return getattr(metric, name) if metric is not None else None
