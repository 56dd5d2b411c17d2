# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorBoard's event files, written by TensorBoard, and what is left of them when they are damaged."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, the_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers import crc32c, tfevents
from stoker.analysis import events
from stoker.analysis.checksums import damaged
from stoker.analysis.events import read_event_file


@pytest.mark.accepts("R19")
def test_100000_points_in_are_100000_points_out(write: object, tmp_path: Path) -> None:
    write("event_files", tmp_path, 100_000, 0)  # type: ignore[operator]
    loss = the_run(tmp_path).metrics["train/loss"]
    assert loss.steps.tolist() == list(range(100_000))
    assert loss.values.tolist() == [step / 8 for step in range(100_000)]


@pytest.mark.accepts("R19")
def test_simple_values_and_tensors_of_every_type_are_points(event_files: Path) -> None:
    run = the_run(event_files)
    for kind in ("f32", "f64", "f16", "i32", "i64"):
        metric = run.metrics[f"tensor/{kind}"]
        assert metric.values.tolist() == list(range(20)), kind
        assert metric.steps.tolist() == list(range(0, 200, 10)), kind
    assert run.metrics["tensor/bool"].values.tolist() == [0, *[1] * 19]
    assert run.metrics["one"].last == 2
    assert run.metrics["two"].last == 1
    assert run.metrics["train/loss"].times is not None
    assert run.metrics["train/loss"].times[5] == 1.7e9 + 5
    assert run.skipped == {"value that is no number (text)": 1, "value that is no number (tensor)": 1}


@pytest.mark.accepts("R19")
def test_several_files_of_one_folder_are_one_run(write: object, tmp_path: Path) -> None:
    write("event_files", tmp_path / "a", 100, 0)  # type: ignore[operator]
    write("event_files", tmp_path / "a", 100, 80)  # type: ignore[operator]
    write("event_files", tmp_path / "b", 10, 0)  # type: ignore[operator]
    run = the_run(tmp_path / "a")
    assert len(run.info.segments) == 2
    loss = run.metrics["train/loss"]
    assert len(loss) == 200
    assert (np.diff(loss.steps) >= 0).all()
    assert loss.last_step == 179
    assert any("segment 2 begins at step 80" in remark for remark in run.remarks)


def test_the_settings_of_hparams_are_its_config(event_files: Path) -> None:
    assert the_run(event_files).info.config == {"lr": 0.25, "name": "adam", "big": True}


def test_an_event_file_that_grows_gives_more_and_never_less(event_files: Path, tmp_path: Path) -> None:
    (file,) = event_files.glob("exp1/*")
    data, cut, before = file.read_bytes(), tmp_path / "events.out.tfevents.1", 0
    for length in [*range(400), *range(400, len(data), 47)]:
        cut.write_bytes(data[:length])
        reading = tfevents.read_tfevents(str(cut))
        assert reading.rows >= before
        before = reading.rows
        assert bool(reading.skipped.get("incomplete last record")) == any("cut" in note for note in reading.notes)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_bits_are_noticed_and_counted(event_files: Path, tmp_path: Path, data: st.DataObject) -> None:
    (file,) = event_files.glob("exp1/*")
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "events.out.tfevents.1"
    flipped.write_bytes(content)
    reading = tfevents.read_tfevents(str(flipped), damaged)
    assert set(reading.skipped) & {"damaged record", "bytes after damage", "incomplete last record"}


def test_one_damaged_record_costs_one_point(event_files: Path, tmp_path: Path) -> None:
    (file,) = event_files.glob("exp1/*")
    content = bytearray(file.read_bytes())
    content[content.index(struct.pack("<f", 150 / 8))] ^= 1
    flipped = tmp_path / "events.out.tfevents.1"
    flipped.write_bytes(content)
    run = the_run(flipped)
    assert run.skipped["damaged record"] == 1
    assert run.metrics["train/loss"].steps.tolist() == [step for step in range(300) if step != 150]


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert crc32c.crc32c(b"") == 0


def test_both_ways_to_check_find_the_same(event_files: Path) -> None:
    (file,) = event_files.glob("exp1/*")
    data = bytearray(file.read_bytes())
    for at in range(500, len(data), 701):
        data[at] ^= 0x10
    records = [(at, length, 7) for at in range(0, 4000, 40) for length in (39, 5000)]
    reading = tfevents.Reading("tensorboard", "")
    records += tfevents.frames(bytes(file.read_bytes()), reading)
    assert damaged(bytes(data), records) == tfevents.check_content(bytes(data), records)


def test_a_summary_of_events(event_files: Path, stoker: Asked) -> None:
    said = stoker("summary", event_files)
    assert said.code == 0
    assert "this format records no end" in said.out
    assert "train/loss 37.38 ▁▂▃▄▄▅▆▇" in said.out


def event(step: int, content: bytes) -> bytes:
    number = b""
    while step >= 0x80:
        number, step = number + bytes([step & 0x7F | 0x80]), step >> 7
    body = b"\x09" + struct.pack("<d", 1.7e9 + step / 7) + b"\x10" + number + bytes([step])
    return body + b"\x2a" + bytes([len(content)]) + content


def point(tag: bytes, value: float, extra: bytes = b"") -> bytes:
    inner = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value) + extra
    return b"\x0a" + bytes([len(inner)]) + inner


def framed(records: list[bytes]) -> bytes:
    made = b""
    for record in records:
        head = struct.pack("<Q", len(record))
        made += head + struct.pack("<I", crc32c.masked(head)) + record + struct.pack("<I", crc32c.masked(record))
    return made


def told(reading: Any) -> Any:
    columns = {
        name: [list(map(repr, map(float, column))) for column in (series.steps, series.values, series.times)]
        for name, series in reading.series.items()
    }
    return columns, reading.rows, reading.skipped, reading.notes, reading.config, reading.info


STRETCHES = st.lists(
    st.tuples(
        st.sampled_from([b"loss", b"acc1", b"val/loss", b"\xff\xfe12", b"\xfe\xff12", b""]),
        st.sampled_from([0, 100, 120, 16_380, 2_097_150, 2**34, 2**40]),
        st.integers(1, 90),
        st.sampled_from([b"", b"", b"", b"\x4a\x00", b"\x18\x01"]),
    ),
    max_size=6,
)


@pytest.mark.accepts("R19")
@settings(deadline=None, max_examples=60)
@given(stretches=STRETCHES, turns=st.booleans(), damage=st.one_of(st.none(), st.integers(0, 10**6)), cut=st.booleans())
def test_rows_of_records_are_read_as_one_record_after_the_other(
    stretches: Any, turns: bool, damage: int | None, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = [
        [event(first + n, point(tag, math.nan if n == 3 else n / 3, extra)) for n in range(count)]
        for tag, first, count, extra in stretches
    ]
    mixed = [one for row in itertools.zip_longest(*runs) for one in row if one is not None]
    data = framed([event(0, b"")[:9], *(mixed if turns else itertools.chain(*runs))])
    if damage is not None:
        at = damage % len(data)
        data = data[:at] if cut else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    path = tmp_path_factory.mktemp("rows") / "events.tfevents.1"
    path.write_bytes(data)
    assert told(read_event_file(str(path))) == told(tfevents.read_tfevents(str(path)))


@pytest.mark.accepts("R19")
def test_a_usual_file_is_read_by_rows(write: object, tmp_path: Path) -> None:
    write("event_files", tmp_path, 20_000, 0)  # type: ignore[operator]
    (path,) = (found for found in tmp_path.rglob("*.tfevents.*"))
    data = framed([event(step, point(b"loss" if step % 2 else b"acc1", step / 3)) for step in range(3000)])
    reading = events._read("x", data)
    assert {name: len(series.values) for name, series in reading.series.items()} == {"loss": 1500, "acc1": 1500}
    assert told(read_event_file(str(path))) == told(tfevents.read_tfevents(str(path)))
