# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Analysis of training runs against what people use instead: by CPU, a process each, the same numbers read."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from stoker.analysis import thin
from stoker.cli.main import main
from tests.bench import written
from tests.bench.measure import Usage, interleaved
from tests.bench.place import STOKER, Place
from tests.bench.table import Table

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = Path(__file__).with_name("yardsticks.py")
_ENVIRONMENT = _ROOT / ".cache/yardsticks"
PACKAGES = ("pandas", "runwise==0.4.0", "tbparse==0.0.9", "tensorboard==2.21.0", "wandb==0.22.3")
_KEYS = 200
# What Runwise takes for a stability goes with the square of the rows: gigabytes for 20,000.
FEW = 2000


def others(install: bool) -> Path | None:
    """The Python of an environment with what we are compared to; None where it is not there, and is not to be made."""
    python, done = _ENVIRONMENT / "bin/python", _ENVIRONMENT / ".ready"
    if done.exists() and done.read_text() == "\n".join(PACKAGES):
        return python
    if not install:
        return None
    print("installing what Stoker is compared to ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", _ENVIRONMENT], check=True, timeout=120)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, timeout=900)
    done.write_text("\n".join(PACKAGES))
    return python


def json_lines(place: Place, count: int, runs: int, python: Path | None) -> Table:
    """A file of JSON lines, analysed whole."""
    path = written.json_lines(place.bed.folder / f"metrics-{count}.jsonl", count)
    contenders = {
        "Stoker: summary, figures, stability, faults": ("stoker", None),
        "json loop, statistics": ("plain", None),
    }
    if python:
        contenders |= {
            "pandas: read_json, describe": ("pandas", python),
            "Runwise 0.4.0: summary, figures": ("runwise", python),
        }
    if python and count <= FEW:
        contenders["Runwise 0.4.0: stability"] = ("runwise-stability", python)
    return _compared(place, f"jsonl-{count}", f"JSON lines, {count:,} rows", contenders, path, runs)


def events(place: Place, points: int, tags: int, runs: int, python: Path | None) -> Table:
    """An event file of TensorBoard, every point of it."""
    folder = written.event_file(place.bed.folder / f"events-{tags}", points, tags)
    contenders: dict[str, tuple[str, Path | None]] = {
        "Stoker": ("read", None), "its reader alone, as on a node": ("node", None),
    }  # fmt: skip

    if python:
        contenders |= {"EventAccumulator": ("accumulator", python), "tbparse": ("tbparse", python)}
    return _compared(place, f"tfevents-{tags}", f"Event file, {points:,} points, {tags} tags", contenders, folder, runs)


def wandb(place: Place, count: int, runs: int, python: Path | None) -> Table:
    """A `.wandb` file, every value of it."""
    path = written.wandb_file(place.bed.folder / "run-20260101_000000-bench/run-bench.wandb", count)
    contenders: dict[str, tuple[str, Path | None]] = {
        "Stoker": ("read", None), "its reader alone, as on a node": ("node", None),
    }  # fmt: skip

    if python:
        contenders["wandb 0.22.3: DataStore, protobuf"] = ("datastore", python)
    return _compared(place, "wandb", f".wandb file, {count:,} rows", contenders, path, runs)


def reports(place: Place, count: int, runs: int) -> Table:
    """The HTML report of a run, and the stability of one long metric."""
    path = written.json_lines(place.bed.folder / "report.jsonl", count)
    page = place.bed.folder / "report.html"
    version, report = "stoker --version", f"stoker runs report, {count:,} rows"
    stability = f"stability of {count * 10:,} points"
    usages = interleaved(
        {
            version: lambda: place.meter.command([STOKER, "--version"]),
            report: lambda: place.meter.command([STOKER, "runs", "report", path, "--out", page]),
            stability: lambda: place.meter.command([sys.executable, "-P", _PROGRAM, "stability", str(count * 10)]),
        },
        runs,
    )
    table = Table("report", "Answers", (version,), by="cpu_s")
    table.add_all(usages)
    return table


def tokens(place: Place) -> Table:
    """How long the answers are about a run with many keys, by the count that budgets are kept with."""
    path = place.bed.folder / "many.jsonl"
    with path.open("w") as file:
        for step in range(2000):
            row = {"step": step, "train/loss": 1 / (step + 1), "val/loss": 1.1 / (step + 1)}
            file.write(json.dumps(row | {f"layer/{key}/norm": step % 7 + key for key in range(_KEYS - 2)}) + "\n")
    whole = "the file itself"
    table = Table("tokens", f"Tokens of an answer, {_KEYS} keys", (whole,), by="tokens")
    table.add(whole, tokens=float(thin.tokens(path.read_text())))
    name = str(path)
    asked = {
        "summary": [name], "check": [name], "stats": [name, "-k", "*/loss"],
        "history -n 20": [name, "-k", "*/loss", "-n", "20"],
        "stability": [name, "-k", "*/loss"], "keys": [name], "eta": [name], "compare": [name, name],
    }  # fmt: skip
    for words, arguments in asked.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            main(["runs", words.split()[0], *arguments])
        table.add(f"stoker runs {words}", tokens=float(thin.tokens(said.getvalue())))
    return table


def _compared(
    place: Place,
    ident: str,
    title: str,
    contenders: Mapping[str, tuple[str, Path | None]],
    path: Path,
    runs: int,
) -> Table:
    told: dict[str, dict[str, int]] = {}
    printed = place.bed.folder / "yardstick.json"

    def once(name: str, which: str, python: Path | None) -> Usage:
        usage = place.meter.command([python or sys.executable, "-P", _PROGRAM, which, path], stdout=printed)
        told[name] = json.loads(printed.read_text().splitlines()[-1])
        return usage

    calls: dict[str, Callable[[], Usage]] = {n: partial(once, n, *given) for n, given in contenders.items()}
    usages = interleaved(calls, runs)
    if len({one["numbers"] for one in told.values()}) != 1:
        raise RuntimeError(f"{title}: not all came to the same numbers: {told}")
    ours = next(iter(contenders))
    table = Table(ident, title, (ours,), by="cpu_s")
    for name, usage in usages.items():
        table.add(name, usage, rss_mb=told[name]["peak_bytes"] / 1e6)
    return table
