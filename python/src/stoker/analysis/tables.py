"""Large files of JSON lines by DuckDB: the same reading as the node's own reader gives, in a fraction of the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ansible_collections.stoker.fleet.plugins.module_utils.readers import jsonl, text_form
from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import (
    STEP_KEYS,
    TIME_KEYS,
    Reading,
    Series,
    first_of,
    is_clock,
    scaled,
)

if TYPE_CHECKING:
    import duckdb

# Below this the plain reader is done before DuckDB is imported.
SMALL = 2_000_000
_MOST_KEYS = 400
_LENIENT = "ignore_errors=true, maximum_object_size=16777216"
# A number begins with a digit or a minus, NaN and Infinity with their letter; a text that looks like one, with a quote.
_IS_NUMBER = "(ascii({0}) > 44 AND ascii({0}) < 58 OR ascii({0}) IN (73, 78))"
_COMMA = " OR ".join(f"contains(json::VARCHAR, ',{blank}{end}')" for blank in ("", " ") for end in "}]")
_KINDS = {"BOOLEAN": "true or false", "VARCHAR": "text", "ARRAY": "list"}


class _Odd(Exception):
    """This file has something that only the plain reader reads exactly."""


def read_jsonl(path: Path) -> Reading:
    """The reading of a file of JSON lines. Raises OSError."""
    if path.stat().st_size < SMALL:
        return jsonl.read_jsonl(str(path))
    try:
        import duckdb
    except ImportError:
        return jsonl.read_jsonl(str(path))
    try:
        with duckdb.connect() as base:
            return _by_duckdb(base, path)
    except (_Odd, duckdb.Error):
        return jsonl.read_jsonl(str(path))


def _by_duckdb(base: duckdb.DuckDBPyConnection, path: Path) -> Reading:
    reading = Reading("jsonl", str(path))
    if _begins_with_mark(path) or text_form.encoding_in(str(path)) != "utf-8":
        raise _Odd
    present, objects, others = _keys(base, path)
    if not objects:
        raise _Odd
    columns = _columns(base, path, present, reading)
    if next((len(c) for c in columns.values()), objects + others) != objects + others:
        raise _Odd
    if others or not _ends_whole(path):
        columns = _without_other_lines(base, path, columns, objects, reading)
    _finish(columns, objects, reading)
    return reading


def _ends_whole(path: Path) -> bool:
    """Whether the last line has its end: of one that has none, DuckDB does not always tell."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _begins_with_mark(path: Path) -> bool:
    """Whether the file begins with a byte order mark, which DuckDB takes for text."""
    with path.open("rb") as file:
        return file.read(3) == b"\xef\xbb\xbf"


def _keys(base: duckdb.DuckDBPyConnection, path: Path) -> tuple[Counter[str], int, int]:
    """In how many rows each key is, how many lines are objects, and how many are not."""
    rows = base.execute(
        f"SELECT json_type(json) = 'OBJECT', json_keys(json), count(*), bool_or({_COMMA}) "
        f"FROM read_ndjson_objects(?, {_LENIENT}) GROUP BY ALL", [_named(path)],
    ).fetchall()  # fmt: skip
    present, objects, others = Counter[str](), 0, 0
    for is_object, keys, count, comma in rows:
        # DuckDB takes the first of two values of one key, and a comma before a bracket for valid.
        if comma or (keys and len(set(keys)) < len(keys)):
            raise _Odd
        if not is_object:
            others += count
            continue
        objects += count
        for key in keys:
            present[key] += count
    # DuckDB's names know no case, and none is empty.
    names = {key.lower() for key in present}
    if len(names) != len(present) or "" in names or len(names) > _MOST_KEYS:
        raise _Odd
    return present, objects, others


def _columns(
    base: duckdb.DuckDBPyConnection, path: Path, present: Counter[str], reading: Reading
) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Each key's numbers by line, masked where there is none; what is there and no number is counted."""
    if not present:
        return {}
    typed = ", ".join("'" + key.replace("'", "''") + "': 'JSON'" for key in present)
    source = f"read_json(?, columns={{{typed}}}, format='newline_delimited', {_LENIENT})"
    quoted = {key: '"' + key.replace('"', '""') + '"' for key in present}
    is_number = {key: _IS_NUMBER.format(name) for key, name in quoted.items()}
    numbers = [f"CASE WHEN {is_number[key]} THEN try_cast({name} AS DOUBLE) END" for key, name in quoted.items()]
    odd = " + ".join(f"({name} IS NOT NULL AND NOT ({is_number[key]}))::INT" for key, name in quoted.items())
    columns = base.execute(f"SELECT {', '.join(numbers)}, {odd} FROM {source}", [_named(path)]).fetchnumpy()
    *found, odd_ones = columns.values()
    there = {key: np.ma.asarray(column) for key, column in zip(quoted, found, strict=True)}
    others = Counter[str]()
    if odd_count := int(np.ma.asarray(odd_ones).sum()):
        others = _count_others(base, source, path, quoted, reading)
        if sum(others.values()) != odd_count:
            raise _Odd  # `nan`, say, which is no JSON
    for key, column in there.items():
        reading.skip("value that is no number (null)", present[key] - int(column.count()) - others[key])
    return there


def _count_others(
    base: duckdb.DuckDBPyConnection, source: str, path: Path, quoted: Mapping[str, str], reading: Reading
) -> Counter[str]:
    """Count the values that are no numbers, by kind; the answer is how many each key has."""
    kinds = ("OBJECT", *_KINDS)
    counts = [f"count(*) FILTER (WHERE json_type({name}) = '{kind}')" for name in quoted.values() for kind in kinds]
    (row,) = base.execute(f"SELECT {', '.join(counts)} FROM {source}", [_named(path)]).fetchall()
    others, cells = Counter[str](), iter(row)
    for key in quoted:
        for kind in kinds:
            count = next(cells)
            if kind == "OBJECT" and count:
                raise _Odd  # its numbers have names of their own
            if count:
                reading.skip(f"value that is no number ({_KINDS[kind]})", count)
                others[key] += count
    return others


def _without_other_lines(
    base: duckdb.DuckDBPyConnection,
    path: Path,
    columns: dict[str, np.ma.MaskedArray[Any, Any]],
    objects: int,
    reading: Reading,
) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Take away the lines that are no objects, and count them."""
    kept = base.execute(
        "SELECT coalesce(json_type(json) = 'OBJECT', false) AS kept, json IS NOT NULL AS whole "
        f"FROM read_ndjson_objects(?, {_LENIENT})", [_named(path)],
    ).fetchnumpy()  # fmt: skip
    keep, whole = np.asarray(kept["kept"], dtype=bool), np.asarray(kept["whole"], dtype=bool)
    lines, line = 0, b"\n"
    with path.open("rb") as file:
        for line in file:
            lines += not line.isspace()
    cut = not line.endswith(b"\n") and len(whole) and not whole[-1]
    if lines != len(keep) or int(keep.sum()) != objects:
        raise _Odd  # damage that joined lines: only the plain reader counts it line by line
    reading.skip("incomplete last line", int(cut))
    reading.skip("line that is no JSON", int((~whole).sum()) - int(cut))
    reading.skip("line that is no JSON object", int((whole & ~keep).sum()))
    return {key: column[keep] for key, column in columns.items()}


def _finish(columns: dict[str, np.ma.MaskedArray[Any, Any]], rows: int, reading: Reading) -> None:
    """Find the step and the time, and give each value its own: `Table.finish`, on whole columns."""
    columns = {key: column for key, column in columns.items() if column.count()}
    reading.rows = rows
    step_key = first_of(STEP_KEYS, columns)
    clocks = [key for key in TIME_KEYS if key in columns and is_clock(columns[key].compressed()[:1])]
    time_key = first_of(clocks, columns)
    steps = _steps(columns, step_key, rows, reading)
    times = None if time_key is None else np.asarray(scaled(columns[time_key].filled(np.nan)))
    for key, column in columns.items():
        if key in (step_key, time_key) and key != "epoch":
            continue
        there = ~np.ma.getmaskarray(column)
        if there.all():
            reading.series[key] = Series(steps, column.data, times)
        else:
            when = None if times is None else times[there]
            reading.series[key] = Series(steps[there], column.data[there], when)


def _steps(
    columns: dict[str, np.ma.MaskedArray[Any, Any]], key: str | None, rows: int, reading: Reading
) -> np.ndarray[Any, np.dtype[np.float64]]:
    if key is None:
        if columns:
            reading.notes.append("no step in it: rows are counted from 0")
        return np.arange(rows, dtype=np.float64)
    steps = columns[key].filled(np.nan)
    unknown = ~np.isfinite(steps)
    if unknown.any():
        count = int(unknown.sum())
        reading.notes.append(
            f"{count} rows have no {key}, and were given that of the row before"
            if count > 1
            else f"1 row has no {key}, and was given that of the row before"
        )
        before = np.maximum.accumulate(np.where(unknown, -1, np.arange(rows)))
        steps = np.where(before < 0, 0.0, steps[before])
    return steps


def _named(path: Path) -> str:
    """The path as DuckDB takes it for this file alone: it reads patterns."""
    text = str(path)
    if any(mark in text for mark in "*?["):
        raise _Odd
    return text
