# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw bytes at a binary reader: `python fuzz_reader.py PLUGINS wandb|tfevents SEEDS... -- libFuzzer's options`.

The first byte of an input says what it is: a whole file, or records whose checksums are right, so that what reads
them is reached. A reader may raise OSError alone, and everything else that it raises ends this program.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib

import atheris

plugins, which = sys.argv[1:3]
options = sys.argv[sys.argv.index("--") + 1 :]
sys.path.insert(0, plugins)
with atheris.instrument_imports(include=["module_utils"]):
    from module_utils.readers import crc32c, tfevents, wandb_file

FILE = os.memfd_create("input")
PATH = f"/proc/self/fd/{FILE}"


def pieces(data: bytes) -> list[bytes]:
    """Records: a length of two bytes before each."""
    found = []
    while len(data) > 2:
        length = int.from_bytes(data[:2], "little") or 1
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    return found


def wandb(data: bytes) -> bytes:
    framed = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for piece in pieces(data):
        framed += struct.pack("<IHB", zlib.crc32(b"\x01" + piece), len(piece), 1) + piece
    return framed


def event(data: bytes) -> bytes:
    framed = b""
    for piece in pieces(data):
        length = struct.pack("<Q", len(piece))
        framed += length + struct.pack("<I", crc32c.masked(length)) + piece
        framed += struct.pack("<I", crc32c.masked(piece))
    return framed


def one(data: bytes) -> None:
    whole = data[:1] < b"\x40"
    content = data[1:] if whole else (wandb if which == "wandb" else event)(data[1:])
    os.ftruncate(FILE, 0)
    os.pwrite(FILE, content, 0)
    read = wandb_file.read_wandb(PATH) if which == "wandb" else tfevents.read_tfevents(PATH)
    for series in read.series.values():
        assert len(series.steps) == len(series.values)
        assert series.times is None or len(series.times) == len(series.values)
    assert all(count > 0 for count in read.skipped.values())


atheris.Setup([sys.argv[0], *options], one)
atheris.Fuzz()
