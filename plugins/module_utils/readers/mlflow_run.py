# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MLflow's folder of a run below `mlruns/`: `meta.yaml`, a file for each metric, setting and tag."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .csv_table import to_number
from .reading import Reading
from .sqlite_store import mlflow_state, mlflow_tags, put_points, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_LARGEST_TEXT = 1 << 20


def read_mlflow_run(path: str, history: bool = True) -> Reading:
    """The reading of the run whose `meta.yaml` is at `path`; without `history` what is known of it. Raises OSError."""
    reading = Reading("mlflow", path)
    folder = os.path.dirname(path)
    about = _plain(path)
    info = reading.info
    info.update(id=about.get("run_id") or os.path.basename(folder), name=about.get("run_name"))
    above = os.path.join(os.path.dirname(folder), "meta.yaml")
    info["project"] = _plain(above).get("name") if os.path.isfile(above) else None
    start, end = (to_number(about.get(key) or "") for key in ("start_time", "end_time"))
    mlflow_state(info, _STATUS.get(about.get("status", "")), start, end)
    reading.config = {name: setting(_text(file)) for name, file in _files(os.path.join(folder, "params"))}
    mlflow_tags(info, {name: _text(file) for name, file in _files(os.path.join(folder, "tags"))})
    metrics = list(_files(os.path.join(folder, "metrics")))
    info["updated_at"] = max([os.path.getmtime(file) for _name, file in metrics], default=os.path.getmtime(path))
    info["bytes"] = sum(os.path.getsize(file) for _name, file in metrics)
    if history:
        for name, file in metrics:
            put_points(sorted(_points(name, file, reading), key=lambda point: point[1]), reading)
    return reading


def files_of(path: str) -> list[str]:
    """The files of the run whose `meta.yaml` is at `path`: that one is not touched while metrics are logged."""
    folder = os.path.dirname(path)
    parts = ("metrics", "params", "tags")
    return [path, *(file for part in parts for _name, file in _files(os.path.join(folder, part)))]


def is_run(path: str) -> bool:
    """Whether a `meta.yaml` is that of a run that was not deleted. Raises OSError."""
    about = _plain(path)
    return "run_id" in about and about.get("lifecycle_stage", "active") == "active"


def _points(name: str, path: str, reading: Reading) -> Iterator[tuple[str, float, float, float]]:
    """Lines of milliseconds, value and step (older files have no step)."""
    with open(path, "rb") as file:
        for line in file:
            words = line.decode("utf-8", "replace").split()
            numbers = [number for number in map(to_number, words) if number is not None]
            if not line.endswith(b"\n"):
                reading.skip("incomplete last line")
            elif len(numbers) != len(words) or len(words) not in (2, 3):
                reading.skip("line that is no point")
            else:
                when, value, step = (*numbers, 0.0)[:3]
                yield name, step, value, when / 1000


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """(name, path) of each file in a folder and below; a name may have slashes."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield os.path.relpath(path, folder).replace(os.sep, "/"), path


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_LARGEST_TEXT).decode("utf-8", "replace")


def _plain(path: str) -> dict[str, str]:
    """The plain lines `key: value` of MLflow's own YAML."""
    pairs = (line.partition(": ") for line in _text(path).splitlines() if ": " in line)
    return {key.strip(): value.strip().strip("'\"") for key, _unused, value in pairs}
