"""When a run will be done, what it will come to, and what of its GPU time was waste."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stoker.analysis import planned
from stoker.analysis.detectors import subjects
from stoker.analysis.detectors.throughput import busiest
from stoker.analysis.findings import Finding, RunCheck
from stoker.analysis.forecasts import Advice, Idle, Projection, RunForecast
from stoker.analysis.intervals import mean_interval
from stoker.analysis.model import Metric, Run
from stoker.analysis.projection import project

IDLE_PERCENT = 10.0
_UTILISATION = re.compile(r"(gpu|cuda).*(util(i[sz]ation)?|busy|\.gpu$)|util.*gpu", re.IGNORECASE)
_NOT_UTILISATION = re.compile(r"mem|power|temp", re.IGNORECASE)
_PARTS = 10
# A pause so many times longer than is usual is a stop, and a training that goes on does not make it again.
_STOP = 100.0
# No time between two points is longer: 30 years.
_LONGEST = 1e9
_PROJECTED = 4
# What ends the use of a run: what comes after the step is lost time.
_LOST_FROM = {"overfit": "best_step", "divergence": "best_step", "not_finite": "", "plateau": ""}


@dataclass(frozen=True)
class _Speed:
    """Seconds per step with an interval, how long it stood still, and why it is not known."""

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    stopped_s: float = 0.0
    unknown: str | None = None


@np.errstate(all="ignore")  # what overflows is infinite, and no answer is made of that
def forecast(run: Run, told: RunCheck, now: float, steps: float | None = None) -> RunForecast:
    """The course of a run up to `steps` (None: as its settings say); `told` is the verdict on it."""
    total, known_by = _total(run, steps)
    name = busiest(run)
    speed = _speed(run.metrics[name]) if name else _Speed(unknown="its files have no times, so its speed is not known")
    left, why = _left(run, total, known_by)
    why = why or speed.unknown
    over = run.info.state.name in ("finished", "failed", "cancelled")
    remaining, low, high = (
        None if why or left is None or each is None else left * each for each in (speed.seconds, speed.low, speed.high)
    )
    ends = run.last_time + remaining if remaining and run.last_time is not None else None
    values = tuple(_projections(run, total)) if total is not None and left and not over else ()
    return RunForecast(
        run.info, run.last_step, total, known_by, speed.seconds, remaining, low, high, ends, speed.stopped_s, why,
        values, tuple(_idle(run)), tuple(_advice(run, told)), _scheduled(run), now,
    )  # fmt: skip


def _left(run: Run, total: float | None, known_by: str) -> tuple[float | None, str | None]:
    """(steps that are to come, why that is not known)."""
    last, state = run.last_step, run.info.state.name
    if last is None:
        return None, "it has no point yet"
    if total is None:
        return None, "how many steps it takes is not in its settings: --steps"
    left = max(0.0, total - last)
    if left and state in ("finished", "failed", "cancelled"):
        return None, f"it {state} at step {last:,g}, {left:,g} steps before {known_by}"
    return left, None


def _total(run: Run, asked: float | None) -> tuple[float | None, str]:
    """How many steps it takes, and how that is known."""
    if asked is not None:
        return asked, f"the {asked:,g} that were asked for"
    found = planned.total_steps(run.info.config)
    if found is not None:
        return found.value, f"{found.key} {found.value:,g}"
    epochs, epoch = planned.total_epochs(run.info.config), run.metrics.get("epoch")
    if epochs is not None and epoch is not None and len(epoch) > 1:
        finite = epoch.finite()
        gone = finite.last - float(finite.values[0]) if len(finite) > 1 else 0.0
        if gone > 0:
            each = (finite.last_step - float(finite.steps[0])) / gone
            total = finite.last_step + each * max(0.0, epochs.value - finite.last)
            return float(round(total)), f"{epochs.key} {epochs.value:,g} at {each:,.4g} steps each"
    return None, ""


def _speed(metric: Metric) -> _Speed:
    """By the newest half of the points.

    The interval is that of ten stretches, which hold validations and checkpoints as they come; stops are left out.
    """
    assert metric.times is not None
    keep = np.isfinite(metric.times)
    times, steps = metric.times[keep], metric.steps[keep]
    half = len(times) // 2
    seconds, moved = np.clip(np.diff(times), -_LONGEST, _LONGEST), np.diff(steps)
    usual = float(np.median(seconds[seconds > 0])) if (seconds > 0).any() else 0.0
    stops = seconds > max(_STOP * usual, 600.0)
    stopped = float(seconds[stops].sum())
    seconds, moved = seconds[half:][~stops[half:]], moved[half:][~stops[half:]]
    if len(seconds) < 2 * _PARTS:
        return _Speed(stopped_s=stopped, unknown=f"{len(times)} points with a time, {4 * _PARTS + 2} needed")
    if moved.sum() <= 0 or seconds.sum() <= 0:
        return _Speed(stopped_s=stopped, unknown="its steps or its times stand still")
    bounds = np.linspace(0, len(seconds), _PARTS + 1).astype(int)[:-1]
    spent, gone = np.add.reduceat(seconds, bounds), np.add.reduceat(moved, bounds)
    each = float(seconds.sum() / moved.sum())
    rates = mean_interval([float(s / g) for s, g in zip(spent, gone, strict=True) if g > 0], 0.9)
    if rates is None:
        return _Speed(each, stopped_s=stopped)
    return _Speed(each, max(0.0, rates.low), rates.high, stopped)


def _projections(run: Run, total: float) -> Iterator[Projection]:
    """Of the losses that fall and of validation: the most important ones."""
    names = list(dict.fromkeys([*subjects.training_losses(run), *subjects.validations(run)]))
    count = 0
    for name in names:
        found = project(run.metrics[name], total)
        if found is not None and count < _PROJECTED:
            count += 1
            yield found


def _scheduled(run: Run) -> str | None:
    """A remark where the learning rate moves: the curve need not go on as it did."""
    for name in subjects.rates(run):
        rate = run.metrics[name].finite()
        if len(rate) > 10:
            late = rate.values[len(rate) // 3 :]
            if float(late.max()) > 1.05 * float(late.min()):
                return f"{name} moves: a schedule can bend the curve more than the interval allows"
    return None


def _idle(run: Run) -> Iterator[Idle]:
    """The hours that each GPU did nothing, where its use is in the run."""
    for name, metric in sorted(run.metrics.items()):
        if not _UTILISATION.search(name) or _NOT_UTILISATION.search(name) or metric.times is None:
            continue
        finite = metric.finite()
        if finite.times is None or len(finite) < 2:
            continue
        spans = np.diff(finite.times)
        good = np.isfinite(spans) & (spans >= 0) & (spans < _LONGEST)
        # A sample stands for the time up to the next one; what is longer than ten usual ones was not watched.
        usual = float(np.median(spans[good])) if good.any() else 0.0
        good &= spans <= 10 * usual
        low = finite.values[:-1] < IDLE_PERCENT
        # Rounded once: a sum of a part would else be more than that of the whole, by the last digit.
        hours, idle = math.fsum(spans[good]) / 3600, math.fsum(spans[good & low]) / 3600
        yield Idle(name, hours, idle, idle / hours if hours else 0.0, IDLE_PERCENT, metric.files)


def _advice(run: Run, told: RunCheck) -> Iterator[Advice]:
    """To stop, where a finding says that what comes after a step is of no use; with the time that is gone since."""
    for finding in told.findings:
        since = _useless_since(finding)
        if since is None:
            continue
        seconds = _seconds_between(run, since)
        yield Advice(
            "stop" if run.info.state.name in ("running", "unknown") else "it could have been stopped", finding.detector,
            finding.metric, since, seconds, finding.says,
        )  # fmt: skip


def _useless_since(finding: Finding) -> float | None:
    if finding.detector not in _LOST_FROM or (finding.detector == "not_finite" and finding.severity != "error"):
        return None
    key = _LOST_FROM[finding.detector]
    if not key:
        return finding.first_step
    value = finding.evidence[key]
    return float(value) if not isinstance(value, str) else None


def _seconds_between(run: Run, since: float) -> float | None:
    """The time from a step to the newest point; None where nobody wrote times."""
    name = busiest(run)
    if name is None or run.last_time is None:
        return None
    metric = run.metrics[name]
    assert metric.times is not None
    at = int(np.searchsorted(metric.steps, since))
    return max(0.0, run.last_time - float(metric.times[at])) if at < len(metric) else None
