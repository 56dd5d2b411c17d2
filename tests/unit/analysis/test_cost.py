# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs cost: known figures multiplied, and nothing made of what is not known."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked import Asked, jsonl

from stoker.analysis import read, runs_in
from stoker.analysis.cost import Price, cost


def one(folder: Path, hours: float = 2.0, **facts: Any) -> Any:
    path = jsonl(folder / "m.jsonl", [{"step": s, "time": 1.7e9 + s * hours * 1800, "loss": 1.0} for s in range(3)])
    (found,) = runs_in(path)
    return replace(found, info=replace(found.info, facts=facts))


@pytest.mark.accepts("R39")
@pytest.mark.parametrize(
    ("facts", "prices", "gpus", "expected"),
    [
        ({}, [Price("*", 2.5)], 4, 2 * 4 * 2.5),
        ({"gpu": "NVIDIA H100 80GB HBM3", "gpus": 8}, [Price("*a100*", 1.0), Price("*h100*", 2.0)], None, 2 * 8 * 2.0),
        ({"gpu": "NVIDIA H100", "gpus": 8}, [Price("*H100*", 3.0), Price("*", 9.0)], 1, 2 * 3.0),
        ({"runtime_s": 3600, "gpus": 1}, [Price("*", 1.5)], None, 1.5),
        ({}, [Price("*", 0.0)], 1, 0.0), ({}, [Price("*", 5.0)], 0, 0.0),
    ],
)  # fmt: skip
def test_gpu_hours_times_the_price(
    tmp_path: Path, facts: Mapping[str, Any], prices: list[Price], gpus: int | None, expected: float
) -> None:
    said = cost(one(tmp_path, **facts), prices, gpus=gpus, read=read)
    assert (said.cost, said.unknown) == (pytest.approx(expected), None)


@pytest.mark.accepts("R39")
@pytest.mark.parametrize(
    ("facts", "prices", "gpus", "words"),
    [
        ({}, [Price("*", 2.5)], None, "the number of GPUs is not written down"),
        ({"gpus": 0}, [Price("*", 2.5)], None, "the number of GPUs is not written down"),
        ({"gpu": "L4", "gpus": 1}, [Price("*H100*", 2.5)], None, "there is no price of L4"),
        ({"gpus": 1}, [Price("*H100*", 2.5)], None, "there is no price, and the GPU is not known"),
        ({"gpus": 1}, [], None, "there is no price"),
    ],
)
def test_what_is_unknown_stays_unknown(
    tmp_path: Path, facts: Mapping[str, Any], prices: list[Price], gpus: int | None, words: str
) -> None:
    said = cost(one(tmp_path, **facts), prices, gpus=gpus, read=read)
    assert said.cost is None
    assert words in str(said.unknown)


@pytest.mark.accepts("R39")
def test_a_run_without_times_has_no_cost(tmp_path: Path, stoker: Asked) -> None:
    jsonl(tmp_path / "a" / "m.jsonl", [{"step": s, "loss": 1.0} for s in range(3)])
    jsonl(tmp_path / "b" / "m.jsonl", [{"step": 1, "time": 1.7e9, "loss": 1.0}])
    one(tmp_path / "c")
    said = stoker("cost", tmp_path, "--price", "2.5", "--gpus", 2, "--json").value
    assert [(run["cost"], run["unknown"]) for run in said["runs"]] == [
        (None, "when its points were logged is not written down"),
        (None, "one moment is all that its points tell"),
        (10.0, None),
    ]
    assert (said["total"], said["gpu_hours"], said["unknown"]) == (10.0, 4.0, 2)
    shown = stoker("cost", tmp_path, "--price", "2.5", "--gpus", 2).out
    assert "10.00 dollars for 1 of 3 runs · of 2 it is unknown" in shown
    head, *rows = csv.reader(io.StringIO(stoker("cost", tmp_path, "--price", 1, "--format", "csv").out))
    assert [row[head.index("cost")] for row in rows] == ["", "", ""]


@pytest.mark.accepts("R39")
def test_prices_of_the_settings_come_after_those_of_the_command(tmp_path: Path, stoker: Asked) -> None:
    one(tmp_path / "c")
    Path("stoker.yml").write_text("prices:\n  - {gpu: '*H100*', per_hour: 7}\n  - {gpu: '*', per_hour: 3}\n")
    assert stoker("cost", tmp_path / "c", "--gpus", 1, "--json").value["total"] == 6
    assert stoker("cost", tmp_path / "c", "--gpus", 1, "--price", "1", "--json").value["total"] == 2
    assert stoker("cost", tmp_path / "c", "--gpus", 1, "--price", "L4=1", "--json").value["total"] == 6


@pytest.mark.accepts("R39")
@pytest.mark.parametrize("price", ["half", "-1", "*H100*=", "nan", "inf", "x=y"])
def test_what_is_no_price_is_refused(tmp_path: Path, stoker: Asked, price: str) -> None:
    said = stoker("cost", tmp_path, f"--price={price}")
    assert (said.code, said.out) == (2, "")
    assert f"--price: '{price}' is no price (next: 2.5" in said.err


@pytest.mark.accepts("R39")
def test_pauses_of_a_resumed_run_are_no_work(write: Any, tmp_path: Path, stoker: Asked) -> None:
    write("wandb_resumed", tmp_path)
    (found,) = [found for found in runs_in(tmp_path) if found.info.id == "res"]
    said = cost(found, [Price("*", 1.0)], gpus=1, read=read)
    assert said.how_long == "from the first to the last point of 2 segments"
    whole = read(found)
    first = min(float(metric.times.min()) for metric in whole.metrics.values() if metric.times is not None)
    assert whole.last_time is not None
    assert said.seconds is not None
    assert 0 < said.seconds < whole.last_time - first
