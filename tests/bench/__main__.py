# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.bench`: measure, print the tables, write them as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.bench import analysis, assistant, log, offline, queue, reach, refresh, sync, telemetry
from tests.bench.log import MB
from tests.bench.place import Place, place
from tests.bench.table import Table


def main() -> int:
    """Measure what was asked for."""
    asked = arguments()
    print(machine())
    how = f"medians of {asked.runs} after a warm-up" if asked.runs > 1 else "one run of each"
    print(f"{how}, in turn; controller and nodes are this one machine;")
    print("CPU is the controller's, with its daemons, without the nodes'\n")
    tables = []
    with place() as here:
        for make in chosen(here, asked):
            table = make()
            tables.append(table)
            print(table.text() + "\n", flush=True)
    if asked.json is not None:
        document = {
            "schema": "stoker.bench/1", "machine": machine(), "runs": asked.runs, "folder": str(here.bed.folder),
            "tables": [table.as_json() for table in tables],
        }  # fmt: skip
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", help="how many nodes, one table each (1 20 50)")
    parser.add_argument("--runs", type=int, help="runs of each (7)")
    parser.add_argument("--quick", action="store_true", help="once each, 1 and 2 nodes, small logs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (all)")
    asked = parser.parse_args()
    asked.nodes = asked.nodes or ([1, 2] if asked.quick else [1, 20, 50])
    asked.runs = asked.runs or (1 if asked.quick else 7)
    return asked


PARTS = (
    "look",
    "start",
    "telemetry",
    "offline",
    "queue",
    "listing",
    "refresh",
    "log",
    "scan",
    "sync",
    "assistant",
    "runs",
)


def chosen(here: Place, asked: argparse.Namespace) -> Iterator[Callable[[], Table]]:
    """The tables to make, in order."""
    for index, count in enumerate(asked.nodes):
        for name, part in (("look", reach.look), ("start", reach.start), ("telemetry", telemetry.telemetry)):
            # Quick: what more nodes have of their own is the start, which is a round.
            if name in asked.only and (name == "start" or index == 0 or not asked.quick):
                yield partial(part, here, count, asked.runs)
    few = min(asked.runs, 3)
    parts = {
        "offline": partial(offline.start_up, here, asked.runs),
        "queue": partial(queue.throughput, here, 8 if asked.quick else 100, few),
        "listing": partial(queue.listing, here, 1000 if asked.quick else 10_000, asked.runs),
        "refresh": partial(refresh.refresh, here, asked.runs),
        "log": partial(log.read, here, 10 * MB if asked.quick else 200 * MB, few),
        "scan": partial(log.scan, here, 10 * MB if asked.quick else 100 * MB, few),
        "sync": partial(sync.second_sync, here, 500 if asked.quick else 5000, asked.runs),
    }
    parts["assistant"] = partial(assistant.tokens, here)
    yield from (part for name, part in parts.items() if name in asked.only)
    if "runs" in asked.only:
        yield from training_runs(here, asked.quick, few)


def training_runs(here: Place, quick: bool, runs: int) -> Iterator[Callable[[], Table]]:
    """The tables about training runs. A quick look installs nothing: it may have nobody to compare with."""
    others = analysis.others(install=not quick)
    for count in (analysis.FEW,) if quick else (analysis.FEW, 100_000, 1_000_000):
        yield partial(analysis.json_lines, here, count, runs, others)
    points = 4000 if quick else 100_000
    for tags in (1, 8):
        yield partial(analysis.events, here, points, tags, runs, others)
    yield partial(analysis.wandb, here, points, runs, others)
    yield partial(analysis.reports, here, points, runs)
    yield partial(analysis.tokens, here)


def machine() -> str:
    """This machine in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {_system()}, Python {platform.python_version()}"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


if __name__ == "__main__":
    sys.exit(main())
