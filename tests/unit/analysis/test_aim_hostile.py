# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Aim repositories that nobody's Aim wrote: every checksum is good, and what they hold is meant to do harm."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils.readers.crc32c import masked
from stoker.analysis import read, runs_in
from stoker.analysis.rocksdb import read_database

MAGIC = 0x88E241B785F4CFF7
FLOAT = b"\3" + struct.pack("<d", 1.0)
Entry = tuple[bytes, bytes]


def number(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def record(content: bytes, kind: int = 1) -> bytes:
    return struct.pack("<IHB", masked(bytes([kind]) + content), len(content), kind) + content


def batch(entries: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    listed = list(entries)
    out = struct.pack("<QI", 1, len(listed))
    for kind, key, value in listed:
        out += bytes([kind]) + number(len(key)) + key + number(len(value)) + value
    return out


def database(folder: Path, entries: Iterable[Entry], manifest: bytes = b"\2\1") -> None:
    folder.mkdir(parents=True)
    (folder / "CURRENT").write_text("MANIFEST-000001\n")
    (folder / "MANIFEST-000001").write_bytes(record(manifest))
    (folder / "000002.log").write_bytes(record(batch((1, key, value) for key, value in entries)))


def key(*parts: str | int) -> bytes:
    def one(part: str | int) -> bytes:
        return part.encode() + b"\xfe" if isinstance(part, str) else b"\xfe" + part.to_bytes(8, "big") + b"\xfe"

    return b"".join(one(part) for part in parts)


def of_run(*parts: str | int, run: str = "abc") -> bytes:
    return key("meta", "chunks", run, *parts)


def repository(folder: Path, meta: Iterable[Entry], series: Iterable[Entry] = (), run: str = "abc") -> None:
    database(folder / ".aim/meta/chunks" / run, meta)
    database(folder / ".aim/seqs/chunks" / run, series)


def point(step: int, value: bytes, what: str = "val", run: str = "abc") -> Entry:
    return key("seqs", "v2", "chunks", run, 1, "loss", what, step), value


def table(block: bytes, index: Iterable[tuple[int, int]]) -> bytes:
    """A table of one block of entries, with an index that lists what is asked for; all checksums are good."""
    out = bytearray()

    def put(content: bytes) -> bytes:
        start = len(out)
        out.extend(content + b"\0" + struct.pack("<I", masked(content + b"\0")))
        return number(start) + number(len(content))

    put(block + struct.pack("<I", 0))
    handles = (number(offset) + number(size) for offset, size in index)
    listed = put(b"".join(number(0) * 2 + number(len(one)) + one for one in handles) + struct.pack("<I", 0))
    about = put(struct.pack("<I", 0))
    footer = (b"\1" + about + listed).ljust(41, b"\0") + struct.pack("<IQ", 3, MAGIC)
    return bytes(out) + footer


def with_table(folder: Path, content: bytes) -> Path:
    new = [103, 0, 7, 1, 0, 0, 0, 0, 1]
    database(folder, [(b"fine", b"v")], b"".join(number(part) for part in new))
    (folder / "000007.sst").write_bytes(content)
    return folder


def entry(own: bytes, *, shared: int = 0) -> bytes:
    return number(shared) + number(len(own)) + number(0) + own


ONE = entry(b"k" + b"\1" + b"\0" * 7)


@pytest.mark.accepts("R35")
@pytest.mark.parametrize(
    ("block", "index", "said"),
    [
        (ONE, [(0, len(ONE) + 4)] * 1000, "its index does not list its blocks one after another"),
        (entry(b"\1" * 9) + entry(b"\1", shared=1 << 28), None, "more of the one before it than there is"),
        (entry(b"\1" * 9) + b"".join(entry(b"\1", shared=at) for at in range(9, 2000)), None, "keys are longer than"),
        (number(0) + number(1 << 40) + number(0), None, "keys are longer than"),
    ],
)
def test_a_table_that_grows_is_refused_and_hides_nothing_else(
    tmp_path: Path, block: bytes, index: list[tuple[int, int]] | None, said: str
) -> None:
    problems: list[str] = []
    folder = with_table(tmp_path / "db", table(block, index or [(0, len(block) + 4)]))
    assert read_database(folder, problems)[b"fine"] == b"v"
    (problem,) = problems
    assert said in problem
    good = with_table(tmp_path / "good", table(ONE, [(0, len(ONE) + 4)]))
    assert read_database(good, problems) == {b"fine": b"v", b"k": b""}
    assert len(problems) == 1


@pytest.mark.accepts("R35")
def test_later_deletions_of_ranges_hold(tmp_path: Path) -> None:
    database(tmp_path / "db", [])
    letters = [bytes([at]) for at in b"abcdefgh"]
    changes = [(1, one, b"v") for one in letters]
    changes += [(15, b"b", b"d"), (15, b"c", b"e"), (15, b"g", b"g"), (1, b"c", b"new"), (15, b"x", b"z")]
    (tmp_path / "db/000002.log").write_bytes(record(batch(changes)))
    assert "".join(sorted(found.decode() for found in read_database(tmp_path / "db", []))) == "acefgh"


@pytest.mark.accepts("R35")
@pytest.mark.parametrize(
    ("meta", "series"),
    [
        ([(of_run(), b"\7")], []),
        ([], [point(5, b"\2" + b"\xff" * 199 + b"\x7f"), point(5, FLOAT, "step")]),
        ([(of_run("attrs", *["a"] * 5000), FLOAT)], []),
        ([(of_run("attrs", "big"), b"\2" + b"\x7f" * 3000)], []),
    ],
)
def test_what_no_aim_writes_hides_nothing_else(tmp_path: Path, meta: list[Entry], series: list[Entry]) -> None:
    fine = [(of_run("attrs", "lr"), FLOAT)]
    points = [point(step, FLOAT, what) for step in (1, 2) for what in ("val", "step")]
    repository(tmp_path, [*meta, *fine], [*series, *points])
    other = [(of_run("attrs", "lr", run="other"), FLOAT)]
    repository(tmp_path, other, run="other")
    (tmp_path / ".aim/meta/chunks/abc/\u00b2.log").touch()
    (tmp_path / ".aim/meta/chunks/third").mkdir()
    (tmp_path / ".aim/meta/chunks/third/CURRENT").write_bytes(b"MANIFEST-\0")
    found = {run.info.id: read(run) for run in runs_in(tmp_path)}
    assert set(found) == {"abc", "other", "third"}
    assert found["other"].info.config == found["abc"].info.config == {"lr": 1.0}
    assert len(found["abc"].metrics["loss"].steps) == 2
    json.dumps(found["abc"].info.config)


@pytest.mark.accepts("R35")
@pytest.mark.parametrize("login", ["oauth2:ghp_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@", "sometoken@", "me:pass@word@"])
def test_the_login_of_a_remote_is_left_out(tmp_path: Path, login: str) -> None:
    noted = f"https://{login}github.com/o/r.git"
    place = of_run("attrs", "__system_params", "git_info", "remote_origin_url")
    repository(tmp_path, [(place, b"\4" + noted.encode())])
    (run,) = runs_in(tmp_path)
    assert run.info.facts["remote"] == "https://github.com/o/r.git"
