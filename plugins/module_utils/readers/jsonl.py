# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows of JSON, as a file of lines, as one document, or as the values of another file."""

from __future__ import annotations

import json
from typing import Any

from .reading import Reading, Table, kind_of
from .text_form import lines_of

# Deeper than any metric is; a bomb of brackets is no row.
_DEEPEST = 8


def read_jsonl(path: str) -> Reading:
    """The reading of a file with one JSON object in each line. Raises OSError."""
    reading, table = Reading("jsonl", path), Table()
    for line in lines_of(path):
        if not line.endswith(b"\n") and not is_complete(line):
            if line.strip():
                reading.skip("incomplete last line")
            continue
        add_line(line, table, reading)
    table.finish(reading)
    return reading


def add_line(line: bytes, table: Table, reading: Reading) -> None:
    """Add one line; what is no JSON object is counted."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        if line.strip():
            reading.skip("line that is no JSON")
        return
    if not isinstance(row, dict):
        reading.skip("line that is no JSON object")
        return
    add_row(row, table, reading)
    table.end_row()


def add_row(row: dict[str, Any], table: Table, reading: Reading, prefix: str = "", depth: int = 0) -> None:
    """Put the numbers of an object into the row that is being read; keys of nested objects are joined by dots."""
    for key, value in row.items():
        kind = type(value)
        if kind is float or kind is int:
            try:
                table.put(prefix + key, float(value))
            except OverflowError:
                reading.skip("number beyond all bounds")
        elif kind is dict and depth < _DEEPEST and "_type" not in value:
            add_row(value, table, reading, prefix + key + ".", depth + 1)
        else:
            reading.skip(f"value that is no number ({kind_of(value)})")


def is_complete(line: bytes) -> bool:
    """Whether a line without an end is JSON all the same."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
