# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two binary readers against a fuzzer that follows their coverage: so many inputs, begun from real files."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils.readers import tfevents, wandb_file
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading

RUNS = 3000
PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
PROGRAM = Path(__file__).parent / "writing/fuzz_reader.py"
_LONGEST = 4096


def seeds(folder: Path, whole: bytes, records: Iterable[bytes]) -> Path:
    """A real file, and its first records alone: the fuzzer puts right checksums to them."""
    folder.mkdir()
    (folder / "file").write_bytes(b"\x00" + whole[:_LONGEST])
    parts = [len(record).to_bytes(2, "little") + record for record in records]
    for at in range(0, min(len(parts), 120), 6):
        (folder / f"records-{at}").write_bytes((b"\xff" + b"".join(parts[at : at + 6]))[:_LONGEST])
    return folder


def fuzz(python: Path, which: str, corpus: Path) -> None:
    options = [f"-runs={RUNS}", "-seed=1", f"-max_len={_LONGEST}", "-timeout=60", f"-artifact_prefix={corpus.parent}/"]
    argv = [python, PROGRAM, PLUGINS, which, "--", *options, corpus]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"Done {RUNS} runs" in ended.stderr


def row(step: int, loss: float) -> bytes:
    """A record of history with two items."""
    items = b""
    for key, value in (("_step", step), ("loss", loss)):
        item = b"\x0a" + bytes([len(key)]) + key.encode() + b"\x82\x01" + bytes([len(str(value))]) + str(value).encode()
        items += b"\x0a" + bytes([len(item)]) + item
    return items


def history(content: bytes) -> bytes:
    return b"\x12" + bytes([len(content)]) + content


@pytest.mark.accepts("R02")
def test_half_a_damaged_row_is_no_row_and_none_of_the_next(tmp_path: Path) -> None:
    """Its checksum is right, its content is not: what came before the damage went into the rows around it once."""
    records = [
        history(row(0, 1.5)),
        history(row(1, 9.5) + b"\x0a\x7f"),
        history(row(2, 2.5)),
        history(row(3, 9.5) + b"\x0a"),
    ]
    framed = wandb_file.HEADER
    for record in records:
        framed += struct.pack("<IHB", zlib.crc32(b"\x01" + record), len(record), 1) + record
    (tmp_path / "run-x.wandb").write_bytes(framed)
    read = wandb_file.read_wandb(str(tmp_path / "run-x.wandb"))
    assert list(read.series["loss"].values) == [1.5, 2.5]
    assert list(read.series["loss"].steps) == [0, 2]
    assert read.skipped == {"record that is no protocol buffer": 2}


@pytest.mark.accepts("R02")
def test_wandb_files(fuzzer: Path, wandb_runs: Path, tmp_path: Path) -> None:
    whole = next(wandb_runs.rglob("run-finished.wandb")).read_bytes()
    fuzz(fuzzer, "wandb", seeds(tmp_path / "seeds", whole, wandb_file.records(whole, Reading("wandb", ""))))


@pytest.mark.accepts("R19")
def test_event_files(fuzzer: Path, event_files: Path, tmp_path: Path) -> None:
    whole = next(event_files.rglob("*.tfevents.*")).read_bytes()
    found = tfevents.frames(whole, Reading("tensorboard", ""))
    fuzz(fuzzer, "tfevents", seeds(tmp_path / "seeds", whole, (whole[at : at + size] for at, size, _ in found)))
