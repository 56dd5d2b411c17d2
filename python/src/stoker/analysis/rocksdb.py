"""A RocksDB database as its files have it: every key with its newest value. Nothing of it is locked or changed.

Tables are in the block-based format (uncompressed or Snappy), the log and the manifest in LevelDB's log format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path

from ansible_collections.stoker.fleet.plugins.module_utils.readers.crc32c import masked
from ansible_collections.stoker.fleet.plugins.module_utils.readers.protobuf import WireError, varint

_BLOCK = 32768
_MAGIC = 0x88E241B785F4CFF7
_FOOTER = 53
_COMPRESSIONS = {2: "zlib", 3: "bzip2", 4: "LZ4", 5: "LZ4", 7: "zstd"}
_VALUE, _DELETION, _SINGLE_DELETION, _RANGE_DELETION = 1, 0, 7, 15
_KINDS = (_VALUE, _DELETION, _SINGLE_DELETION, _RANGE_DELETION)
# Fields of the manifest that are one number, and those that are bytes with their length.
_NUMBERS, _BYTES = {2, 3, 4, 9, 10, 200, 203, 300}, {1, 201}
# At least every 16th key of a block is written whole, so that all of them are at most so many times as long as it.
_MOST_KEYS = 32


class Damaged(ValueError):
    """These files are no database that can be read, and why."""


def read_database(folder: Path, problems: list[str]) -> dict[bytes, bytes]:
    """All keys with their values. What cannot be read hides nothing else, and is told. Raises OSError, Damaged."""
    tables, first_log = _manifest(folder)
    newest: dict[bytes, tuple[int, int, bytes]] = {}
    ranges: list[tuple[bytes, bytes, int]] = []  # what is deleted from one key on, before another, up to a sequence
    logs = sorted(
        (int(path.stem), path) for path in folder.glob("*.log") if path.stem.isascii() and path.stem.isdecimal()
    )
    parts = [(folder / f"{number:06d}.sst", _table) for number in sorted(tables)]
    parts += [(path, _log) for number, path in logs if number >= first_log]
    for path, read in parts:
        try:
            for key, sequence, kind, value in read(path.read_bytes()):
                if kind == _RANGE_DELETION:
                    ranges.append((key, value, sequence))
                    continue
                known = newest.get(key)
                if known is None or sequence >= known[0]:
                    newest[key] = (sequence, kind, value)
        except FileNotFoundError:
            problems.append(f"{path.name} is not there, so what it held is not read")
        except (Damaged, WireError, struct.error, IndexError) as problem:
            problems.append(f"{path.name} is damaged, and what follows in it is not read: {problem}")
    deleted = _deleted(newest, ranges) if ranges else set()
    return {k: value for k, (_sequence, kind, value) in newest.items() if kind == _VALUE and k not in deleted}


def _deleted(newest: dict[bytes, tuple[int, int, bytes]], ranges: list[tuple[bytes, bytes, int]]) -> set[bytes]:
    """The keys that a later deletion of a range is about; each range is looked at once, however many there are."""
    found: set[bytes] = set()
    waiting = sorted(ranges, reverse=True)
    begun: list[tuple[int, bytes]] = []
    for key in sorted(newest):
        while waiting and waiting[-1][0] <= key:
            _first, end, before = waiting.pop()
            heappush(begun, (-before, end))
        while begun and begun[0][1] <= key:
            heappop(begun)
        if begun and newest[key][0] < -begun[0][0]:
            found.add(key)
    return found


def _manifest(folder: Path) -> tuple[set[int], int]:
    """The numbers of the tables that count, and of the first log whose content is in none of them."""
    name = (folder / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    number = name.removeprefix("MANIFEST-")
    if number == name or not (number.isascii() and number.isdecimal()):
        raise Damaged("CURRENT names no manifest")
    tables: set[int] = set()
    first_log = 0
    try:
        for record in _records((folder / name).read_bytes()):
            first_log = max(first_log, _edit(record, tables))
    except FileNotFoundError as problem:
        raise Damaged(f"{name} is not there, which CURRENT names") from problem
    except (WireError, IndexError) as problem:
        raise Damaged(f"its manifest is damaged: {problem}") from problem
    return tables, first_log


def _edit(record: bytes, tables: set[int]) -> int:
    """Take one change of the set of tables; the number of the first log that counts from there on (0: not said)."""
    at, first_log = 0, 0
    while at < len(record):
        tag, at = varint(record, at)
        if tag in _NUMBERS:
            number, at = varint(record, at)
            first_log = number if tag == 2 else first_log
        elif tag in _BYTES or tag & 0x2000:
            _unused, at = _bytes(record, at)
        elif tag == 6:
            _level, at = varint(record, at)
            number, at = varint(record, at)
            tables.discard(number)
        elif tag == 103:
            at = _new_table(record, at, tables)
        else:
            raise WireError(f"a change of kind {tag}")
    return first_log


def _new_table(record: bytes, at: int, tables: set[int]) -> int:
    _level, at = varint(record, at)
    number, at = varint(record, at)
    _size, at = varint(record, at)
    for _key in range(2):
        _unused, at = _bytes(record, at)
    for _sequence in range(2):
        _number, at = varint(record, at)
    while True:
        tag, at = varint(record, at)
        if tag == 1:
            tables.add(number)
            return at
        _unused, at = _bytes(record, at)


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a log or a manifest. One that is cut at the end was still being written, and is left out."""
    parts: list[bytes] = []
    for start in range(0, len(data), _BLOCK):
        block, at = data[start : start + _BLOCK], 0
        while at + 7 <= len(block):
            checksum, length, kind = struct.unpack_from("<IHB", block, at)
            if kind == 0 and length == 0:
                break  # the rest of the block was never written
            # From 5 on the files of an older log are used again: its number is in the head.
            head = 11 if kind >= 5 else 7
            content = block[at + head : at + head + length]
            if len(content) < length:
                return
            if masked(block[at + 6 : at + head + length]) != checksum:
                raise Damaged(f"a checksum does not fit at byte {start + at}")
            at += head + length
            form = kind - 4 if kind >= 5 else kind
            if form in (1, 2):
                parts = []
            parts.append(content)
            if form in (1, 4):
                yield b"".join(parts)


def _log(data: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """(key, sequence, kind, value) of what was written and is in no table yet."""
    for batch in _records(data):
        sequence, at = int.from_bytes(batch[:8], "little"), 12
        while at < len(batch):
            kind, at = batch[at], at + 1
            if kind == 3:  # a remark, which is no entry
                _unused, at = _bytes(batch, at)
                continue
            if kind not in _KINDS:
                raise Damaged(f"an entry of kind {kind}")
            key, at = _bytes(batch, at)
            value, at = _bytes(batch, at) if kind in (_VALUE, _RANGE_DELETION) else (b"", at)
            yield key, sequence, kind, value
            sequence += 1


def _table(data: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """The same of a table."""
    footer = data[-_FOOTER:]
    if len(footer) < _FOOTER or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise Damaged("it does not end as a table does")
    checked = footer[0] == 1
    about, at = varint(footer, 1)
    about_size, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    version = int.from_bytes(footer[-12:-8], "little")
    blocks = _apart(_handles(_block(data, offset, size, checked), version))
    known = dict(_entries(_block(data, about, about_size, checked)))
    if (value := known.get(b"rocksdb.range_del")) is not None:
        start, at = varint(value, 0)
        blocks.append((start, varint(value, at)[0]))
    for start, length in blocks:
        for key, value in _entries(_block(data, start, length, checked)):
            mark = int.from_bytes(key[-8:], "little")
            if mark & 0xFF not in _KINDS:
                raise Damaged(f"an entry of kind {mark & 0xFF}")
            yield key[:-8], mark >> 8, mark & 0xFF, value


def _apart(handles: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """The handles. Raises Damaged where one is listed twice or out of order: a few bytes may list it forever."""
    found, after = [], 0
    for offset, size in handles:
        if offset < after or size < 0:
            raise Damaged("its index does not list its blocks one after another")
        found.append((offset, size))
        after = offset + size + 5
    return found


def _block(data: bytes, offset: int, size: int, checked: bool) -> bytes:
    content, end = data[offset : offset + size], offset + size
    if end + 5 > len(data):
        raise Damaged("a block ends after the file")
    if checked and masked(data[offset : end + 1]) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise Damaged(f"a checksum does not fit at byte {offset}")
    if data[end] == 0:
        return content
    if data[end] == 1:
        return _unsnapped(content)
    raise Damaged(f"it is compressed by {_COMPRESSIONS.get(data[end], data[end])}, which is not read")


def _end_of_entries(block: bytes) -> int:
    restarts = int.from_bytes(block[-4:], "little")
    return len(block) - 4 - 4 * restarts


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; a key has as many bytes of the one before it as is said."""
    at, end, key, left = 0, _end_of_entries(block), b"", _MOST_KEYS * len(block)
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key):
            raise Damaged("a key has more of the one before it than there is")
        left -= shared + own
        if left < 0 or at + own + length > end:
            raise Damaged("its keys are longer than its block can have them")
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _handles(block: bytes, version: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of each block of entries. From version 4 on a handle may be told by the one before it."""
    if version < 4:
        for _key, value in _entries(block):
            offset, at = varint(value, 0)
            yield offset, varint(value, at)[0]
        return
    at, end, offset, size = 0, _end_of_entries(block), 0, 0
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        at += own
        if shared == 0:
            offset, at = varint(block, at)
            size, at = varint(block, at)
        else:
            offset += size + 5
            change, at = varint(block, at)
            size += (change >> 1) ^ -(change & 1)
        yield offset, size


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(data, at)
    if at + length > len(data):
        raise WireError("a field longer than its record")
    return data[at : at + length], at + length


def _unsnapped(data: bytes) -> bytes:
    """What Snappy compressed."""
    size, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        form, length = tag & 3, tag >> 2
        if form == 0:
            if length >= 60:
                more = length - 59
                length, at = int.from_bytes(data[at : at + more], "little"), at + more
            out += data[at : at + length + 1]
            at += length + 1
            continue
        if form == 1:
            length, back, at = (length & 7) + 4, (tag >> 5 << 8) | data[at], at + 1
        else:
            wide = 2 if form == 2 else 4
            length, back, at = length + 1, int.from_bytes(data[at : at + wide], "little"), at + wide
        if not 0 < back <= len(out) or len(out) > size:
            raise Damaged("what is compressed refers to what is not there")
        for _byte in range(length):
            out.append(out[-back])
    if len(out) != size:
        raise Damaged("what is compressed is not whole")
    return bytes(out)
