"""The readings of one run's files as its metrics: segments in order, and each step once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series
from stoker.analysis.model import Floats, Metric


def merged(readings: Sequence[Reading], *, one_writer: bool) -> tuple[dict[str, Metric], list[str]]:
    """The metrics of a run, and remarks on how its segments fit.

    `one_writer`: a step is logged once; where a later segment has a step again, that one counts, as it is what the
    training went on from. Otherwise (TensorBoard) every point is kept. Points are in the order of their steps.
    """
    names = dict.fromkeys(name for reading in readings for name in reading.series)
    replaced = 0
    metrics: dict[str, Metric] = {}
    for name in names:
        holding = [reading for reading in readings if name in reading.series]
        parts = [reading.series[name] for reading in holding]
        metrics[name], again = _joined(name, parts, tuple(reading.path for reading in holding), one_writer)
        replaced += again
    remarks = [note for reading in readings for note in dict.fromkeys(reading.notes)]
    if len(readings) > 1:
        remarks += _overlaps(readings)
    if replaced:
        remarks.append(f"{replaced} points were logged again by a later segment, which counts")
    return metrics, list(dict.fromkeys(remarks))


def _joined(name: str, parts: Sequence[Series], files: tuple[str, ...], one_writer: bool) -> tuple[Metric, int]:
    file_of = None
    if len(parts) == 1:
        steps, values, times = (_floats(parts[0].steps), _floats(parts[0].values), _maybe(parts[0].times))
    else:
        steps = np.concatenate([_floats(part.steps) for part in parts])
        values = np.concatenate([_floats(part.values) for part in parts])
        timed = all(part.times is not None for part in parts)
        times = np.concatenate([_floats(part.times) for part in parts]) if timed else None
        file_of = np.repeat(np.arange(len(parts), dtype=np.int16), [len(part.values) for part in parts])
    replaced = 0
    if len(steps) > 1 and not bool((np.diff(steps) > 0).all()):
        keep = np.argsort(steps, kind="stable")
        if one_writer and file_of is not None:
            segment = file_of[keep]
            ordered = steps[keep]
            # Within one segment a step may be logged twice: those points stay.
            newest = np.ones(len(keep), dtype=bool)
            groups = np.flatnonzero(np.r_[True, np.diff(ordered) != 0])
            latest = np.repeat(np.maximum.reduceat(segment, groups), np.diff(np.r_[groups, len(keep)]))
            newest = segment == latest
            replaced = int((~newest).sum())
            keep = keep[newest]
        steps, values = steps[keep], values[keep]
        times = None if times is None else times[keep]
        file_of = None if file_of is None else file_of[keep]
    timed_ = None if times is None else _read_only(times)
    return Metric(name, _read_only(steps), _read_only(values), timed_, files, file_of), replaced


def _overlaps(readings: Sequence[Reading]) -> list[str]:
    """Where a segment begins before the one before it ended."""
    remarks: list[str] = []
    end: float | None = None
    for number, reading in enumerate(readings, 1):
        steps = [series.steps for series in reading.series.values() if len(series.steps)]
        if not steps:
            continue
        first, last = min(float(s[0]) for s in steps), max(float(s[-1]) for s in steps)
        if end is not None and first <= end:
            remarks.append(f"segment {number} begins at step {first:g}, before the end of the one before it ({end:g})")
        end = last
    return remarks


def _floats(numbers: object) -> Floats:
    return np.frombuffer(numbers, dtype=np.float64) if not isinstance(numbers, np.ndarray) else numbers  # type: ignore[call-overload]


def _maybe(numbers: object) -> Floats | None:
    return None if numbers is None else _floats(numbers)


def _read_only(numbers: Floats) -> Floats:
    view = numbers.view()
    view.flags.writeable = False
    return view
