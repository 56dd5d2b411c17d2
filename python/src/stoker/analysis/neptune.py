"""Runs of Neptune as its exporter left them: Parquet, `RUN_part_0.parquet` and on. By DuckDB; the service has ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading, Series

if TYPE_CHECKING:
    import duckdb

# A run is in one or several of these.
PART = re.compile(r"(?P<run>.*?)_?part_(?P<number>\d+)\.parquet")
_NEEDED = {
    "project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp", "int_value", "float_value",
    "string_value", "bool_value", "string_set_value",
}  # fmt: skip
_VALUES = {"float": "float_value", "int": "int_value", "string": "string_value", "bool": "bool_value"}
_FACTS = {"sys/name": "name", "sys/description": "notes", "sys/hostname": "host", "source_code/git": "commit"}


def is_part(path: Path) -> bool:
    """Whether a file is a part of an exported run. Raises OSError, also for one of that name that is no Parquet."""
    if PART.fullmatch(path.name) is None:
        return False
    with path.open("rb") as file:
        head = file.read(4)
    if head != b"PAR1":
        raise OSError("it does not begin as Parquet does" if head else "it is empty")
    return True


def read_part(path: Path, *, history: bool = True) -> Reading:
    """The reading of one part; without `history` what is known of its run. Raises OSError."""
    import duckdb

    reading = Reading("neptune", str(path))
    path.stat()
    try:
        with duckdb.connect() as base:
            base.execute(f"CREATE VIEW part AS SELECT * FROM read_parquet({_quoted(path)})")
            columns = {row[0] for row in base.execute("DESCRIBE part").fetchall()}
            if not columns >= _NEEDED:
                reading.notes.append("this is no part that Neptune's exporter wrote")
                return reading
            _about(base, reading)
            if history:
                _series(base, reading)
    except duckdb.Error as problem:
        said = str(problem).splitlines()[0].replace(_quoted(path)[1:-1], path.name).replace(str(path), path.name)
        reading.notes.append(f"it cannot be read as Parquet: {said[:200]}")
        reading.skip("file that is no Parquet")
    return reading


def about(paths: Sequence[Path]) -> Reading:
    """What is known of a run without its series: the first part says what it is, the last when it ended."""
    reading = read_part(paths[0], history=False)
    if len(paths) > 1:
        reading.info["updated_at"] = read_part(paths[-1], history=False).info.get("updated_at")
    return reading


def _about(base: duckdb.DuckDBPyConnection, reading: Reading) -> None:
    info = reading.info
    named = base.execute("SELECT any_value(run_id), any_value(project_id) FROM part").fetchall()
    info["id"], info["project"] = named[0]
    columns = ", ".join(_VALUES.values())
    asked = f"SELECT attribute_path, attribute_type, {columns}, string_set_value FROM part WHERE step IS NULL"
    for path, kind, *values, words in base.execute(asked).fetchall():
        value = dict(zip(_VALUES, values, strict=True)).get(kind)
        if path in ("sys/tags", "sys/group_tags") and words:
            info["tags"] = [*info.get("tags", []), *words]
        elif path in _FACTS and isinstance(value, str):
            info[_FACTS[path]] = value
        elif path == "sys/failed" and isinstance(value, bool):
            info["state"] = (
                ("failed", "Neptune says sys/failed") if value else ("unknown", "Neptune says not sys/failed")
            )
        elif not path.startswith("sys/") and kind in _VALUES:
            _set(reading.config, path.split("/"), value)
    info.setdefault("state", ("unknown", "the export records no end"))
    first = base.execute("SELECT epoch(min(timestamp)), epoch(max(timestamp)) FROM part").fetchall()[0]
    info["started_at"], info["updated_at"] = first


def _set(config: dict[str, Any], path: list[str], value: Any) -> None:
    """A setting by its path; where one is a value and a folder of others, the whole path is its name."""
    place = config
    for name in path[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            config["/".join(path)] = value
            return
        place = inner
    if isinstance(place.get(path[-1]), dict):
        config["/".join(path)] = value
    else:
        place[path[-1]] = value


def _series(base: duckdb.DuckDBPyConnection, reading: Reading) -> None:
    others = base.execute(
        "SELECT attribute_type, count(*) FROM part"
        " WHERE step IS NOT NULL AND attribute_type <> 'float_series' GROUP BY attribute_type"
    )
    for kind, count in others.fetchall():
        reading.skip(f"value that is no number ({kind})", count)
    asked = (
        "SELECT attribute_path, step::DOUBLE AS step, float_value, epoch(timestamp) AS moment FROM part"
        " WHERE attribute_type = 'float_series' AND step IS NOT NULL AND float_value IS NOT NULL"
        " ORDER BY attribute_path, step"
    )
    found = base.execute(asked).fetchnumpy()
    names = found["attribute_path"]
    if not len(names):
        return
    plain = {
        key: np.ma.filled(np.ma.asarray(found[key], dtype=np.float64), np.nan)
        for key in ("step", "float_value", "moment")
    }
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        times = plain["moment"][start:stop]
        told = times if np.isfinite(times).all() else None
        reading.series[str(names[start])] = Series(plain["step"][start:stop], plain["float_value"][start:stop], told)
    reading.rows = len(names)


def _quoted(path: Path) -> str:
    """A path as a text of SQL in which no pattern is read."""
    plain = re.sub(r"([*?\[])", r"[\1]", str(path))
    return "'" + plain.replace("'", "''") + "'"
