# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Training runs to measure on, written by hand: what wrote them is no part of the bench. Their readers check that."""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.stoker.fleet.plugins.module_utils.readers.crc32c import masked

_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def rows(count: int) -> Iterator[dict[str, float]]:
    """A healthy training: five metrics, one of them seldom."""
    chance = random.Random(1)
    for step in range(count):
        loss = 3 * math.exp(-3 * step / count) + 0.3 + chance.gauss(0, 0.02)
        row = {
            "_step": step, "_timestamp": 1.7e9 + step / 2, "train/loss": loss, "lr": 3e-4,
            "grad_norm": 1 + chance.random(), "tokens_per_s": 10_000 + chance.gauss(0, 50),
        }  # fmt: skip
        yield row | ({"val/loss": loss + 0.05} if step % 100 == 0 else {})


def json_lines(path: Path, count: int) -> Path:
    """One row a line."""
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(count))
    return path


def event_file(folder: Path, points: int, tags: int) -> Path:
    """A TensorBoard event file of so many points, spread over so many tags."""
    folder.mkdir()
    chance = random.Random(1)
    with (folder / "events.out.tfevents.1700000000.bench.1.0").open("wb") as file:
        _record(file.write, _fixed64(1, 1.7e9) + _text(3, b"brain.Event:2"))
        for number in range(points):
            step, tag = divmod(number, tags)
            value = (
                _text(1, f"train/metric_{tag}".encode()) + b"\x15" + struct.pack("<f", 1 / (step + 1) + chance.random())
            )
            _record(file.write, _fixed64(1, 1.7e9 + step) + b"\x10" + _varint(step) + _text(5, _text(1, value)))
    return folder


def wandb_file(path: Path, count: int) -> Path:
    """A `.wandb` file: records of history, in blocks of 32 KiB."""
    run = _text(1, b"bench") + _text(3, b"pine")
    records = [_text(17, run), *(_text(2, _history(row)) for row in rows(count)), _text(18, b"\x08\x00")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b":W&B" + struct.pack("<HB", 0xBEE1, 0) + b"".join(_blocks(records)))
    return path


def _history(row: dict[str, float]) -> bytes:
    items = (_text(2, key.encode()) + _text(16, json.dumps(value).encode()) for key, value in row.items())
    return b"".join(_text(1, item) for item in items)


def _blocks(records: Iterable[bytes]) -> Iterator[bytes]:
    at = 7
    for record in records:
        first, rest = True, record
        while first or rest:
            left = _BLOCK - at % _BLOCK
            if left < 7:
                yield b"\0" * left
                at += left
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (_LAST if not first else _FULL) if not rest else (_FIRST if first else _MIDDLE)
            data = bytes([kind]) + part
            yield struct.pack("<IHB", zlib.crc32(data), len(part), kind) + part
            at += 7 + len(part)
            first = False


def _record(write: object, content: bytes) -> None:
    length = struct.pack("<Q", len(content))
    write(length + struct.pack("<I", masked(length)) + content + struct.pack("<I", masked(content)))  # type: ignore[operator]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _text(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _fixed64(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)
