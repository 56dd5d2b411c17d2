# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in other forms than usual, and files that are empty or not what their name says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from asked import Asked, the_run

from ansible_collections.stoker.fleet.plugins.module_utils.readers.tail import Tail

ROWS = "".join(f'{{"step": {step}, "loss": {1 / (step + 1)}, "näme": {step}}}\n' for step in range(200))
CELLS = "step,loss,näme\n" + "".join(f"{step},{1 / (step + 1)},{step}\n" for step in range(200))
LINES = "".join(f"step {step} loss {1 / (step + 1)}\n" for step in range(200))
VALUES = [1 / (step + 1) for step in range(200)]
FORMS = {
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "utf-16-be with its mark": lambda text: ("\ufeff" + text).encode("utf-16-be"),
    "utf-8 with its mark": lambda text: text.encode("utf-8-sig"),
}


@pytest.mark.accepts("R03")
@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "out.log"])
@pytest.mark.parametrize("form", FORMS)
def test_utf_16_is_read_like_any_text(name: str, form: str, tmp_path: Path) -> None:
    text = {"m.jsonl": ROWS, "m.csv": CELLS, "out.log": LINES}[name]
    data = FORMS[form](text)
    (tmp_path / name).write_bytes(data)
    run = the_run(tmp_path)
    assert list(run.metrics["loss"].values) == VALUES
    assert list(run.metrics["loss"].steps) == list(range(200))
    assert ("näme" in run.metrics) == (name != "out.log")
    assert not run.skipped
    # While it grows, cut anywhere.
    (tmp_path / name).write_bytes(b"")
    tail, seen = Tail(run.info.kind, str(tmp_path / name)), []
    for begin in range(0, len(data), 777):
        with (tmp_path / name).open("ab") as file:
            file.write(data[begin : begin + 777])
        for reading in tail.read():
            assert not reading.skipped
            seen += list(reading.series["loss"].values) if "loss" in reading.series else []
    assert seen == VALUES


@pytest.mark.accepts("R03")
@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_are_read_where_they_are_sure(mark: str, tmp_path: Path, stoker: Asked) -> None:
    path = tmp_path / "m.csv"
    path.write_text(CELLS.replace(",", mark))
    assert list(the_run(tmp_path).metrics["loss"].values) == VALUES
    (reading,) = Tail("csv", str(path)).read()
    assert list(reading.series["loss"].values) == VALUES
    # A comma in the header: nobody knows which of them separates.
    path.write_text(f"step,loss{mark}x\n1,2\n")
    assert list(the_run(path).metrics) == [f"loss{mark}x"]
    # 1,5 may be one and a half or fifteen.
    path.write_text("step;loss\n1;1,5\n2;2,5\n")
    assert "2 x value that is no number (with a comma: write a point)" in stoker("summary", path).out


@pytest.mark.accepts("R25")
@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "x.log", "x.json", "events.tfevents.1", "run-x.wandb"])
def test_an_empty_file_is_called_empty(name: str, tmp_path: Path, stoker: Asked) -> None:
    (tmp_path / name).touch()
    said = stoker("summary", tmp_path / name)
    assert said.code == 0
    assert "! the file is empty" in said.out
    assert "recognised" not in said.out


@pytest.mark.accepts("R25")
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, stoker: Asked) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as base:
        base.execute("CREATE TABLE sales (id)")
        base.commit()
    whole = (tmp_path / "other.db").read_bytes()
    for name, data, words, code in (
        ("a.db", b"", "a.db is empty", 1), ("b.sqlite", b"hello", "b.sqlite is no file of SQLite", 1),
        ("other.db", whole, "other.db is a file of SQLite, and no store of trackio or MLflow", 1),
        ("cut.db", whole[:100] + b"\xff" * 4000, "cut.db cannot be read: not a readable store", 1),
        ("r_part_0.parquet", b"", "r_part_0.parquet cannot be read: it is empty", 1),
        ("r_part_0.parquet", b"none", "r_part_0.parquet cannot be read: it does not begin as Parquet does", 1),
        ("table.parquet", b"PAR1", "table.parquet is no part of an export of Neptune", 1),
        ("r_part_0.parquet", b"PAR1" + b"x" * 40 + b"PAR1", "it cannot be read as Parquet", 0),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        said = stoker("summary", tmp_path / name)
        assert said.code == code, name
        assert words in said.out + said.err
