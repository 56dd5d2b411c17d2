# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file of metrics is, told from its name and, where that says too little, from its first lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable

from . import mlflow_run, output_log, sqlite_store
from .reading import STEP_KEYS, TIME_KEYS
from .text_form import delimiter_of, text_of

NEVER = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".cache", ".tox", "site-packages", ".dvc",
         ".trash"}  # fmt: skip
LOGS = {"output.log", "out.log", "stdout.log", "train.log"}
# What a log is called that somebody names; in a folder only LOGS are taken for some.
NAMED_LOGS = (".log", ".out", ".err", ".txt")
NO_RUN = "no file of metrics, and not called as a log is ({0})".format(", ".join(NAMED_LOGS))
_LOOK = 64 * 1024
_AXES = {*STEP_KEYS, *TIME_KEYS}


def kind_of(path: str) -> str | None:
    """What a file in a folder is, None for one that is no run. Raises OSError."""
    name = os.path.basename(path)
    if ".tfevents." in name and not name.endswith((".profile-empty", ".v2.tmp")):
        return "tensorboard"
    if name.endswith(".wandb"):
        return "wandb"
    if name == "trainer_state.json":
        return "trainer_state"
    if name == "meta.yaml":
        return "mlflow" if mlflow_run.is_run(path) else None
    if name.endswith(sqlite_store.ENDINGS):
        return sqlite_store.store_kind(path)
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl" if _has_axis(path, _json_keys) else None
    if name.endswith(".csv"):
        return "csv" if _has_axis(path, _csv_keys) else None
    return "log" if name in LOGS else None


def may_be(path: str) -> bool:
    """Whether a file has a name by which `kind_of` may know it, without a look into it."""
    name = os.path.basename(path)
    ends = (".wandb", ".jsonl", ".ndjson", ".csv", *sqlite_store.ENDINGS)
    return ".tfevents." in name or name.endswith(ends) or name in LOGS or name in ("trainer_state.json", "meta.yaml")


def files_of(path: str) -> list[str]:
    """A file, and those that are written instead of it: MLflow's of each metric, SQLite's log of what was committed."""
    name = os.path.basename(path)
    if name == "meta.yaml":
        return mlflow_run.files_of(path)
    return [path, path + "-wal"] if name.endswith(sqlite_store.ENDINGS) else [path]


def kind_of_named(path: str) -> str | None:
    """What a file that somebody named is, None for one that is neither metrics nor a log. Raises OSError.

    Not every text is a log: whoever may look at runs is not to read any file.
    """
    kind = kind_of(path)
    if kind is not None:
        return kind
    if path.endswith((".jsonl", ".ndjson")) or begins_with_object(path):
        return "jsonl"
    if path.endswith(".csv"):
        return "csv"
    # An empty one has nothing to hide, and whoever named it is told that it is empty.
    empty = os.path.getsize(path) == 0
    return "log" if empty or path.endswith(NAMED_LOGS) or output_log.has_metrics(path) else None


def _has_axis(path: str, keys_of: Callable[[str], set[str]]) -> bool:
    """Whether the first lines name a step or a time: a data set or a table of anything else is no run."""
    with open(path, "rb") as file:
        lines = text_of(file.read(_LOOK)).split("\n")
    return any(not _AXES.isdisjoint(keys_of(line)) for line in lines[:20])


def begins_with_object(path: str) -> bool:
    """Whether a file of another name holds objects of JSON. Raises OSError."""
    with open(path, "rb") as file:
        return text_of(file.read(_LOOK)).lstrip()[:1] == "{"


def _json_keys(line: str) -> set[str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return set()
    numbers = row.items() if isinstance(row, dict) else ()
    return {key for key, value in numbers if isinstance(value, (int, float))}


def _csv_keys(line: str) -> set[str]:
    try:
        return {cell.strip() for cell in next(csv.reader([line], delimiter=delimiter_of(line)), [])}
    except csv.Error:
        return set()
