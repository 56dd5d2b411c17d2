# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs in a SQLite file: the stores of trackio and of MLflow. Nothing of a store is changed."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import urllib.parse
from array import array
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .csv_table import to_number
from .jsonl import add_row
from .reading import Reading, Series, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a damaged file makes SQLite say; its own words are cut from the file, too, and may be no text.
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
ENDINGS = (".db", ".sqlite", ".sqlite3")
MAGIC = b"SQLite format 3\0"
# How trackio writes what JSON has no number for.
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "failed"}
_TAGS = {"mlflow.note.content": "notes", "mlflow.source.git.commit": "commit", "mlflow.source.git.repoURL": "remote",
         "mlflow.source.name": "program"}  # fmt: skip


def store_kind(path: str) -> str | None:
    """`trackio` or `mlflow`: whose store a file is, None for any other.

    Raises OSError, also for a file of SQLite that is damaged or locked: nobody can say whose it is.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
    try:
        with closing(_open(path)) as base:
            tables = {row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except _DAMAGE as problem:
        raise OSError(f"not a readable store: {problem}") from problem
    if {"metrics", "configs"} <= tables:
        return "trackio"
    return "mlflow" if {"runs", "experiments", "latest_metrics"} <= tables else None


def runs_of(kind: str, path: str) -> list[str]:
    """The names by which `read_store` takes the runs of a store, the oldest first. Raises OSError."""
    try:
        with closing(_open(path)) as base:
            if kind == "mlflow":
                asked = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid"
                return [str(row[0]) for row in base.execute(asked)]
            key = _trackio_key(base)
            known = {}
            for table in ("configs", "metrics"):
                known.update(
                    dict.fromkeys(str(row[0]) for row in base.execute(f"SELECT {key} FROM {table} ORDER BY id"))
                )
            return list(known)
    except _DAMAGE as problem:
        raise OSError(f"not a readable store: {problem}") from problem


def read_store(kind: str, path: str, run: str, history: bool = True) -> Reading:
    """The reading of one run of a store; without `history` what is known of it alone. Raises OSError.

    Of a file that is damaged, what was read before the damage is given, and that is said.
    """
    reading, table = Reading(kind, path), Table()
    try:
        with closing(_open(path)) as base:
            (_mlflow if kind == "mlflow" else _trackio)(base, run, reading, table if history else None)
    except _DAMAGE as problem:
        reading.notes.append(f"the store is damaged: {problem}")
        reading.skip("rest of a damaged store")
    table.finish(reading)
    return reading


def _open(path: str) -> sqlite3.Connection:
    """Only what was committed is seen. Raises OSError for a file that cannot be read.

    A file in WAL mode with no log beside it has all in it and no writer; to lock it SQLite would make files, so it is
    read without locks. With a log beside it SQLite may make its index (`-shm`).
    """
    with open(path, "rb") as file:
        head = file.read(20)
    alone = head[18:20] == b"\2\2" and not os.path.exists(path + "-wal")
    base = sqlite3.connect(
        f"file:{urllib.parse.quote(os.path.abspath(path))}?{'immutable=1' if alone else 'mode=ro'}",
        uri=True,
        timeout=5,
    )
    base.text_factory = lambda data: data.decode("utf-8", "replace")
    return base


def _trackio_key(base: sqlite3.Connection) -> str:
    """Older files know their runs by name alone."""
    columns = {row[1] for row in base.execute("PRAGMA table_info(metrics)")}
    return "run_id" if "run_id" in columns else "run_name"


def _trackio(base: sqlite3.Connection, run: str, reading: Reading, table: Table | None) -> None:
    key = _trackio_key(base)
    reading.info["id"] = run
    reading.info["project"] = os.path.splitext(os.path.basename(reading.path))[0]
    for name, config, created in base.execute(
        f"SELECT run_name, config, created_at FROM configs WHERE {key} = ?", (run,)
    ):
        reading.info.update(name=name, started_at=_moment(created))
        settings = _json(config)
        if isinstance(settings, dict):
            # With an underscore: what trackio notes of its own.
            reading.config = {key: value for key, value in settings.items() if not key.startswith("_")}
            if isinstance(settings.get("_Group"), str):
                reading.info["group"] = settings["_Group"]
            started = _moment(settings.get("_Created"))
            reading.info["started_at"] = started if started is not None else reading.info["started_at"]
    ends = base.execute(f"SELECT run_name, max(timestamp) FROM metrics WHERE {key} = ?", (run,)).fetchone()
    if ends[0] is not None:
        reading.info.setdefault("name", ends[0])
        reading.info["updated_at"] = _moment(ends[1])
    if table is None:
        return
    for step, when, metrics in base.execute(
        f"SELECT step, timestamp, metrics FROM metrics WHERE {key} = ? ORDER BY id", (run,)
    ):
        row = _json(metrics)
        if not isinstance(row, dict):
            reading.skip("row that is no JSON object")
            continue
        plain = {name: _ODD.get(value, value) if isinstance(value, str) else value for name, value in row.items()}
        moment = _moment(when)
        add_row({**plain, "step": step, **({"timestamp": moment} if moment is not None else {})}, table, reading)
        table.end_row()


def _mlflow(base: sqlite3.Connection, run: str, reading: Reading, table: Table | None) -> None:
    asked = (
        "SELECT r.name, r.status, r.start_time, r.end_time, e.name FROM runs r"
        " LEFT JOIN experiments e ON e.experiment_id = r.experiment_id WHERE r.run_uuid = ?"
    )
    info = reading.info
    for name, status, start, end, project in base.execute(asked, (run,)):
        info.update(id=run, name=name, project=project)
        mlflow_state(info, status, start, end)
    params = base.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,))
    reading.config = {str(key): setting(str(value)) for key, value in params}
    tags = base.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,))
    mlflow_tags(info, {str(key): str(value) for key, value in tags})
    newest = base.execute("SELECT max(timestamp) FROM metrics WHERE run_uuid = ?", (run,)).fetchone()[0]
    info["updated_at"] = max(info.get("updated_at") or 0.0, (_number(newest) or 0.0) / 1000) or None
    if table is not None:
        put_points(_points(base, run, reading), reading)


def _points(base: sqlite3.Connection, run: str, reading: Reading) -> Iterator[tuple[str, float, float, float]]:
    asked = "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ? ORDER BY step, timestamp"
    for key, step, value, is_nan, when in base.execute(asked, (run,)):
        number, at, moment = math.nan if is_nan else _number(value), _number(step), _number(when)
        if number is None or at is None or moment is None or not isinstance(key, str):
            reading.skip("row that is no point")
            continue
        # An infinity is the largest number there.
        number = math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number
        yield key, at, number, moment / 1000


def put_points(points: Any, reading: Reading) -> None:
    """Put (name, step, value, Unix seconds) into the series of `reading`."""
    for name, step, value, when in points:
        series = reading.series.get(name)
        if series is None:
            series = reading.series[name] = Series(array("d"), array("d"), array("d"))
        series.steps.append(step)
        series.values.append(value)
        series.times.append(when)
        reading.rows += 1


def mlflow_state(info: dict[str, Any], status: str | None, start: Any, end: Any) -> None:
    """What MLflow's own word for how a run stands proves: a process that was killed leaves RUNNING behind."""
    info["started_at"] = start / 1000 if isinstance(start, (int, float)) and start else None
    if isinstance(end, (int, float)) and end:
        info["updated_at"] = end / 1000
    known = _STATES.get(status or "")
    doubt = "" if known else ", which a process that was killed leaves behind" if status == "RUNNING" else ""
    info["state"] = (known or "unknown", f"MLflow says {status}{doubt}")


def setting(text: str) -> Any:
    """MLflow keeps settings as text: what reads as a number is one."""
    try:
        return int(text) if text.lstrip("-").isdigit() else text if to_number(text) is None else float(text)
    except ValueError:
        return text


def mlflow_tags(info: dict[str, Any], tags: dict[str, str]) -> None:
    """Tags of MLflow's own say what a run is, those of a person are its tags."""
    info.update({_TAGS[key]: value for key, value in tags.items() if key in _TAGS})
    if tags.get("mlflow.runName"):
        info["name"] = tags["mlflow.runName"]
    info["tags"] = [f"{key}={value}" for key, value in sorted(tags.items()) if not key.startswith("mlflow.")]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


def _moment(text: Any) -> float | None:
    """An ISO time as Unix seconds."""
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
