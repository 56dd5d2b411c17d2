"""From files and servers to runs: `runs_in` says which there are, `read` reads one at full resolution."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers import (
    csv_table,
    mlflow_run,
    output_log,
    sqlite_store,
    trainer_state,
)
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading
from ansible_collections.stoker.fleet.plugins.module_utils.readers.tfevents import read_tfevents
from ansible_collections.stoker.fleet.plugins.module_utils.readers.wandb_file import read_wandb
from stoker.analysis import aim, neptune, recover
from stoker.analysis.errors import Unreadable
from stoker.analysis.find import Source, find
from stoker.analysis.merge import merged
from stoker.analysis.model import Run
from stoker.analysis.schema import schema_of
from stoker.analysis.servers import Address, Server, server
from stoker.analysis.settings import settings_beside
from stoker.analysis.state import Writers, judge, writers
from stoker.analysis.values import Kind, RunInfo, State
from stoker.redaction import redact

# Writers put the settings of a run first.
_HEAD_BYTES = 65536
EMPTY = "the file is empty"
# Over https the name alone may be a token; `git@` of ssh is none.
_LOGIN = re.compile(r"(https?://)[^/\s]*@", re.IGNORECASE)
FACTS = ("remote", "gpu", "gpus", "os", "python", "cuda", "program", "runtime_s")


@dataclass(frozen=True)
class Found:
    """A run in a folder or on a server, not read yet. `sources` are its segments in order; none lie on a server.

    `run` is that of a job, whose node has read it. `remarks` are sentences about what lies beside its files.
    """

    info: RunInfo
    sources: tuple[Source, ...] = field(repr=False)
    server: Server | None = field(default=None, repr=False)
    run: Run | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()


def runs_in(path: Path | Address, problems: list[str] | None = None) -> list[Found]:
    """The runs that a file is, that lie in a folder and below it, or on a server, the newest last.

    What of a folder cannot be read hides nothing else; `problems` gets a sentence for each.
    Raises NotThere when there is no such path, Unreadable when it cannot be read.
    """
    if isinstance(path, Address):
        asked = server(path)
        return sorted((_told(head, asked) for head in asked.heads()), key=_age)
    open_files = writers()
    segments: dict[tuple[Any, ...], list[tuple[Source, Reading]]] = {}
    told: list[str] = []
    for source in newest_checkpoints(find(path, told)):
        try:
            head = _head(source)
        except OSError as problem:
            if source.paths[0] == path:
                raise Unreadable(_unreadable(path, problem)) from problem
            told.append(_unreadable(Path(problem.filename or source.paths[0]), problem))
            continue
        segments.setdefault(segment_key(source, head), []).append((source, head))
    found = []
    for parts in segments.values():
        try:
            found.append(_found(parts, open_files))
        except OSError as problem:  # it went away meanwhile
            told.append(_unreadable(parts[0][0].paths[0], problem))
    if problems is not None:
        problems += told
    return sorted(found, key=_age)


def _age(run: Found) -> tuple[float, str]:
    return run.info.started_at or run.info.updated_at, run.info.id


def segment_key(source: Source, head: Reading) -> tuple[Any, ...]:
    """What the segments of one run have in common: a resumed one has several folders and one id, compared whole."""
    one = ("wandb", head.info.get("entity"), head.info.get("project"), head.info.get("id"))
    return one if source.kind == "wandb" and one[-1] else (source.kind, source.place, source.paths, source.run)


def read(found: Found) -> Run:
    """Everything that the files of a run hold. Raises Unreadable when one cannot be read at all."""
    if found.run is not None:
        return found.run
    if found.server is not None:
        readings = [found.server.history(found.info.id)]
    else:
        readings = [reading for source in found.sources for reading in _readings(source)]
    metrics, remarks = merged(readings, one_writer=found.info.kind != "tensorboard")
    summary: dict[str, Any] = {}
    directions: dict[str, str] = {}
    skipped: dict[str, int] = {}
    log: list[str] = []
    for reading in readings:
        summary.update(reading.summary)
        directions.update(reading.directions)
        log += reading.log
        for reason, count in reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    schema = schema_of(Path() if found.server else Path(found.info.segments[-1]).parent)
    directions.update({name: way for name in metrics if (way := schema.direction(name))})
    if found.server is None:
        remarks += [*found.remarks, *recover.remarks(found.info, metrics, summary)]
        log = log or recover.output_beside(found.info)
    return Run(found.info, metrics, summary, directions, skipped, tuple(remarks), tuple(log[-200:]), schema)


def _readings(source: Source) -> Iterable[Reading]:
    for path in source.paths:
        try:
            reading = _reading(source, path)
            if path.stat().st_size == 0:
                reading.notes = [EMPTY]
            yield reading
        except OSError as problem:
            raise Unreadable(_unreadable(path, problem)) from problem


def _unreadable(path: Path, problem: OSError) -> str:
    return f"{path} cannot be read: {problem.strerror or problem}"


def _reading(source: Source, path: Path) -> Reading:
    kind: Kind = source.kind
    if kind in ("trackio", "mlflow"):
        return _stored(source, history=True)
    if kind == "aim":
        return aim.read_run(path, history=True)
    if kind == "neptune":
        return neptune.read_part(path)
    if kind == "wandb":
        reading = read_wandb(str(path), parts=("history",))
        # Only where there is no history does anybody need the last values, and they cost as much to read.
        return reading if reading.rows else read_wandb(str(path))
    if kind == "tensorboard":
        from stoker.analysis.events import read_event_file

        return read_event_file(str(path))
    if kind == "jsonl":
        from stoker.analysis.tables import read_jsonl

        return read_jsonl(path)
    readers = {"csv": csv_table.read_csv, "trainer_state": trainer_state.read_trainer_state}
    return readers.get(kind, output_log.read_output)(str(path))


def _stored(source: Source, *, history: bool) -> Reading:
    """A run of a store that holds several, or of MLflow's own folder for it."""
    path = str(source.paths[0])
    if source.run is None:
        return mlflow_run.read_mlflow_run(path, history)
    return sqlite_store.read_store(source.kind, path, source.run, history)


def _head(source: Source) -> Reading:
    """What is known of a source without its metrics. Raises OSError."""
    if source.kind == "wandb":
        return read_wandb(str(source.paths[0]), parts=())
    if source.kind == "trainer_state":
        return trainer_state.read_trainer_state(str(source.paths[0]))
    if source.kind in ("trackio", "mlflow"):
        return _stored(source, history=False)
    if source.kind == "aim":
        return aim.read_run(source.paths[0], history=False)
    if source.kind == "neptune":
        return neptune.about(source.paths)
    if source.kind == "tensorboard":
        known = Reading(source.kind, str(source.paths[0]))
        known.config = read_tfevents(str(source.paths[0]), limit=_HEAD_BYTES).config
        return known
    return Reading(source.kind, str(source.paths[0]))


def newest_checkpoints(sources: Iterable[Source]) -> list[Source]:
    """Of a Trainer's checkpoints in one folder the newest alone, after all other sources."""
    listed = list(sources)
    kept = [source for source in listed if source.kind != "trainer_state"]
    states = {str(source.paths[0]): source for source in listed if source.kind == "trainer_state"}
    wanted = trainer_state.newest(states)
    return kept + [source for path, source in states.items() if path in wanted]


def _found(parts: Sequence[tuple[Source, Reading]], open_files: Writers | None) -> Found:
    ordered = sorted(parts, key=lambda part: (part[1].info.get("started_at") or 0, str(part[0].paths[0])))
    sources = tuple(source for source, _ in ordered)
    paths = [path for source in sources for path in source.paths]
    info: dict[str, Any] = {}
    config: dict[str, Any] = {}
    remarks: list[str] = []
    for source, head in ordered:
        info.update(head.info)
        config.update(settings_beside(source, remarks))
        config.update(head.config)
    first, last = ordered[0], ordered[-1]
    stats = [path.stat() for path in paths]
    described = _described(
        last[0].kind, info, config, place_of(last[0]), _state(last[0], last[1], open_files),
        first[1].info.get("started_at"), max(status.st_mtime for status in stats),
        sum(status.st_size for status in stats), tuple(str(path) for path in paths),
    )  # fmt: skip
    return Found(described, sources, remarks=tuple(dict.fromkeys(remarks)))


def _told(head: Reading, asked: Server) -> Found:
    """A run as its server describes it."""
    info, started = head.info, head.info.get("started_at")
    state = State(*info["state"])
    return Found(
        _described(asked.address.kind, info, head.config, "", state, started, started or 0.0, 0, (head.path,)),
        (),
        asked,
    )


def _described(
    kind: Kind, info: Mapping[str, Any], config: Mapping[str, Any], place: str, state: State, started: float | None,
    changed: float, size: int, segments: tuple[str, ...],
) -> RunInfo:  # fmt: skip
    text: Mapping[str, Any] = {key: value for key, value in info.items() if isinstance(value, str)}
    return RunInfo(
        kind=kind, id=text.get("id") or place, name=text.get("name"), project=text.get("project"),
        group=text.get("group"), job_type=text.get("job_type"), tags=tuple(info.get("tags", ())),
        notes=text.get("notes"), host=text.get("host"), commit=text.get("commit"), state=state, started_at=started,
        updated_at=info.get("updated_at") or changed, bytes=info.get("bytes") or size, segments=segments, config=config,
        facts=facts_of(info),
    )  # fmt: skip


def facts_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """What else is known of a run. The remote is an address that somebody noted whole, with their password or token."""
    found = {key: info[key] for key in FACTS if key in info}
    if isinstance(found.get("remote"), str):
        found["remote"] = redact(_LOGIN.sub(r"\1", found["remote"]))
    return found


def place_of(source: Source) -> str:
    """A checkpoint's run is called as the folder that the checkpoints are in."""
    place = Path(source.place)
    return str(place.parent) if place.name.startswith("checkpoint-") and place.parent.name else source.place


def _state(source: Source, head: Reading, open_files: Writers | None) -> State:
    if "state" in head.info:
        return State(*head.info["state"])
    if source.run is not None:
        # Whoever has the store open may write any of its runs.
        return State("unknown", "this store records no end")
    if source.kind == "trainer_state":
        step, most = head.info.get("global_step"), head.info.get("max_steps")
        if isinstance(step, int | float) and isinstance(most, int | float) and 0 < most <= step:
            return State("finished", f"step {step:g} of {most:g} was reached")
    return judge(head.exits, source.paths, source.kind == "wandb", open_files)


def newest(found: Sequence[Found]) -> Found | None:
    """The run that was written to last, None without one."""
    return max(found, key=lambda run: (run.info.updated_at, run.info.started_at or 0.0), default=None)
