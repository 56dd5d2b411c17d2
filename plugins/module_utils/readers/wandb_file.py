# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""W&B's run file, `run-ID.wandb`, read without W&B: 32 KiB blocks of checked records, each a protocol buffer.

The file of a run that goes on, or was killed, ends within a record: what is whole is given, and that is said.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence

from .jsonl import add_row
from .output_log import last_state
from .protobuf import WireError, fields, signed, text, varint
from .reading import Reading, Table, kind_of

_BLOCK = 32768
HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY, _SUMMARY, _CONFIG, _METRIC, _OUTPUT, _RUN, _EXIT, _ENVIRONMENT = 2, 3, 5, 12, 13, 17, 18, 26
_LOG_LINES = 200
_VALUE_TAG = b"\x82\x01"  # field 16, bytes
_GOALS = {1: "min", 2: "max"}


def read_wandb(path: str, parts: Sequence[str] = ("history", "summary")) -> Reading:
    """The reading of a `.wandb` file; `parts` can leave out what costs time. Raises OSError.

    `reading.info["incomplete"]` says whether the file ends within a record.
    """
    reading = Reading("wandb", path)
    with open(path, "rb") as file:
        data = file.read()
    table = Table()
    if not data.startswith(HEADER):
        reading.notes.append(_no_header(data))
        return reading
    take(data, table, reading, parts=parts)
    if not reading.rows and "history" in parts:
        reading.notes.append("no history in it" + (": it has a header alone" if len(data) == len(HEADER) else ""))
    return reading


def take(
    data: bytes, table: Table, reading: Reading, start: int = len(HEADER), parts: Sequence[str] = ("history", "summary")
) -> None:
    """Put the records from `start` on into `reading`; `data` begins with a block."""
    walk = _Walk(reading, table, parts)
    for record in records(data, reading, start):
        try:
            walk.record(record)
        except WireError:
            table.drop_row()
            reading.skip("record that is no protocol buffer")
    table.finish(reading)
    walk.close()


def _no_header(data):
    if not data:
        return "the file is empty"
    if HEADER.startswith(data):
        return "the file ends within its header"
    return "this is no .wandb file, or one of a version that is not known"


def records(data: bytes, reading: Reading, start: int = len(HEADER)) -> Iterator[bytes]:
    """The payload of each whole record. What is damaged is counted; a file that ends within a record is noted.

    `data` begins with a block. `reading.at` is where the first record begins that was not given yet.
    """
    at, end, parts = start, len(data), None
    reading.at = at
    while at < end:
        left = _BLOCK - at % _BLOCK
        if left < 7:
            at += left
            continue
        if at + 7 > end:
            return _cut(reading, end - at)
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        stop = at + 7 + length
        if kind == 0 and length == 0 and checksum == 0:
            # Reserved, never written: the writer was killed, or the disk filled up.
            at = _next_block(at, end)
            reading.skip("block with nothing written")
            continue
        if length > left - 7 or not _FULL <= kind <= _LAST:
            reading.skip("damaged record")
            at, parts = _next_block(at, end), None
            continue
        if stop > end:
            return _cut(reading, end - at)
        if zlib.crc32(data[at + 6 : stop]) != checksum:
            # The length may be what is damaged: only the next block is a safe place.
            reading.skip("damaged record")
            at, parts = _next_block(at, end), None
            continue
        begin, payload, at = at, data[at + 7 : stop], stop
        if kind == _FULL:
            if parts is not None:
                reading.skip("record without its end")
                parts = None
            reading.at = at
            yield payload
        elif kind == _FIRST:
            if parts is not None:
                reading.skip("record without its end")
            parts = [payload]
            reading.at = begin
        elif parts is None:
            if kind == _LAST:
                reading.skip("record without its beginning")
        else:
            parts.append(payload)
            if kind == _LAST:
                reading.at = at
                yield b"".join(parts)
                parts = None
    if parts is not None:
        _cut(reading, sum(map(len, parts)))
    return None


def _next_block(at, end):
    return min(end, (at // _BLOCK + 1) * _BLOCK)


def _cut(reading, count):
    reading.info["incomplete"] = True
    reading.skip("incomplete last record")
    reading.notes.append(f"the file ends within a record ({count} bytes): still being written, or cut")


class _Walk:
    """Takes records one after the other."""

    def __init__(self, reading, table, parts):
        self.reading = reading
        self.table = table
        self.names: dict[bytes, str] = {}
        self.log: deque[str] = deque([""], maxlen=_LOG_LINES)
        self.kinds = {_CONFIG: self._config, _RUN: self._run, _EXIT: self._exit, _ENVIRONMENT: self._environment}
        self.kinds[_METRIC] = self._metric
        if "history" in parts:
            self.kinds[_HISTORY] = self._history
            self.kinds[_OUTPUT] = self._output
        if "summary" in parts:
            self.kinds[_SUMMARY] = self._summary

    def record(self, data: bytes) -> None:
        """Take one record. Raises WireError."""
        at, end = 0, len(data)
        while at < end:
            tag, at = varint(data, at)
            if tag & 7 == 2:
                length, at = varint(data, at)
                if at + length > end:
                    raise WireError("a field longer than its record")
                take = self.kinds.get(tag >> 3)
                if take is not None:
                    take(data[at : at + length])
                at += length
            elif tag & 7 == 0:
                at = varint(data, at)[1]
            else:
                at += {1: 8, 5: 4}.get(tag & 7, end)

    def close(self) -> None:
        """All records were taken."""
        self.reading.log = [last_state(line.encode("utf-8", "replace")) for line in self.log if line.strip()]
        self.reading.summary.pop("_wandb", None)

    def _history(self, data):
        at, end, names, put = 0, len(data), self.names, self.table.put
        while at < end:
            # A short item, as nearly all are, costs a slice and a look-up.
            if data[at] != 0x0A:
                at = self._pass_field(data, at)
                continue
            length = data[at + 1] if at + 1 < end else 0x80
            at += 2
            if length >= 0x80:
                length, at = varint(data, at - 1)
            item = data[at : at + length]
            if len(item) != length:
                raise WireError("an item longer than its record")
            at += length
            cut = item.find(_VALUE_TAG)
            name = names.get(item[:cut]) if cut >= 0 else None
            if name is not None and cut + 3 <= length and item[cut + 2] == length - cut - 3:
                raw = item[cut + 3 :]
            else:
                name, raw = self._item(item)
                if name is None:
                    continue
            try:
                put(name, float(raw))
            except ValueError:
                self._no_number(name, raw)
        self.table.end_row()

    def _pass_field(self, data, at):
        tag, at = varint(data, at)
        if tag & 7 == 2:
            length, at = varint(data, at)
            return at + length
        if tag & 7 == 0:
            return varint(data, at)[1]
        raise WireError(f"wire type {tag & 7}")

    def _item(self, item):
        """(name, value as JSON) of an item; what stands before the value is remembered as a name."""
        key, nested, raw = None, [], None
        for number, _unused, value in fields(item):
            if number == 1:
                key = text(value)
            elif number == 2:
                nested.append(text(value))
            elif number == 16:
                raw = value
        name = ".".join(nested) if nested else key
        if name is None or not isinstance(raw, bytes):
            self.reading.skip("value without a name" if name is None else "name without a value")
            return None, None
        head = item[: item.find(_VALUE_TAG)]
        if _is_head(head):
            self.names[head] = name
        return name, raw

    def _no_number(self, name, raw):
        value = _json(raw)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.table.put(name, float(value))
        elif isinstance(value, dict) and "_type" not in value:
            add_row(value, self.table, self.reading, name + ".")
        elif value is _UNREADABLE:
            self.reading.skip("value that is no JSON")
        else:
            kind = value["_type"] if isinstance(value, dict) else kind_of(value)
            self.reading.skip(f"value that is no number ({kind if isinstance(kind, str) else 'object'})")

    def _summary(self, data):
        _update(self.reading.summary, data)

    def _config(self, data):
        _update(self.reading.config, data)
        self.reading.config.pop("_wandb", None)

    def _run(self, data):
        info = self.reading.info
        named = {1: "id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name", 9: "notes", 13: "host"}
        for number, wire, value in fields(data):
            if number in named and wire == 2:
                info[named[number]] = text(value)
            elif number == 4 and wire == 2:
                self._config(value)
            elif number == 5 and wire == 2:
                self._summary(value)
            elif number == 10 and wire == 2:
                if text(value) not in info.setdefault("tags", []):
                    info["tags"].append(text(value))
            elif number == 14 and wire == 0:
                info["starting_step"] = signed(value)
            elif number == 17 and wire == 2:
                info["started_at"] = _timestamp(value)
            elif number == 18 and wire == 0:
                info["resumed"] = bool(value)
            elif number == 21 and wire == 2:
                info.update(_git(value))

    def _environment(self, data):
        info = self.reading.info
        named = {1: "os", 2: "python", 6: "program", 12: "host", 18: "gpu", 25: "cuda"}
        for number, wire, value in fields(data):
            if number in named and wire == 2:
                info[named[number]] = text(value)
            elif number == 19 and wire == 0:
                info["gpus"] = value
            elif number == 9 and wire == 2:
                info.update(_git(value))

    def _exit(self, data):
        code = 0
        for number, wire, value in fields(data):
            if number == 1 and wire == 0:
                code = signed(value, 32)
            elif number == 2 and wire == 0:
                self.reading.info["runtime_s"] = signed(value, 32)
        self.reading.exits.append(code)

    def _metric(self, data):
        name, goal, summary = None, None, []
        for number, wire, value in fields(data):
            if number == 1 and wire == 2:
                name = text(value)
            elif number == 8 and wire == 0:
                goal = _GOALS.get(value)
            elif number == 7 and wire == 2:
                summary = [_GOALS[inner] for inner, _unused, on in fields(value) if inner in _GOALS and on]
        if goal is None and len(summary) == 1:
            goal = summary[0]  # whoever wants to see the lowest value of all thinks it the best
        if name is not None and goal is not None:
            self.reading.directions[name] = goal

    def _output(self, data):
        for number, wire, value in fields(data):
            if number == 3 and wire == 2:
                first, *more = text(value).split("\n")
                self.log[-1] += first
                self.log.extend(more)


class _Unreadable:
    pass


_UNREADABLE = _Unreadable()


def _json(raw):
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _is_head(head):
    """Whether these bytes are whole name fields: then the same bytes always say the same name."""
    try:
        return all(number in (1, 2) and wire == 2 for number, wire, _unused in fields(head))
    except WireError:
        return False


def _update(target, data):
    """Apply a record of updates (1) and removals (2) to a mapping; nested keys make nested mappings."""
    for number, wire, value in fields(data):
        if wire != 2 or number not in (1, 2):
            continue
        key, nested, raw = None, [], b""
        for inner, _unused, part in fields(value):
            if inner == 1:
                key = text(part)
            elif inner == 2:
                nested.append(text(part))
            elif inner == 16 and isinstance(part, bytes):
                raw = part
        path = nested or ([key] if key is not None else [])
        if path:
            _set(target, path, None if number == 2 else _json(raw), number == 2)


def _set(target, path, value, remove):
    for name in path[:-1]:
        inner = target.get(name)
        if not isinstance(inner, dict):
            if remove:
                return
            inner = target[name] = {}
        target = inner
    if remove:
        target.pop(path[-1], None)
    elif value is not _UNREADABLE:
        target[path[-1]] = value


def _git(data):
    named = {1: "remote", 2: "commit"}
    return {named[number]: text(value) for number, wire, value in fields(data) if number in named and wire == 2}


def _timestamp(data):
    seconds = nanos = 0
    for number, wire, value in fields(data):
        if wire == 0:
            seconds, nanos = (signed(value), nanos) if number == 1 else (seconds, value)
    return seconds + nanos / 1e9
