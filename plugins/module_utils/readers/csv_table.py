# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CSV with a header, as Lightning's CSVLogger and most own loggers write it."""

from __future__ import annotations

import csv

from .reading import Reading, Table

# A cell beyond this is no number; the default of the csv module would raise at less.
_LARGEST_CELL = 1 << 20
CUT = "the last line has no end: its last value may be cut"


def read_csv(path: str) -> Reading:
    """The reading of a CSV file; an empty cell is no value. Raises OSError."""
    csv.field_size_limit(_LARGEST_CELL)
    reading, table = Reading("csv", path), Table()
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(line.replace("\0", "�") for line in file)
        header = None
        while True:
            try:
                row = next(rows)
            except StopIteration:
                break
            except csv.Error:
                reading.skip("line that is no CSV")
                continue
            if header is None:
                header = [name.strip() for name in row]
            elif row and row != header:
                add_row(row, header, table, reading)
    if header is not None and table.rows and not _ends_whole(path):
        reading.notes.append(CUT)
    table.finish(reading)
    return reading


def add_row(row: list[str], header: list[str], table: Table, reading: Reading) -> None:
    """Put the cells of a line into a row; what is no number is counted."""
    if len(row) != len(header):
        reading.skip("row with %s cells than the header" % ("fewer" if len(row) < len(header) else "more"))
        return
    for name, cell in zip(header, row):
        if not cell or not name:
            continue
        number = to_number(cell)
        if number is None:
            reading.skip("value that is no number (text)")
        else:
            table.put(name, number)
    table.end_row()


def to_number(cell: str) -> float | None:
    """The number that a cell is, else None. Python's `1_000` is none."""
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _ends_whole(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(0, 2)
        if file.tell() == 0:
            return True
        file.seek(-1, 2)
        return file.read(1) in b"\r\n"
