# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics in what a program printed: `step 200/1000  loss 2.41`, `epoch=1 val_acc: 93%`, `loss=0.3`."""

from __future__ import annotations

import re

from ..terminal_text import safe_text
from .reading import Reading, Table
from .text_form import as_utf8, encoding_of, lines_of

_LOG_LINES = 200
_LONGEST = 4096
_LOOK = 64 * 1024
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b"
# A name, then = or : or blanks, then a number that no word goes on from. `12/100` is 12 (of 100).
_PAIR = re.compile(
    rf"""(?<![\w./@-])['"]?([A-Za-z_][\w./@-]{{0,63}})['"]?\s*(=|:|\s)\s*['"]?({_NUMBER})(?![\w.]*[A-Za-z_:]|\.\d)(%)?""",
    re.IGNORECASE,
)
_STEPS = {"step": "step", "steps": "step", "global_step": "step", "iter": "step", "iteration": "step", "it": "step",
          "epoch": "epoch", "ep": "epoch", "batch": "batch"}  # fmt: skip
_AXES = {"step", "epoch", "batch"}
# Beside a separator any name is a metric; with blanks alone only what is known as one.
_KNOWN = re.compile(
    r"loss|acc|accuracy|perplexity|ppl|lr|learning_rate|grad_norm|reward|return|f1|bleu|rouge|auc|mae|mse|rmse|iou|map"
)


def read_output(path: str) -> Reading:
    """The reading of an output log: the lines that name a step, an epoch or a known metric. Raises OSError."""
    reading, table = Reading("log", path), Table()
    tail: list[str] = []
    for line in lines_of(path):
        shown = last_state(line)
        tail.append(shown)
        if len(tail) > 2 * _LOG_LINES:
            del tail[:-_LOG_LINES]
        add_text(shown, table)
    table.finish(reading)
    reading.log = [line for line in tail if line.strip()][-_LOG_LINES:]
    if not table.rows:
        reading.notes.append("no metric was recognised in its lines")
    return reading


def last_state(line: bytes) -> str:
    """What a terminal would show of a line in the end: a progress bar draws over itself by carriage returns."""
    parts = [part for part in line.rstrip(b"\r\n").split(b"\r") if part.strip()]
    return safe_text(parts[-1] if parts else b"", _LONGEST)


def has_metrics(path: str) -> bool:
    """Whether one of the first lines of a file names a metric, and its step or epoch. Raises OSError."""
    with open(path, "rb") as file:
        data = file.read(_LOOK)
    lines = as_utf8(data, encoding_of(data)).split(b"\n")
    return any(row and not _AXES.isdisjoint(row) for row in (_row(last_state(line)) for line in lines))


def add_text(line: str, table: Table) -> None:
    """Put the numbers of a line into a row, when it has a metric."""
    row = _row(line)
    for name, value in row.items():
        table.put(name, value)
    if row:
        table.end_row()


def _row(line: str) -> dict[str, float]:
    """The numbers of a line that has a metric; nothing of any other."""
    row = {}
    for name, sign, number, percent in _PAIR.findall(line):
        place = _STEPS.get(name.lower())
        if place is None and not (sign in "=:" or _KNOWN.search(name.lower())):
            continue
        row[place or name] = float(number) / 100 if percent else float(number)
    metrics = [name for name in row if name not in _AXES]
    if not metrics or not (len(metrics) < len(row) or any(_KNOWN.search(name.lower()) for name in metrics)):
        return {}
    return row
