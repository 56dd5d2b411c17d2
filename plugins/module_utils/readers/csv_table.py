# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CSV with a header, as Lightning's CSVLogger and most own loggers write it."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from .reading import Reading, Table
from .text_form import delimiter_of, encoding_in

# A cell beyond this is no number; the default of the csv module would raise at less.
_LARGEST_CELL = 1 << 20
CUT = "the last line has no end: its last value may be cut"


def read_csv(path: str) -> Reading:
    """The reading of a CSV file; an empty cell is no value. Raises OSError."""
    csv.field_size_limit(_LARGEST_CELL)
    reading, table = Reading("csv", path), Table()
    encoding = encoding_in(path)
    with open(path, encoding=encoding, errors="replace", newline="") as file:
        delimiter = delimiter_of(first_line(file))
        file.seek(0)
        if file.read(1) != "\ufeff":
            file.seek(0)
        rows = csv.reader((line.replace("\0", "�") for line in file), delimiter=delimiter)
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
                header = names_of(row)
            elif row and row != header:
                add_row(row, header, table, reading)
    if header is None:
        reading.notes.append("there is no header in it")
    elif table.rows and encoding == "utf-8" and not _ends_whole(path):
        reading.notes.append(CUT)
    table.finish(reading)
    return reading


def first_line(lines: Iterable[str]) -> str:
    """The first line that is not blank, without the mark that a file may begin with."""
    return next((line.lstrip("\ufeff") for line in lines if line.strip("\ufeff\r\n ")), "")


def names_of(row: list[str]) -> list[str] | None:
    """The names in a header; None for a blank line before it."""
    return [name.strip() for name in row] if any(row) else None


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
            comma = cell.count(",") == 1 and to_number(cell.replace(",", ".")) is not None
            reading.skip("value that is no number (%s)" % ("with a comma: write a point" if comma else "text"))
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
