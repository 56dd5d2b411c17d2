"""The run of a job, as its node told of it: from a digest to what the readers give of a folder."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.readers.columns import unpacked
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series
from stoker.analysis import runs, schema, settings
from stoker.analysis.errors import Unreadable
from stoker.analysis.find import Source
from stoker.analysis.merge import merged
from stoker.analysis.model import Figures, Floats, Metric, Run
from stoker.analysis.runs import Found
from stoker.analysis.values import Machine, RunInfo, Seen, State

_OVER = {"succeeded": "finished", "failed": "failed", "cancelled": "cancelled", "lost": "unfinished"}
_LIVE = ("queued", "starting", "running")


def runs_of(told: Mapping[str, Any], observation: Mapping[str, Any], seen: Seen) -> list[Found]:
    """The runs of a job, each with all that its node told. `told` is the `run` of the node's reply.

    Raises Unreadable where the answer makes no sense, AnalysisError for a wrong stoker-metrics.yml there.
    """
    columns = [np.frombuffer(_column(text), dtype=np.float64) for text in told["columns"]]
    state, machine = state_of(observation), machine_of(observation, told.get("printed_at"))
    sources = [_source(entry) for entry in told["files"]]
    entries = {(source.paths, source.run): entry for source, entry in zip(sources, told["files"], strict=True)}
    groups: dict[tuple[Any, ...], list[Source]] = {}
    for source in runs.newest_checkpoints(sources):
        reading = _head(entries[source.paths, source.run])
        # TensorBoard's files of a folder are one run, in one source.
        together = ("tensorboard", source.paths[0].parent) if source.kind == "tensorboard" else None
        groups.setdefault(together or runs.segment_key(source, reading), []).append(source)
    made = []
    for parts in groups.values():
        held = [entries[source.paths, source.run] for source in parts]
        made.append(_run(parts, held, columns, state, machine, seen, tuple(told["notes"])))
    return sorted(made, key=lambda run: (run.info.started_at or run.info.updated_at, run.info.id))


def state_of(observation: Mapping[str, Any]) -> State:
    """How the run stands, by what its node proves of the job."""
    name, proof = observation["state"], observation["evidence"]
    if name == "running":
        return State("running", proof)
    if name in _LIVE:
        return State("unknown", f"the job is {name}: {proof}")
    code = observation.get("exit_code")
    return State(_OVER[name], proof, code if name in ("succeeded", "failed") else None)  # type: ignore[arg-type]


def machine_of(observation: Mapping[str, Any], printed_at: float | None = None) -> Machine:
    """Whether the job lives, and how busy its GPUs are by its newest sample; None where nobody knows."""
    alive = {"running": True, "queued": None, "starting": None}.get(observation["state"], False)
    sample = observation.get("sample") or {}
    loads = [gpu["util_pct"] for gpu in sample.get("gpus") or () if gpu.get("util_pct") is not None]
    busy = sum(loads) / len(loads) if loads and observation["state"] == "running" else None
    detail = f" ({observation['detail']})" if observation.get("detail") else ""
    return Machine(alive, busy, f"{observation['evidence']}{detail}", printed_at)


def readings_of(told: Mapping[str, Any]) -> list[Reading]:
    """What is new since a cursor, file by file, as the readers give it."""
    columns = [np.frombuffer(_column(text), dtype=np.float64) for text in told["columns"]]
    return [_reading(entry, columns) for entry in told["files"]]


def _column(text: str) -> Any:
    try:
        return unpacked(text)
    except ValueError as problem:
        raise Unreadable(f"the node's answer cannot be read: {problem}") from problem


def _source(entry: Mapping[str, Any]) -> Source:
    return Source(entry["kind"], (Path(entry["path"]),), entry["place"], entry["run"])


def _head(entry: Mapping[str, Any]) -> Reading:
    reading = Reading(entry["kind"], entry["path"])
    for name in ("info", "config", "summary", "directions", "skipped"):
        getattr(reading, name).update(entry.get(name) or {})
    reading.exits, reading.log, reading.notes = (list(entry.get(name) or ()) for name in ("exits", "log", "notes"))
    if entry.get("bytes") == 0:
        reading.notes = [runs.EMPTY]
    return reading


def _reading(entry: Mapping[str, Any], columns: Sequence[Floats]) -> Reading:
    reading = _head(entry)
    for name, metric in entry["metrics"].items():
        reading.series[name] = _series(metric, columns)
    return reading


def _run(
    parts: Sequence[Source], entries: Sequence[Mapping[str, Any]], columns: Sequence[Floats], state: State,
    machine: Machine, seen: Seen, notes: tuple[str, ...],
) -> Found:  # fmt: skip
    ordered = sorted(entries, key=lambda entry: ((entry.get("info") or {}).get("started_at") or 0, entry["path"]))
    readings = [_reading(entry, columns) for entry in ordered]
    metrics, remarks = merged(readings, one_writer=ordered[0]["kind"] != "tensorboard")
    thin = _with_figures(metrics, ordered, columns)
    info = _info(parts[-1], ordered, state, seen, remarks)
    found = _schema(ordered[-1])
    directions: dict[str, str] = {}
    summary: dict[str, Any] = {}
    skipped: dict[str, int] = {}
    for reading in readings:
        summary.update(reading.summary)
        directions.update(reading.directions)
        for reason, count in reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    directions.update({name: way for name in metrics if (way := found.direction(name))})
    remarks += notes
    if thin:
        remarks.append(f"{seen.node} sent a digest: figures are of all points, curves of some; --full brings all")
    log = tuple(line for reading in readings for line in reading.log)[-200:]
    run = Run(info, metrics, summary, directions, skipped, tuple(remarks), log, found, machine)
    return Found(info, tuple(parts), run=run)


def _info(
    source: Source, entries: Sequence[Mapping[str, Any]], state: State, seen: Seen, remarks: list[str]
) -> RunInfo:
    info: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for entry in entries:
        info.update(entry.get("info") or {})
        if entry["kind"] != "wandb":
            config.update(settings.first_settings(entry["beside"], remarks))
        config.update(entry.get("config") or {})
    text = {key: value for key, value in info.items() if isinstance(value, str)}
    return RunInfo(
        kind=source.kind, id=text.get("id") or runs.place_of(source), name=text.get("name"),
        project=text.get("project"), group=text.get("group"), job_type=text.get("job_type"),
        tags=tuple(info.get("tags", ())), notes=text.get("notes"), host=text.get("host") or seen.node,
        commit=text.get("commit"), state=state, started_at=entries[0].get("info", {}).get("started_at"),
        updated_at=max(entry["changed"] for entry in entries), bytes=sum(entry["bytes"] for entry in entries),
        segments=tuple(entry["path"] for entry in entries), config=config,
        facts=runs.facts_of(info), seen=seen,
    )  # fmt: skip


def _schema(entry: Mapping[str, Any]) -> schema.Schema:
    text = entry["beside"].get(schema.FILE_NAME)
    return schema.Schema() if text is None else schema.parsed(text, f"{Path(entry['path']).parent}/{schema.FILE_NAME}")


# -- the points -------------------------------------------------------------------------------------------------------


def _series(metric: Mapping[str, Any], columns: Sequence[Floats]) -> Series:
    """All points, or those that are here: of each bin the lowest, the highest and the last, then the newest ones."""
    steps, values = columns[metric["steps"]], columns[metric["values"]]
    times = None if metric["times"] is None else columns[metric["times"]]
    if metric["whole"] or not metric["bins"]:
        return Series(steps, values, times)
    _points, min_step, low, max_step, high, _mean, last_step, last = (columns[place] for place in metric["bins"])
    odd = np.array([[step, float(value)] for step, value in metric["odd"]], dtype=np.float64).reshape(-1, 2)
    old_steps = np.concatenate([min_step, max_step, last_step, odd[:, 0]])
    old_values = np.concatenate([low, high, last, odd[:, 1]])
    keep = old_steps < (steps[0] if len(steps) else np.inf)
    order = np.lexsort((old_values[keep], old_steps[keep]))
    pairs = np.stack([old_steps[keep][order], old_values[keep][order]])
    # One point may be the lowest and the last of its bin.
    new = np.r_[True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)] if pairs.shape[1] else np.zeros(0, dtype=bool)
    pairs = pairs[:, new]
    gone = np.full(pairs.shape[1], np.nan)
    return Series(
        np.concatenate([pairs[0], steps]), np.concatenate([pairs[1], values]),
        None if times is None else np.concatenate([gone, times]),
    )  # fmt: skip


def _with_figures(metrics: dict[str, Metric], entries: Sequence[Mapping[str, Any]], columns: Sequence[Floats]) -> bool:
    """Give the metrics of which only some points are here the figures of all of them. Returns whether there are any."""
    thin = False
    for name, metric in metrics.items():
        parts = [entry["metrics"][name] for entry in entries if name in entry["metrics"]]
        if all(part["whole"] for part in parts):
            continue
        thin = True
        metrics[name] = dataclasses.replace(metric, figures=_figures(parts, columns))
    return thin


def _figures(parts: Sequence[Mapping[str, Any]], columns: Sequence[Floats]) -> Figures:
    finite = [part for part in parts if part["first"] is not None]
    counts = np.array([part["count"] - part["nan"] - part["inf"] for part in finite], dtype=np.float64)
    means = np.array([float(part["mean"]) for part in finite])
    total = float(counts.sum())
    mean = float((means * counts).sum() / total) if total else None
    squares = sum(float(part["m2"]) for part in finite) + float((counts * (means - (mean or 0.0)) ** 2).sum())
    odd = [step for part in parts for step, _value in part["odd"]]
    newest = parts[-1]
    ended = newest["ended_odd"]
    return Figures(
        sum(part["count"] for part in parts), sum(part["nan"] for part in parts), sum(part["inf"] for part in parts),
        _point(finite[0]["first"]) if finite else None, _point(finite[-1]["last"]) if finite else None,
        _point(min((part["min"] for part in finite), key=lambda point: point[1], default=None)),
        _point(max((part["max"] for part in finite), key=lambda point: point[1], default=None)),
        float(newest["final"][1]), mean, math.sqrt(squares / (total - 1)) if total > 1 else None,
        odd[0] if odd else None, int(ended[0]), float(ended[1]), len(columns[newest["values"]]),
        np.concatenate([_course(part, columns) for part in parts]),
    )  # fmt: skip


def _course(part: Mapping[str, Any], columns: Sequence[Floats]) -> Floats:
    place: int = part["bins"][5] if part["bins"] else part["values"]
    return columns[place]


def _point(pair: Sequence[float] | None) -> tuple[float, float] | None:
    return None if pair is None else (float(pair[0]), float(pair[1]))


def size_of(reply: Mapping[str, Any]) -> int:
    """How many bytes an answer was, as JSON."""
    return len(json.dumps(reply))
