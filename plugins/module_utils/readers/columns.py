# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Columns of numbers as text that JSON carries, without loss: NaN and the infinities are numbers like others."""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Iterable


def packed(numbers: Iterable[float]) -> str:
    """Doubles, their bytes sorted by place (neighbours are alike in the first ones), deflated, as base64."""
    column = numbers if isinstance(numbers, array) else array("d", numbers)
    if sys.byteorder == "big":
        column = array("d", column)
        column.byteswap()
    data = column.tobytes()
    return base64.b64encode(zlib.compress(b"".join(data[place::8] for place in range(8)), 6)).decode("ascii")


def unpacked(text: str) -> array[float]:
    """What `packed` was given. Raises ValueError for anything else."""
    try:
        data = zlib.decompress(base64.b64decode(text.encode("ascii"), validate=True))
    except zlib.error as problem:
        raise ValueError(f"this is no column: {problem}") from None
    if len(data) % 8:
        raise ValueError("this is no column: it ends within a number")
    count = len(data) // 8
    sorted_ = bytearray(len(data))
    for place in range(8):
        sorted_[place::8] = data[place * count : (place + 1) * count]
    column = array("d")
    column.frombytes(bytes(sorted_))
    if sys.byteorder == "big":
        column.byteswap()
    return column


class Columns:
    """The columns of one answer; equal ones (the steps of most metrics) are in it once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[bytes, int] = {}

    def add(self, numbers: Iterable[float]) -> int:
        """The place of a column, which is put in where it is not there yet."""
        column = numbers if isinstance(numbers, array) else array("d", numbers)
        data = column.tobytes()
        if data not in self._places:
            self._places[data] = len(self.texts)
            self.texts.append(packed(column))
        return self._places[data]
