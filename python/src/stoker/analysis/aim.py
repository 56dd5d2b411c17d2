"""Runs of an Aim repository, `.aim`: a RocksDB database each for what is known of a run and for its series."""

from __future__ import annotations

import sqlite3
import struct
import urllib.parse
from array import array
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers.protobuf import WireError
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series
from stoker.analysis.rocksdb import Damaged, read_database

FOLDER = ".aim"
_END = 0xFE
# What Aim writes before a value: what it is.
_NONE, _BOOL, _INT, _FLOAT, _TEXT, _BYTES, _LIST, _MAPPING = range(8)
# What Aim notes of its own: packages, the commit, and the environment of the process, which is nobody's business.
_OWN = "__system_params"
_SAMPLE = "__system__"
_OBJECT = "value that is no number (object of Aim)"
# Deeper no settings are, and longer no number is; what claims to be was not written by Aim.
_DEEPEST, _LONGEST_INT = 100, 64
Path_ = tuple[str | int, ...]


def runs_of(repository: Path) -> list[tuple[str, Path]]:
    """The name of each run in a folder `.aim`, and the file that says that it is there. Raises OSError."""
    folder = repository / "meta" / "chunks"
    if not folder.is_dir():
        return []
    return sorted((run.name, run / "CURRENT") for run in folder.iterdir() if (run / "CURRENT").is_file())


def read_run(current: Path, *, history: bool) -> Reading:
    """The reading of one run; without `history` what is known of it alone. Raises OSError."""
    reading = Reading("aim", str(current))
    run, repository = current.parent.name, current.parents[3]
    series = repository / "seqs" / "chunks" / run
    files = [path.stat() for folder in (current.parent, series) if folder.is_dir() for path in folder.iterdir()]
    reading.info.update(id=run, bytes=sum(file.st_size for file in files))
    reading.info["updated_at"] = max((file.st_mtime for file in files), default=None)
    entries = _entries(current.parent, reading)
    prefix: Path_ = ("meta", "chunks", run)
    told = {path[3:]: value for path, value in entries if path[:3] == prefix and len(path) > 3}
    _about(told, reading)
    _described(repository / "run_metadata.sqlite", run, reading)
    if history:
        contexts: dict[Any, list[tuple[str, str]]] = {}
        for path, value in told.items():
            if path[0] == "contexts" and len(path) == 3:
                contexts.setdefault(path[1], []).append((str(path[2]), str(value)))
        _series(_entries(series, reading) if series.is_dir() else [], run, contexts, reading)
    return reading


def _entries(folder: Path, reading: Reading) -> list[tuple[Path_, Any]]:
    try:
        found = read_database(folder, reading.notes)
    except (Damaged, WireError, IndexError, struct.error) as problem:
        reading.notes.append(f"the database in {folder} cannot be read: {problem}")
        reading.skip("database that is damaged")
        return []
    entries = []
    for key, value in found.items():
        if not value:
            continue  # a blob's, which lies elsewhere
        try:
            entries.append((tuple(_path(key)), _value(value)))
        except (Damaged, struct.error, UnicodeDecodeError):
            reading.skip("entry that is damaged")
    return entries


def _path(key: bytes) -> Iterator[str | int]:
    """A key is a path: texts, and numbers with a mark before them, each with the mark after it."""
    at = count = 0
    while at < len(key):
        count += 1
        if count > _DEEPEST:
            raise Damaged(f"a key of more than {_DEEPEST} parts")
        if key[at] == _END:
            if at + 10 > len(key):
                raise Damaged("a key that is cut")
            yield int.from_bytes(key[at + 1 : at + 9], "big", signed=True)
            at += 10
        else:
            end = found if (found := key.find(b"\xfe", at)) >= 0 else len(key)
            yield key[at:end].decode()
            at = end + 1


def _value(data: bytes) -> Any:
    kind, content = data[0], data[1:]
    if kind == _BOOL:
        return content == b"\1"
    if kind == _INT:
        if len(content) > _LONGEST_INT:
            raise Damaged(f"a number of {len(content)} bytes")
        return int.from_bytes(content, "little", signed=True)
    if kind == _FLOAT:
        return struct.unpack("<d", content)[0]
    if kind == _TEXT:
        return content.decode()
    return {_LIST: [], _MAPPING: {}, _BYTES: content}.get(kind)


def _about(told: dict[Path_, Any], reading: Reading) -> None:
    info = reading.info
    settings = {path[1:]: value for path, value in told.items() if path[0] == "attrs" and len(path) > 1}
    own = {path[1:]: value for path, value in settings.items() if path[0] == _OWN}
    reading.config = _tree({path: value for path, value in settings.items() if path[0] != _OWN})
    for name, path in (("commit", ("git_info", "commit", "hash")), ("remote", ("git_info", "remote_origin_url"))):
        if isinstance(own.get(path), str):
            info[name] = own[path]
    end = told.get(("end_time",))
    info["state"] = (
        ("unknown", "Aim says that it ended, not whether it failed")
        if isinstance(end, float)
        else ("unknown", "Aim has noted no end, which a process that was killed leaves behind")
    )


def _tree(entries: dict[Path_, Any]) -> dict[str, Any]:
    """Settings by their paths as mappings; lists, which have numbers for names, too."""
    root: dict[str | int, Any] = {}
    lists = {path for path, value in entries.items() if value == []}
    for path, value in sorted(entries.items(), key=lambda entry: len(entry[0])):
        place = root
        for name in path[:-1]:
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        place[path[-1]] = {} if value == [] else value
    return {str(name): _listed(value, (name,), lists) for name, value in root.items()}


def _listed(value: Any, path: Path_, lists: set[Path_]) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(one, (*path, name), lists) for name, one in value.items()}
    if path in lists:
        return [one for _name, one in sorted(inner.items(), key=lambda entry: str(entry[0]).rjust(20))]
    return {str(name): one for name, one in inner.items()}


def _described(base: Path, run: str, reading: Reading) -> None:
    """What a person said of the run, and when it began; nothing where Aim's own list of runs cannot be read."""
    info = reading.info
    asked = (
        "SELECT r.id, r.name, r.description, r.created_at, e.name FROM run r"
        " LEFT JOIN experiment e ON e.id = r.experiment_id WHERE r.hash = ?"
    )
    tags = "SELECT t.name FROM run_tag l JOIN tag t ON t.id = l.tag_id WHERE l.run_id = ? ORDER BY t.name"
    try:
        uri = f"file:{urllib.parse.quote(str(base.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as names:
            for number, name, notes, created, experiment in names.execute(asked, (run,)):
                info.update(name=name, notes=notes, project=experiment, started_at=_moment(created))
                info["tags"] = [row[0] for row in names.execute(tags, (number,))]
    except sqlite3.Error as problem:
        reading.notes.append(f"its name and tags are not known: {base.name}: {problem}")


def _moment(text: Any) -> float | None:
    """Aim's times are in UTC, without saying so."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _series(
    entries: list[tuple[Path_, Any]], run: str, contexts: dict[Any, list[tuple[str, str]]], reading: Reading
) -> None:
    """Of each metric in each context the step, value and time of every point, which have one key."""
    columns: dict[tuple[Any, str], dict[str, dict[Any, Any]]] = {}
    prefix: Path_ = ("seqs", "v2", "chunks", run)
    for path, value in entries:
        if path[:4] == prefix and len(path) == 8 and isinstance(path[7], int):
            columns.setdefault((path[4], str(path[5])), {}).setdefault(str(path[6]), {})[path[7]] = value
        elif path[:2] == ("seqs", "chunks") and len(path) == 7 and path[5] == "val":
            number = isinstance(value, int | float)
            reading.skip("point in the form of an older Aim" if number else _OBJECT)
    for (context, name), parts in sorted(columns.items(), key=lambda entry: (entry[0][1], str(entry[0][0]))):
        points = []
        for key, value in parts.get("val", {}).items():
            step = parts.get("step", {}).get(key)
            if isinstance(value, int | float) and isinstance(step, int | float):
                points.append((float(step), float(value), parts.get("time", {}).get(key)))
            else:
                reading.skip(_OBJECT)
        if points:
            points.sort(key=lambda point: point[0])
            timed = all(isinstance(point[2], float) for point in points)
            reading.series[_named(name, contexts.get(context, []))] = Series(
                array("d", [point[0] for point in points]), array("d", [point[1] for point in points]),
                array("d", [point[2] for point in points]) if timed else None,
            )  # fmt: skip
            reading.rows += len(points)


def _named(name: str, context: list[tuple[str, str]]) -> str:
    """`train/loss` for loss with the subset train; what else tells two series apart stands behind it."""
    name = f"system/{name[len(_SAMPLE) :]}" if name.startswith(_SAMPLE) else name
    known = dict(context)
    subset = known.pop("subset", None)
    others = ",".join(f"{key}={value}" for key, value in sorted(known.items()))
    return (f"{subset}/" if subset else "") + name + (f"{{{others}}}" if others else "")
