# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TensorBoard's event files: records with a checked length and checked content, each an event. No point is dropped."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Any

from .crc32c import masked
from .protobuf import WireError, fields, signed, text, varint
from .reading import Reading, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Tuple

    Frame = Tuple[int, int, int]  # start, length and checksum of a record's content
    Check = Callable[[bytes, Sequence[Frame]], list[int]]

_HEAD = 12  # length (8), its checksum (4); a checksum (4) of the content follows it
# How a tensor of one number holds it: the data type's struct format, and the field of values that it uses.
_TENSORS = {1: ("<f", 5), 2: ("<d", 6), 3: ("<i", 7), 9: ("<q", 10), 19: ("<e", 13), 10: ("<?", 11), 4: ("<B", 7)}
_SIZES = {"<f": 4, "<d": 8}


def read_tfevents(path: str, check: Check | None = None, limit: int = -1) -> Reading:
    """The reading of one event file. `check(data, records)` gives the indexes of records whose content is damaged.

    `limit` is how many bytes are read (-1: all). Raises OSError.
    """
    reading = Reading("tensorboard", path)
    with open(path, "rb") as file:
        data = file.read(limit)
    found = frames(data, reading)
    bad = set((check or check_content)(data, found))
    reading.skip("damaged record", len(bad))
    take(data, [frame for index, frame in enumerate(found) if index not in bad] if bad else found, reading)
    return reading


def take(data: bytes, found: Sequence[Frame], reading: Reading) -> None:
    """Put the events in these records into `reading`."""
    events = _Events(reading)
    for at, length, _unused in found:
        try:
            events.event(data, at, at + length)
        except (WireError, struct.error):
            reading.skip("record that is no event")
    events.close()


def frames(data: bytes, reading: Reading) -> list[Frame]:
    """(start, length, checksum) of the content of each record. What cannot be walked is counted in `reading`."""
    at, end, found = 0, len(data), []
    unpack = struct.Struct("<QI").unpack_from
    lengths: dict[int, int] = {}  # few lengths are met again and again
    while at + _HEAD <= end:
        length, checksum = unpack(data, at)
        known = lengths.get(length)
        if known is None:
            known = masked(data[at : at + 8])
            if known == checksum and len(lengths) < 4096:
                lengths[length] = known
        if known != checksum:
            reading.skip("bytes after damage", end - at)
            reading.notes.append(f"damaged at byte {at}: the {end - at} bytes from there on cannot be read")
            return found
        stop = at + _HEAD + length + 4
        if stop > end:
            break
        found.append((at + _HEAD, length, int.from_bytes(data[stop - 4 : stop], "little")))
        at = stop
    if at < end:
        reading.info["incomplete"] = True
        reading.skip("incomplete last record")
        reading.notes.append(f"the file ends within a record ({end - at} bytes): still being written, or cut")
    return found


def check_content(data: bytes, records: Sequence[Frame]) -> list[int]:
    """The indexes of records whose content does not fit its checksum."""
    return [index for index, (at, length, known) in enumerate(records) if masked(data[at : at + length]) != known]


class _Events:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.columns: dict[bytes, tuple[array[float], array[float], array[float]]] = {}
        self.plugins: dict[bytes, str] = {}

    def event(self, data: bytes, at: int, end: int) -> None:
        """Take the event in these bytes: the order that writers use costs little, any other is walked."""
        # 09 wall time, 10 step, 2A summary: 0A value: 0A tag, 15 simple_value
        if data[at] == 0x09 and at + 11 < end and data[at + 9] == 0x10:
            step, here = varint(data, at + 10)
            if here + 3 < end and data[here] == 0x2A and data[here + 1] < 0x80 and here + 2 + data[here + 1] == end:
                here += 2
                if data[here] == 0x0A and here + 2 + data[here + 1] == end and data[here + 2] == 0x0A:
                    stop = here + 4 + data[here + 3]
                    if data[here + 3] < 0x80 and stop + 5 == end and data[stop] == 0x15:
                        wall = struct.unpack_from("<d", data, at + 1)[0]
                        value = struct.unpack_from("<f", data, stop + 1)[0]
                        self._point(data[here + 4 : stop], step, wall, value)
                        return
        self._walk(data[at:end])

    def close(self) -> None:
        """All events were taken."""
        for tag, (steps, values, times) in self.columns.items():
            self.reading.series[text(tag)] = Series(steps, values, times)
            self.reading.rows += len(values)

    def _walk(self, event: bytes) -> None:
        wall, step, summaries = float("nan"), 0, []
        for number, wire, value in fields(event):
            if number == 1 and wire == 1:
                wall = struct.unpack("<d", value)[0]
            elif number == 2 and wire == 0:
                step = value
            elif number == 5 and wire == 2:
                summaries.append(value)
        for summary in summaries:
            for number, wire, value in fields(summary):
                if number == 1 and wire == 2:
                    self._value(value, step, wall)

    def _value(self, data: bytes, step: int, wall: float) -> None:
        tag, simple, tensor, other = b"", None, None, None
        for number, wire, value in fields(data):
            if number == 1 and wire == 2:
                tag = value
            elif number == 2 and wire == 5:
                simple = struct.unpack("<f", value)[0]
            elif number == 8 and wire == 2:
                tensor = value
            elif number == 9 and wire == 2:
                self._metadata(tag, value)
            elif number in (4, 5, 6):
                other = {4: "image", 5: "histogram", 6: "audio"}[number]
        if simple is not None:
            self._point(tag, step, wall, simple)
        elif tensor is not None and self.plugins.get(tag, "scalars") == "scalars":
            number, why = scalar(tensor)
            if number is None:
                self.reading.skip(f"value that is no number ({why})")
            else:
                self._point(tag, step, wall, number)
        elif tensor is not None or other is not None:
            self.reading.skip(f"value that is no number ({other or self.plugins[tag]})")
        elif self.plugins.get(tag) != "hparams":
            self.reading.skip("value without content")

    def _point(self, tag: bytes, step: int, wall: float, value: float) -> None:
        column = self.columns.get(tag)
        if column is None:
            column = self.columns[tag] = (array("d"), array("d"), array("d"))
        column[0].append(step if step < 1 << 63 else signed(step))
        column[1].append(value)
        column[2].append(wall)

    def _metadata(self, tag: bytes, data: bytes) -> None:
        for number, wire, value in fields(data):
            if number == 1 and wire == 2:
                name, content = "", b""
                for inner, kind, part in fields(value):
                    if kind == 2:
                        name, content = (text(part), content) if inner == 1 else (name, part)
                if name:
                    self.plugins[tag] = name
                if name == "hparams":
                    self._hparams(content)

    def _hparams(self, data: bytes) -> None:
        for number, wire, session in fields(data):
            if number == 3 and wire == 2:
                for inner, kind, entry in fields(session):
                    if inner == 1 and kind == 2:
                        key, value = _entry(entry)
                        self.reading.config[key] = value
            elif number == 4 and wire == 2:
                status = next((value for inner, kind, value in fields(session) if inner == 1 and kind == 0), 0)
                self.reading.info["session"] = {1: "success", 2: "failure", 3: "running"}.get(status, "unknown")


def _entry(data: bytes) -> tuple[str, Any]:
    """Key and value of one hyperparameter, a `google.protobuf.Value`."""
    key, result = "", None
    for number, wire, value in fields(data):
        if number == 1 and wire == 2:
            key = text(value)
        elif number == 2 and wire == 2:
            for kind, form, inner in fields(value):
                if kind == 2 and form == 1:
                    result = struct.unpack("<d", inner)[0]
                elif kind == 3 and form == 2:
                    result = text(inner)
                elif kind == 4 and form == 0:
                    result = bool(inner)
    return key, result


def scalar(data: bytes) -> tuple[float | None, str | None]:
    """(number, None) of a tensor that holds one, else (None, what it is)."""
    kind, content, listed, elements = 0, b"", {}, 1
    for number, wire, value in fields(data):
        if number == 1 and wire == 0:
            kind = value
        elif number == 2 and wire == 2:
            elements = _elements(value)
        elif number == 4 and wire == 2:
            content = value
        elif number >= 5:
            listed.setdefault(number, value)
    if kind == 7:
        return None, "text"
    if kind not in _TENSORS or elements != 1:
        return None, "tensor"
    form, field = _TENSORS[kind]
    if content:
        return (
            (float(struct.unpack(form, content)[0]), None)
            if len(content) == struct.calcsize(form)
            else (None, "tensor")
        )
    value = listed.get(field)
    if isinstance(value, bytes) and form in _SIZES:
        return (struct.unpack(form, value)[0], None) if len(value) == _SIZES[form] else (None, "tensor")
    if isinstance(value, bytes):
        value = varint(value, 0)[0]
    if not isinstance(value, int):
        return 0.0, None  # a field of its default value is not written
    if form == "<e":
        return struct.unpack("<e", struct.pack("<H", value & 0xFFFF))[0], None
    return float(signed(value)), None


def _elements(shape: bytes) -> int:
    total = 1
    for number, wire, value in fields(shape):
        if number == 2 and wire == 2:
            total *= next((signed(size) for inner, kind, size in fields(value) if inner == 1 and kind == 0), 0)
    return total
