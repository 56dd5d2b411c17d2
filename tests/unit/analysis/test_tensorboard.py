# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorBoard's event files, written by TensorBoard, and what is left of them when they are damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from asked import Asked, the_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers import crc32c, tfevents
from stoker.analysis.checksums import damaged


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
