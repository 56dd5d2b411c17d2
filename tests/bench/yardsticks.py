# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do with the same files: `python -P yardsticks.py NAME FILE`, each with packages of its own.

It prints how many numbers it came to, so that nobody is compared who read less, and its largest memory in bytes.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

AXES = ("_step", "_timestamp")


def plain_loop(path: str) -> int:
    columns: dict[str, list[float]] = {}
    with open(path) as file:
        for line in file:
            for key, value in json.loads(line).items():
                if isinstance(value, float | int):
                    columns.setdefault(key, []).append(value)
    for values in columns.values():
        statistics.fmean(values), statistics.stdev(values), min(values), max(values)
    return sum(len(values) for key, values in columns.items() if key not in AXES)


def pandas(path: str) -> int:
    import pandas

    frame = pandas.read_json(path, lines=True)
    frame.describe()
    return int(frame.drop(columns=list(AXES)).count().sum())


def runwise(path: str) -> int:
    """Its summary and its statistics: the rest of what it knows takes time and memory by the square of the rows."""
    analyzer, file, keys, records = _in_runwise(path)
    analyzer.summarize_local_log(file)
    analyzer.get_local_history_stats(file, keys)
    return sum(key in record for record in records for key in keys)


def runwise_stability(path: str) -> int:
    analyzer, file, keys, records = _in_runwise(path)
    analyzer.get_local_stability_analysis(file, keys)
    return sum(key in record for record in records for key in keys)


def _in_runwise(path: str) -> tuple[Any, Path, list[str], list[dict[str, Any]]]:
    from runwise.core import RunAnalyzer

    analyzer, file = RunAnalyzer(), Path(path)
    records = analyzer.parse_local_log(file)
    return analyzer, file, sorted({key for record in records for key in record} - {*AXES}), records


def stoker(path: str) -> int:
    """Summary, statistics, stability, and every detector."""
    import time

    from stoker.analysis import read, runs_in, statistics, verdict
    from stoker.analysis.summary import summarise

    (found,) = runs_in(Path(path))
    run = read(found)
    summarise(run)
    for metric in run.metrics.values():
        statistics.stats(metric, run.directions, run.schema)
        statistics.stability(metric)
    verdict.check(run, time.time())
    return sum(map(len, run.metrics.values()))


def stoker_read(path: str) -> int:
    from stoker.analysis import read, runs_in

    (found,) = runs_in(Path(path))
    return sum(map(len, read(found).metrics.values()))


def on_a_node(path: str) -> int:
    """The reader alone, by the standard library."""
    from ansible_collections.stoker.fleet.plugins.module_utils.readers import tfevents, wandb_file

    place = Path(path)
    told = tfevents.read_tfevents(str(next(place.iterdir()))) if place.is_dir() else wandb_file.read_wandb(path)
    return sum(len(series.values) for series in told.series.values())


def stoker_stability(path: str) -> int:
    """One metric of as many points as `path` says, without a file."""
    import numpy

    from stoker.analysis import statistics
    from stoker.analysis.model import Metric

    steps = numpy.arange(float(path))
    statistics.stability(Metric("loss", steps, numpy.sin(steps) + 1 / (steps + 1)), 1.0)
    return len(steps)


def event_accumulator(path: str) -> int:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(path, size_guidance={"scalars": 0})
    events.Reload()
    return sum(len(events.Scalars(tag)) for tag in events.Tags()["scalars"])


def tbparse(path: str) -> int:
    from tbparse import SummaryReader

    return len(SummaryReader(path).scalars)


def datastore(path: str) -> int:
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store, count = DataStore(), 0
    store.open_for_scan(path)
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            key = item.key or ".".join(item.nested_key)
            count += isinstance(json.loads(item.value_json), float | int) and key not in AXES
    return count


CONTENDERS = {
    "plain": plain_loop, "pandas": pandas, "runwise": runwise, "runwise-stability": runwise_stability,
    "stoker": stoker, "read": stoker_read, "node": on_a_node, "stability": stoker_stability,
    "accumulator": event_accumulator, "tbparse": tbparse, "datastore": datastore,
}  # fmt: skip

if __name__ == "__main__":
    numbers = CONTENDERS[sys.argv[1]](sys.argv[2])
    # What getrusage says would be at least that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps({"numbers": numbers, "peak_bytes": int(peak[1]) * 1024 if peak else None}))
