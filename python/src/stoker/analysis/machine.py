"""Curve and machine: what is odd in the step rate and the curve, beside what the machine did in the same seconds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stoker.analysis.detectors.throughput import busiest
from stoker.analysis.findings import Finding
from stoker.analysis.machine_events import events_of
from stoker.analysis.machine_values import MachineEvent, MachinePart, Meeting, RunMachine
from stoker.analysis.model import Floats, Metric, Run
from stoker.analysis.phrases import number
from stoker.analysis.words import importance

# The run is looked at in so many parts of equal time at most, each with so many points at least.
PARTS, LEAST_POINTS = 60, 5
# A part is slow where its rate is so much below the usual one, and so many of the usual deviations.
DROP, DEVIATIONS = 0.25, 4.0
# What began so long before is of the same seconds: samples come at intervals.
_LEAD_S = 15.0
_POINTS_OF_CURVE = ("spike", "divergence", "not_finite", "change_point", "exploding_gradients", "instability")


@dataclass(frozen=True)
class _Pace:
    """Steps over time, both growing."""

    steps: Floats
    times: Floats

    def step_at(self, at: Floats | float) -> Any:
        return np.interp(at, self.times, self.steps)

    def time_of(self, step: float) -> float:
        return float(np.interp(step, self.steps, self.times))


def meet(
    run: Run, findings: Sequence[Finding], told: Mapping[str, Any], alerts: Sequence[MachineEvent], rows: int
) -> RunMachine:
    """Join a run, all of whose points are here, with what its node told of the machine (`told`) and its alerts."""
    unknown = list(_gaps(told))
    events = [*events_of(told), *alerts]
    pace = _pace(run)
    if isinstance(pace, str):
        return RunMachine(run.info, None, None, (), tuple(events), (), told["count"], (pace, *unknown))
    near = max(_LEAD_S, 2 * told["interval_s"])
    usual, falls = _falls(pace)
    meetings = [_fall(run, pace, usual, begin, end) for begin, end in falls]
    meetings += [_odd(run, pace, finding) for finding in findings if finding.detector in _POINTS_OF_CURVE]
    joined = [_joined(one, events, told["samples"], near) for one in sorted(meetings, key=lambda one: one.at)]
    name = min(run.metrics, key=lambda key: (importance(key), key))
    parts = tuple(_parts(pace, run.metrics[name], told["samples"], rows))
    return RunMachine(
        run.info, name, usual, parts, tuple(sorted(events, key=lambda event: event.at)), tuple(joined), told["count"],
        tuple(unknown),
    )  # fmt: skip


def _gaps(told: Mapping[str, Any]) -> Iterator[str]:
    """What of the machine is not known, and why."""
    if not told["count"]:
        yield "the job has no samples yet: what its machine did is unknown"
    if not told["gpus"]:
        yield "the job has no GPU of its own, so nothing is known of GPUs"
    if told["xids_unknown"]:
        yield f"Xid errors are unknown: {told['xids_unknown']}"
    reasons = dict.fromkeys(sample["gpus_unknown"] for sample in told["samples"] if sample["gpus_unknown"])
    yield from (f"some samples say nothing of GPUs: {reason}" for reason in reasons)
    if any(gpu["throttle"] is None for sample in told["samples"] for gpu in sample["gpus"] or ()):
        yield "some samples do not say whether the GPU was throttled: its driver does not tell"


def _pace(run: Run) -> _Pace | str:
    """Steps over time by the metric that was logged most often; a sentence where they cannot be told."""
    name = busiest(run)
    if name is None:
        return "its writer notes no times, so its step rate is unknown"
    metric = run.metrics[name]
    assert metric.times is not None
    known = np.isfinite(metric.times)
    steps, times = metric.steps[known], metric.times[known]
    # Of what was written again after a resume the later steps count.
    order = np.argsort(times, kind="stable")
    steps, times = np.maximum.accumulate(steps[order]), times[order]
    keep = np.r_[True, np.diff(times) > 0]
    steps, times = steps[keep], times[keep]
    if len(times) < 4 * LEAST_POINTS or steps[-1] <= steps[0]:
        return f"its step rate cannot be told: {len(times)} points with times, {4 * LEAST_POINTS} needed"
    return _Pace(steps, times)


def _edges(pace: _Pace, most: int) -> Floats:
    count = max(2, min(most, len(pace.times) // LEAST_POINTS))
    return np.linspace(pace.times[0], pace.times[-1], count + 1)


def _falls(pace: _Pace) -> tuple[float, list[tuple[float, float]]]:
    """The usual rate, and from when to when it was slower."""
    edges = _edges(pace, PARTS)
    width = float(edges[1] - edges[0])
    rates = np.diff(pace.step_at(edges)) / width
    usual = float(np.median(rates))
    deviation = 1.4826 * float(np.median(np.abs(rates - usual)))
    slow = (usual - rates) > max(DROP * usual, DEVIATIONS * deviation)
    slow[0] = False  # what is done once: compiling, filling caches
    marks = np.flatnonzero(np.diff(np.r_[0, slow.astype(int), 0]))
    pairs = zip(marks[::2].tolist(), marks[1::2].tolist(), strict=True)
    return usual, [_ends(pace, usual, float(edges[a]) - width, float(edges[b]) + width) for a, b in pairs]


def _ends(pace: _Pace, usual: float, begin: float, end: float) -> tuple[float, float]:
    """Where exactly it is slow between two times: the first and the last of the intervals that are."""
    rates = np.diff(pace.steps) / np.diff(pace.times)
    # The middle one of three: a single interval is chance.
    padded = np.r_[rates[:1], rates, rates[-1:]]
    middle = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    longest = np.diff(pace.times) > 3 / usual
    low = ((middle < (1 - DROP) * usual) | ((rates < (1 - DROP) * usual) & longest)) & (pace.times[1:] > begin)
    places = np.flatnonzero(low & (pace.times[:-1] < end))
    if not len(places):
        return begin, end
    return float(pace.times[places[0]]), float(pace.times[places[-1] + 1])


def _fall(run: Run, pace: _Pace, usual: float, begin: float, end: float) -> Meeting:
    first, last = float(pace.step_at(begin)), float(pace.step_at(end))
    rate = (last - first) / max(end - begin, 1e-9)
    until = "its end" if end >= pace.times[-1] else clock(run, end)
    says = (
        f"step rate fell by {max(0.0, 1 - rate / usual):.0%} at {clock(run, begin)} (step {number(round(first))}), "
        f"from {number(usual)} to {number(rate)} steps/s, until {until}"
    )
    return Meeting(begin, end, first, "step rate", says, ())


def _odd(run: Run, pace: _Pace, finding: Finding) -> Meeting:
    step = finding.first_step if finding.first_step is not None else float(pace.steps[-1])
    worst = finding.steps[0] if finding.detector == "spike" and finding.steps else step
    at = pace.time_of(worst)
    end = at if finding.detector == "spike" or finding.last_step is None else pace.time_of(finding.last_step)
    # Of what stays so to the end, only its beginning is of the same seconds as anything.
    end = min(end, at + 2 * _LEAD_S)
    return Meeting(at, end, worst, f"{finding.detector} of {finding.metric}", f"{finding.says} ({clock(run, at)})", ())


def _joined(one: Meeting, events: Sequence[MachineEvent], samples: Sequence[Mapping[str, Any]], near: float) -> Meeting:
    """With what began in its seconds, or why that is not known."""
    begin, end = one.at - near, one.until + near
    meanwhile = tuple(event for event in events if begin <= event.at <= min(end, one.at + near))
    unknown = None
    if not any(begin <= sample["t"] <= end for sample in samples):
        unknown = "there is no sample of the machine from these seconds"
    elif not meanwhile:
        unknown = "nothing that the samples show began in these seconds"
    return Meeting(one.at, one.until, one.step, one.of, one.says, meanwhile, unknown)


def _parts(pace: _Pace, metric: Metric, samples: Sequence[Mapping[str, Any]], rows: int) -> Iterator[MachinePart]:
    edges = _edges(pace, rows)
    finite = metric.finite()
    for begin, end in itertools.pairwise(edges.tolist()):
        first, last = float(pace.step_at(begin)), float(pace.step_at(end))
        inside = (finite.steps >= first) & ((finite.steps < last) | (end == edges[-1]))
        loss = float(finite.values[inside].mean()) if inside.any() else None
        here = [sample for sample in samples if begin <= sample["t"] < end]
        gpus = [gpu for sample in here for gpu in sample["gpus"] or ()]
        throttled = sorted({word for gpu in gpus for word in gpu["throttle"] or () if word != "idle"})
        yield MachinePart(
            begin, end - begin, first, (last - first) / (end - begin), loss, _mean([gpu["util_pct"] for gpu in gpus]),
            max((gpu["temp_c"] for gpu in gpus if gpu["temp_c"] is not None), default=None), tuple(throttled),
            _mean([sample["cpu_pct"] for sample in here]),
            max((sample["io_pct"] for sample in here if sample["io_pct"] is not None), default=None), len(here),
        )  # fmt: skip


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [number_ for number_ in numbers if number_ is not None]
    return sum(known) / len(known) if known else None


def clock(run: Run, at: float) -> str:
    """The time of day here, with the date where it is not today's."""
    ahead = run.info.seen.ahead_s if run.info.seen is not None else 0.0
    here, today = time.localtime(at - ahead), time.localtime()
    return time.strftime("%H:%M:%S" if here[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", here)
