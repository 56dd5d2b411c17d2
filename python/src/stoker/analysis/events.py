"""Event files whose records come in long rows of one form, as those of a training do: all records of a row at once."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ansible_collections.stoker.fleet.plugins.module_utils.readers import tfevents
from ansible_collections.stoker.fleet.plugins.module_utils.readers.crc32c import TABLE, masked
from ansible_collections.stoker.fleet.plugins.module_utils.readers.protobuf import text
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series
from stoker.analysis.checksums import damaged

_TABLE = np.array(TABLE, dtype=np.uint32)
_Rows = NDArray[np.uint8]
_HEAD = 12
# Rows that are shorter on average are taken one by one: so many are tried.
_SHORT, _TRIED = 32, 64
# A point is short, and its step has so many bytes at most.
_LONG, _STEP_AT, _LONGEST_STEP = 256, 10, 5
_MOST_TAGS = 200
# Fewer records than this are checked one by one, and so are long ones.
_FEW, _WIDE = 16, 4096


class _Odd(Exception):
    """This file has something that only the plain reader reads exactly, or as fast."""


def read_event_file(path: str) -> Reading:
    """The reading of an event file; what `tfevents.read_tfevents` gives. Raises OSError."""
    data = Path(path).read_bytes()
    try:
        return _read(path, data)
    except _Odd:
        return tfevents.read_tfevents(path, damaged)


def _read(path: str, data: bytes) -> Reading:
    """The same of a file of whole records, none of them damaged. Raises _Odd for any other."""
    reading = Reading("tensorboard", path)
    points: dict[bytes, list[tuple[NDArray[Any], ...]]] = defaultdict(list)
    others: list[tuple[int, int, int]] = []
    for at, rows in _rows(data):
        length = rows.shape[1] - _HEAD - 4
        content = rows[:, _HEAD : _HEAD + length]
        _check(content, rows[:, -4:])
        taken = _take(content, points)
        others += [(at + int(row) * rows.shape[1] + _HEAD, length, 0) for row in np.flatnonzero(~taken)]
    rest = Reading("tensorboard", path)
    tfevents.take(data, others, rest)
    names = [text(tag) for tag in points]
    if len(set(names)) < len(names) or not rest.series.keys().isdisjoint(names):
        raise _Odd  # of one metric some points were taken apart, so their order is lost
    for name, parts in zip(names, points.values(), strict=True):
        steps, values, times = (np.concatenate(column) for column in zip(*parts, strict=True))
        reading.series[name] = Series(steps, values, times)
        reading.rows += len(steps)
    reading.series.update(rest.series)
    reading.rows += rest.rows
    reading.config, reading.info, reading.skipped, reading.notes = rest.config, rest.info, rest.skipped, rest.notes
    return reading


def _rows(data: bytes) -> Iterator[tuple[int, _Rows]]:
    """Where each row of records with one length begins, and its records."""
    raw, at, end, number = np.frombuffer(data, dtype=np.uint8), 0, len(data), 0
    records = 0
    while at < end:
        if at + _HEAD > end or masked(data[at : at + 8]) != int.from_bytes(data[at + 8 : at + _HEAD], "little"):
            raise _Odd
        size = struct.unpack_from("<Q", data, at)[0] + _HEAD + 4
        most = (end - at) // size
        if not most:
            raise _Odd
        rows = raw[at : at + most * size].reshape(most, size)
        count = _alike(rows)
        yield at, rows[:count]
        at, number, records = at + count * size, number + 1, records + count
        if number > _TRIED and records < number * _SHORT:
            raise _Odd


def _alike(rows: _Rows) -> int:
    """How many records from the first one on have its head. More and more are looked at, never all for a few."""
    known, window = 1, 64
    while known < len(rows):
        same = (rows[known : known + window, :_HEAD] == rows[0, :_HEAD]).all(axis=1)
        if not same.all():
            return known + int(same.argmin())
        known, window = known + len(same), window * 4
    return known


def _check(content: _Rows, checksums: _Rows) -> None:
    """Raises _Odd where a checksum does not fit."""
    if len(content) < _FEW or content.shape[1] > _WIDE:
        for row, known in zip(content, checksums, strict=True):
            if masked(row.tobytes()) != int.from_bytes(known.tobytes(), "little"):
                raise _Odd
        return
    crc = np.full(len(content), 0xFFFFFFFF, dtype=np.uint32)
    for offset in range(content.shape[1]):
        crc = _TABLE[(crc ^ content[:, offset]) & 0xFF] ^ (crc >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    found = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
    if (found != np.ascontiguousarray(checksums).view("<u4")[:, 0]).any():
        raise _Odd


def _take(rows: _Rows, points: dict[bytes, list[tuple[NDArray[Any], ...]]]) -> NDArray[np.bool_]:
    """Take those of these events that are one simple value; which they are."""
    taken = np.zeros(len(rows), dtype=bool)
    if not 0 < rows.shape[1] <= _LONG:
        return taken
    forms = [(size, _of_form(rows, size)) for size in range(1, _LONGEST_STEP + 1)]
    if sum(fits.any() for _size, fits in forms) > 1:
        raise _Odd  # steps of several lengths beside tags of several lengths: their order would be lost
    for size, fits in forms:
        if fits.any():
            _points(rows[fits], size, points)
            taken |= fits
    return taken


def _of_form(rows: _Rows, size: int) -> NDArray[np.bool_]:
    """Which events are 09 wall time, 10 step of so many bytes, 2A summary, 0A value, 0A tag, 15 simple value."""
    length, after = rows.shape[1], _STEP_AT + size
    tag = length - after - 11
    if tag < 0 or length - after - 2 >= 0x80:
        return np.zeros(len(rows), dtype=bool)
    form = {
        0: 0x09, 9: 0x10, after: 0x2A, after + 1: length - after - 2, after + 2: 0x0A, after + 3: length - after - 4,
        after + 4: 0x0A, after + 5: tag, length - 5: 0x15,
    }  # fmt: skip
    step = rows[:, _STEP_AT:after]
    fits: NDArray[np.bool_] = (step[:, -1] < 0x80) & (step[:, :-1] >= 0x80).all(axis=1)
    for at, byte in form.items():
        fits &= rows[:, at] == byte
    return fits


def _points(rows: _Rows, size: int, points: dict[bytes, list[tuple[NDArray[Any], ...]]]) -> None:
    after = _STEP_AT + size
    step = (rows[:, _STEP_AT:after] & 0x7F).astype(np.int64) << (7 * np.arange(size))
    steps = step.sum(axis=1).astype(np.float64)
    times = np.ascontiguousarray(rows[:, 1:9]).view("<f8")[:, 0]
    values = np.ascontiguousarray(rows[:, -4:]).view("<f4")[:, 0].astype(np.float64)
    tags = rows[:, after + 6 : -5]
    left = np.ones(len(rows), dtype=bool)
    for _tag in range(_MOST_TAGS):
        if not left.any():
            return
        first = tags[int(left.argmax())]
        same = left & (tags == first).all(axis=1)
        points[first.tobytes()].append((steps[same], values[same], times[same]))
        left &= ~same
    raise _Odd
