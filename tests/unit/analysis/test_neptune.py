# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parquet with the columns that neptune-exporter's README lists.

The service is gone and the tool is not on PyPI: the files are written here, with its column types.
"""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import pytest
from asked import Asked, the_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.analysis import read, runs_in

COLUMNS = """
project_id VARCHAR, run_id VARCHAR, attribute_path VARCHAR, attribute_type VARCHAR, step DECIMAL(18,6),
timestamp TIMESTAMPTZ, int_value BIGINT, float_value DOUBLE, string_value VARCHAR, bool_value BOOLEAN,
datetime_value TIMESTAMPTZ, string_set_value VARCHAR[], file_value STRUCT(path VARCHAR),
histogram_value STRUCT(type VARCHAR, edges DOUBLE[], "values" DOUBLE[])
"""


def export(folder: Path, run: str = "SAN-1", steps: int = 20) -> Path:
    """Two parts of a run, as the exporter parts them."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as base:
        base.execute(f"CREATE TABLE t ({COLUMNS})")

        def add(path: str, kind: str, **values: object) -> None:
            given_ = {"project_id": "me/pine", "run_id": run, "attribute_path": path, "attribute_type": kind, **values}
            marks = ", ".join("?" * len(given_))
            base.execute(f"INSERT INTO t ({', '.join(given_)}) VALUES ({marks})", list(given_.values()))

        add("sys/name", "string", string_value="wide")
        add("sys/tags", "string_set", string_set_value=["baseline", "long"])
        add("sys/failed", "bool", bool_value=True)
        add("params/lr", "float", float_value=1e-3)
        add("params/optimizer/layers", "int", int_value=12)
        add("params/amp", "bool", bool_value=True)
        for step in range(steps):
            at = f"2026-01-01 00:00:{step:02d}+00"
            value = math.nan if step == 3 else 1 / (step + 1)
            add("train/loss", "float_series", step=step, timestamp=at, float_value=value)
            if step % 5 == 0:
                add("val/acc", "float_series", step=step + 0.5, timestamp=at, float_value=step / 20)
        add("monitoring/stdout", "string_series", step=1, timestamp="2026-01-01 00:00:01+00", string_value="hello")
        for number, where in enumerate(("step IS NULL OR step < 10", "step >= 10")):
            file = str(folder / f"{run}_part_{number}.parquet").replace("'", "''")
            base.execute(f"COPY (SELECT * FROM t WHERE {where}) TO '{file}' (FORMAT parquet)")
    return folder


@pytest.mark.accepts("R36")
def test_an_exported_run_is_read(tmp_path: Path, stoker: Asked) -> None:
    export(tmp_path / "me_pine_1a2b")
    run = the_run(tmp_path)
    loss = run.metrics["train/loss"]
    assert loss.steps.tolist() == list(range(20))
    assert [v for v in loss.values.tolist() if not math.isnan(v)] == [1 / (s + 1) for s in range(20) if s != 3]
    assert loss.times is not None
    assert float(loss.times[5] - loss.times[0]) == 5
    assert run.metrics["val/acc"].steps.tolist() == [0.5, 5.5, 10.5, 15.5]
    assert (run.info.kind, run.info.id, run.info.name, run.info.project) == ("neptune", "SAN-1", "wide", "me/pine")
    assert run.info.tags == ("baseline", "long")
    assert run.info.state.name == "failed"
    assert run.info.updated_at - (run.info.started_at or 0) == 19
    assert run.info.config == {"params": {"lr": 0.001, "optimizer": {"layers": 12}, "amp": True}}
    assert run.skipped == {"value that is no number (string_series)": 1}
    assert "1 NaN" in stoker("summary", "SAN-1", "--folder", tmp_path).out
    assert len(stoker("query", "config.params.lr < 1", tmp_path, "--json").value["runs"]) == 1


@pytest.mark.accepts("R36")
def test_odd_names_of_folders_are_no_patterns(tmp_path: Path) -> None:
    export(tmp_path / "a*[b]?'c", steps=3)
    export(tmp_path / "aXb", run="SAN-2", steps=4)
    found = {one.info.id: read(one) for one in runs_in(tmp_path)}
    assert {name: len(run.metrics["train/loss"]) for name, run in found.items()} == {"SAN-1": 3, "SAN-2": 4}


@pytest.mark.accepts("R36")
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_never_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = export(tmp_path_factory.mktemp("damaged"), steps=3)
    path = folder / "SAN-1_part_0.parquet"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(4, len(content))) :]
    else:
        content[data.draw(st.integers(4, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    for found in runs_in(folder):
        read(found)


def test_other_parquet_is_no_run(tmp_path: Path) -> None:
    with duckdb.connect() as base:
        base.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/data.parquet' (FORMAT parquet)")
        base.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/x_part_0.parquet' (FORMAT parquet)")
    (tmp_path / "y_part_0.parquet").write_text("text")
    (only,) = runs_in(tmp_path)
    assert read(only).metrics == {}
    assert "this is no part that Neptune's exporter wrote" in read(only).remarks
