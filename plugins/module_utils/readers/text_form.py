# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which form a file of text is: its encoding, and what separates its cells. What is not usual has to be sure."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator

_LOOK = 64
_OTHERS = (";", "\t")
ENCODINGS, DELIMITERS = ["utf-8", "utf-16-le", "utf-16-be"], [",", *_OTHERS]


def encoding_of(head: bytes) -> str:
    """`utf-8`, `utf-16-le` or `utf-16-be`, told from the first bytes: their mark, or that every other one is zero."""
    if head.startswith(codecs.BOM_UTF16_LE) and not head.startswith(codecs.BOM_UTF32_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    even, odd = head[0:_LOOK:2], head[1:_LOOK:2]
    if len(odd) >= 4 and all(even) and not any(odd):
        return "utf-16-le"
    return "utf-16-be" if len(odd) >= 4 and all(odd) and not any(even) else "utf-8"


def encoding_in(path: str) -> str:
    """The same of a file. Raises OSError."""
    with open(path, "rb") as file:
        return encoding_of(file.read(_LOOK))


def text_of(data: bytes) -> str:
    """The text that these first bytes of a file begin with; what is no text is replaced."""
    return data.decode(encoding_of(data), "replace").lstrip("\ufeff")


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of a file, with their ends, in UTF-8. Raises OSError."""
    encoding = encoding_in(path)
    if encoding == "utf-8":
        with open(path, "rb") as file:
            yield from file
        return
    with open(path, encoding=encoding, errors="replace", newline="\n") as text:
        for number, line in enumerate(text):
            yield (line if number else line.lstrip("\ufeff")).encode("utf-8", "replace")


def whole_lines(data: bytes, encoding: str) -> tuple[bytes, int]:
    """The lines in `data` that have their end, in UTF-8, and how many bytes of it they are."""
    if encoding == "utf-8":
        end = data.rfind(b"\n") + 1
        return data[:end], end
    mark = "\n".encode(encoding)
    at = data.rfind(mark)
    while at % 2 == 1:  # the halves of two other characters
        at = data.rfind(mark, 0, at + 1)
    end = at + 2 if at >= 0 else 0
    return as_utf8(data[:end], encoding), end


def as_utf8(data: bytes, encoding: str) -> bytes:
    """Text of this encoding in UTF-8, without the mark that a file may begin with; UTF-8 as it is."""
    if encoding == "utf-8":
        return data
    return data.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")


def delimiter_of(header: str) -> str:
    """What separates the cells under this header: a comma, unless there is none in it and another that does."""
    for other in _OTHERS:
        if other in header and len(_cells(header, ",")) == 1 and len(_cells(header, other)) > 1:
            return other
    return ","


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
