# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file of metrics held: a reading. The same from every reader, and no more than the file says."""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Iterable
from typing import Any

STEP_KEYS = ("_step", "step", "global_step", "trainer/global_step", "iteration", "iter", "update", "epoch")
TIME_KEYS = ("_timestamp", "timestamp", "wall_time", "time")
# Numbers from here on are Unix seconds, from there on milliseconds; below, a time is one since the start.
_UNIX_S, _UNIX_MS = 1e8, 1e11


class Series:
    """One metric: a value at each step. `times` are Unix seconds, None where the file has none. Nothing is left out."""

    __slots__ = ("steps", "times", "values")

    def __init__(self, steps: Any, values: Any, times: Any = None) -> None:
        self.steps = steps
        self.values = values
        self.times = times


class Reading:
    """What one file said.

    `info` has what is known of the run (id, name, project, group, tags, notes, host, commit, started_at), `config` its
    settings, `summary` the last values the writer noted, `exits` its exit codes in order. `skipped` counts what is not
    in `series`, by reason; `notes` are sentences about the file as a whole; `log` the last lines of its output.
    """

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = path
        self.info: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.directions: dict[str, str] = {}
        self.exits: list[int] = []
        self.series: dict[str, Series] = {}
        self.skipped: dict[str, int] = {}
        self.notes: list[str] = []
        self.log: list[str] = []
        self.rows = 0
        # Of a file that grows: where what comes next begins.
        self.at = 0

    def skip(self, reason: str, count: int = 1) -> None:
        """Count what could not be used."""
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count


class Table:
    """Rows as they are read: for each key its values, and the rows they stood in (None: in all so far).

    Of a file that is read on, `first` is the number of the first row, `step` that of the row before it, and `step_key`
    what was the step so far.
    """

    def __init__(self, first: int = 0, step: float = 0.0, step_key: str | None = None) -> None:
        self.first = first
        self.step = step
        self.step_key = step_key
        self.rows = 0
        self.values: dict[str, array[float]] = {}
        self.where: dict[str, array[int] | None] = {}

    def put(self, key: str, value: float) -> None:
        """Put a number into the row that is being read; `end_row` completes it. The last of two of one key counts."""
        values = self.values.get(key)
        if values is None:
            self.values[key] = array("d", (value,))
            self.where[key] = None if self.rows == 0 else array("q", (self.rows,))
            return
        where = self.where[key]
        if where is None:
            if len(values) == self.rows:
                values.append(value)
                return
            if len(values) > self.rows:
                values[-1] = value
                return
            self.where[key] = where = array("q", range(len(values)))
        if where[-1] == self.rows:
            values[-1] = value
            return
        values.append(value)
        where.append(self.rows)

    def end_row(self) -> None:
        """The row is complete."""
        self.rows += 1

    def drop_row(self) -> None:
        """What was put into the row that is being read turned out to be damaged: it is no row."""
        for key, values in list(self.values.items()):
            where = self.where[key]
            if where is not None and where[-1] == self.rows:
                where.pop()
                values.pop()
            elif where is None and len(values) > self.rows:
                values.pop()
            if not values:
                del self.values[key], self.where[key]

    def finish(self, reading: Reading) -> None:
        """Turn the columns into the series of `reading`: find the step and the time, and give each value its own."""
        reading.rows += self.rows
        step_key = first_of(STEP_KEYS, [*self.values, self.step_key])
        time_key = first_of([key for key in TIME_KEYS if is_clock(self.values.get(key))], self.values)
        steps = self._whole(step_key, reading)
        self.step_key = step_key
        self.step = steps[-1] if len(steps) else self.step
        times = None if time_key is None else scaled(self._spread(time_key))
        for key, values in self.values.items():
            if key in (step_key, time_key) and key != "epoch":
                continue
            where = self.where[key]
            if where is None and len(values) < self.rows:
                where = range(len(values))
            if where is None:
                reading.series[key] = Series(steps, values, times)
            else:
                at = array("d", [steps[row] for row in where])
                when = None if times is None else array("d", [times[row] for row in where])
                reading.series[key] = Series(at, values, when)

    def _whole(self, key: str | None, reading: Reading) -> array[float]:
        """The step of each row; rows without one are counted, and have the step of the row before."""
        if key is None:
            if self.rows and self.values:
                reading.notes.append("no step in it: rows are counted from 0")
            return array("d", range(self.first, self.first + self.rows))
        spread = self._spread(key) if key in self.values else array("d", [float("nan")]) * self.rows
        without, last = 0, self.step
        for row, step in enumerate(spread):
            if not math.isfinite(step):
                without += 1
                spread[row] = last
            else:
                last = step
        if without:
            reading.notes.append(
                f"{without} rows have no {key}, and were given that of the row before"
                if without > 1
                else f"1 row has no {key}, and was given that of the row before"
            )
        return spread

    def _spread(self, key: str) -> array[float]:
        """The values of a key by row, NaN where the row has none."""
        values, where = self.values[key], self.where[key]
        if where is None and len(values) == self.rows:
            return array("d", values)
        spread = array("d", [float("nan")]) * self.rows
        for row, value in zip(range(len(values)) if where is None else where, values):
            spread[row] = value
        return spread


def first_of(keys: Iterable[str], known: Container[str]) -> str | None:
    """The first of `keys` that is known, else None."""
    for key in keys:
        if key in known:
            return key
    return None


def is_clock(values: Any) -> bool:
    """Whether numbers called a time are points in time, and not seconds since the start."""
    return values is not None and len(values) > 0 and values[0] >= _UNIX_S


def scaled(times: Any) -> Any:
    """Milliseconds as seconds."""
    if len(times) and times[0] >= _UNIX_MS:
        return array("d", [time / 1000 for time in times])
    return times


def kind_of(value: object) -> str:
    """What a value that is no number is called when it is counted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"
