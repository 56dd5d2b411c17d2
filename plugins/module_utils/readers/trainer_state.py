# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hugging Face's `trainer_state.json`: the log of a `Trainer`, whole in every checkpoint."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING

from .jsonl import add_row
from .reading import Reading, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

_FACTS = ("best_metric", "best_model_checkpoint", "epoch", "global_step", "max_steps", "num_train_epochs",
          "train_batch_size")  # fmt: skip


def newest(paths: Iterable[str]) -> set[str]:
    """Every checkpoint of a Trainer holds the whole log up to it: of those in one folder only the newest is the run."""
    best: dict[str, tuple[float, str]] = {}
    for path in paths:
        folder = os.path.dirname(path)
        run, number = folder, math.inf
        # The Trainer's own folder gets its state when the training is over.
        if os.path.basename(folder).startswith("checkpoint-"):
            digits = folder.rpartition("-")[2]
            run, number = os.path.dirname(folder), int(digits) if digits.isdecimal() else -1
        if run not in best or number > best[run][0]:
            best[run] = (number, path)
    return {path for _number, path in best.values()}


def read_trainer_state(path: str) -> Reading:
    """The reading of a trainer_state.json. Raises OSError."""
    reading, table = Reading("trainer_state", path), Table()
    with open(path, "rb") as file:
        data = file.read()
    try:
        state = json.loads(data)
    except (ValueError, RecursionError) as problem:
        reading.notes.append(f"this is no JSON: cut, or still being written ({type(problem).__name__})")
        reading.skip("file that is no JSON")
        reading.info["incomplete"] = True
        return reading
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        reading.notes.append("no log_history in it: this is no state of a Trainer")
        return reading
    for row in history:
        if isinstance(row, dict):
            add_row(row, table, reading)
            table.end_row()
        else:
            reading.skip("entry of the history that is no object")
    table.finish(reading)
    reading.info.update({key: state[key] for key in _FACTS if isinstance(state.get(key), (int, float, str))})
    hyper = state.get("trial_params")
    if isinstance(hyper, dict):
        reading.config.update(hyper)
    return reading
