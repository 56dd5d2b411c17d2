"""Questions over all runs of a folder: `best(val/acc) > 80% and config.lr < 1e-3`, answered by DuckDB."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stoker.analysis.answers import RunMatch, RunQuery
from stoker.analysis.compare import flat
from stoker.analysis.errors import Unreadable
from stoker.analysis.naming import near_names
from stoker.analysis.query_text import (
    FIGURES,
    NUMBERS,
    TEXTS,
    Both,
    Compare,
    Condition,
    Known,
    Name,
    Not,
    Operand,
    QueryError,
    Tagged,
    Value,
    kind_of,
    names,
    parse,
)
from stoker.analysis.statistics import stats
from stoker.analysis.values import RunInfo

if TYPE_CHECKING:
    import duckdb

    from stoker.analysis.model import Run
    from stoker.analysis.runs import Found

_AT_ONCE = 500
# The tables that a query is asked of. `figures` and `settings` have a row for each run and metric or setting in it.
TABLES: Mapping[str, Mapping[str, str]] = {
    "runs": {"run": "INTEGER", **dict.fromkeys(TEXTS, "VARCHAR"), **dict.fromkeys(NUMBERS, "DOUBLE")},
    "tags": {"run": "INTEGER", "tag": "VARCHAR"},
    "figures": {"run": "INTEGER", "metric": "VARCHAR", **dict.fromkeys(FIGURES, "DOUBLE")},
    "settings": {"run": "INTEGER", "setting": "VARCHAR", "number": "DOUBLE", "text": "VARCHAR", "truth": "BOOLEAN"},
}
_COLUMNS = {"number": "number", "text": "text", "truth": "truth"}


def query(found: Sequence[Found], text: str, *, read: Callable[[Found], Run], folder: str = "") -> RunQuery:
    """The runs for which `text` is true. `read` reads one whole; it is asked only where a metric is.

    A run for which it cannot be told (it lacks the metric, say) is not among them, and counted. Raises QueryError for
    a text that is no query, and for a metric or setting that no run has.
    """
    condition = parse(text)
    asked = names(condition)
    metrics = [name for name in asked if name.kind in FIGURES]
    infos: list[RunInfo] = []
    known: list[dict[str, dict[str, float | None]]] = []
    unreadable: list[str] = []
    everything: dict[str, None] = {}
    for one in found:
        figures: dict[str, dict[str, float | None]] = {}
        if metrics:
            try:
                run = read(one)
            except Unreadable as problem:
                unreadable.append(problem.message)
                continue
            everything.update(dict.fromkeys(run.metrics))
            figures = {name.name: _figures(run, name.name) for name in metrics if name.name in run.metrics}
        infos.append(one.info)
        known.append(figures)
    settings = [flat(info.config) for info in infos]
    if infos:
        _check(asked, everything, settings, known)
    sql, parameters = compiled(condition)
    answers = _asked(infos, known, settings, asked, sql, parameters)
    rows = tuple(
        RunMatch(info, {name.shown: _shown(name, info, settings[at], known[at]) for name in asked})
        for at, info in enumerate(infos)
        if answers[at]
    )
    unknown = sum(answer is None for answer in answers)
    return RunQuery(
        text, folder, tuple(name.shown for name in asked), rows, len(infos), unknown, sql, tuple(parameters),
        tuple(unreadable), time.time(),
    )  # fmt: skip


def compiled(condition: Condition) -> tuple[str, list[Any]]:
    """The condition as SQL over TABLES, in which nothing of its text stands but in parameters."""
    parameters: list[Any] = []
    return f"SELECT run, ({_sql(condition, parameters)}) FROM runs ORDER BY run", parameters


def _sql(part: Condition, parameters: list[Any]) -> str:
    if isinstance(part, Both):
        return f" {part.word} ".join(f"({_sql(inner, parameters)})" for inner in part.parts)
    if isinstance(part, Not):
        return f"NOT ({_sql(part.inner, parameters)})"
    if isinstance(part, Tagged):
        parameters.append(part.tag)
        return "EXISTS (SELECT 1 FROM tags t WHERE t.run = runs.run AND t.tag = ?)"
    if isinstance(part, Known):
        kinds = _COLUMNS if kind_of(part.operand) == "any" else (kind_of(part.operand),)
        return " OR ".join(f"({_operand(part.operand, kind, parameters)}) IS NOT NULL" for kind in kinds)
    return _compared(part, parameters)


def _compared(part: Compare, parameters: list[Any]) -> str:
    kinds = {kind for kind in (kind_of(part.left), kind_of(part.right)) if kind != "any"}

    def one(kind: str) -> str:
        left = _operand(part.left, kind, parameters)
        right = _operand(part.right, kind, parameters)
        if part.sign == "~":
            return f"contains(lower(({left})), lower(({right})))"
        return f"({left}) {part.sign} ({right})"

    # Two settings are compared as what both of them are.
    return one(kinds.pop()) if kinds else f"coalesce({', '.join(one(kind) for kind in _COLUMNS)})"


def _operand(operand: Operand, kind: str, parameters: list[Any]) -> str:
    if isinstance(operand, Value):
        parameters.append(operand.value)
        return {"number": "?::DOUBLE", "text": "?::VARCHAR", "truth": "?::BOOLEAN"}[kind]
    if operand.kind == "field":
        return f'runs."{operand.name}"'
    parameters.append(operand.name)
    if operand.kind == "config":
        return f"SELECT s.{_COLUMNS[kind]} FROM settings s WHERE s.run = runs.run AND s.setting = ?"
    return f'SELECT f."{operand.kind}" FROM figures f WHERE f.run = runs.run AND f.metric = ?'


def _asked(
    infos: Sequence[RunInfo], known: Sequence[Mapping[str, Mapping[str, float | None]]],
    settings: Sequence[Mapping[str, Any]], asked: Sequence[Name], sql: str, parameters: Sequence[Any],
) -> list[bool | None]:  # fmt: skip
    import duckdb

    wanted = {name.name for name in asked if name.kind == "config"}
    with duckdb.connect() as base:
        tables = fill(base, infos, known, [{k: v for k, v in s.items() if k in wanted} for s in settings])
        return [answer for _, answer in tables.execute(sql, list(map(_cell, parameters))).fetchall()]


def fill(
    base: duckdb.DuckDBPyConnection, infos: Sequence[RunInfo],
    figures: Sequence[Mapping[str, Mapping[str, float | None]]], settings: Sequence[Mapping[str, Any]],
) -> duckdb.DuckDBPyConnection:  # fmt: skip
    """Make TABLES and put these runs into them, numbered from 0."""
    for table, columns in TABLES.items():
        listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        base.execute(f"CREATE TABLE {table} ({listed})")
    _insert(base, "runs", ([at, *_row(info)] for at, info in enumerate(infos)))
    _insert(base, "tags", ([at, tag] for at, info in enumerate(infos) for tag in info.tags))
    _insert(
        base, "figures",
        ([at, name, *(row[f] for f in FIGURES)] for at, of in enumerate(figures) for name, row in of.items()),
    )  # fmt: skip
    _insert(base, "settings", ([at, k, *_typed(v)] for at, of in enumerate(settings) for k, v in of.items()))
    return base


def _insert(base: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    """Many rows in a statement: one by one DuckDB takes a millisecond for each."""
    listed = list(rows)
    for start in range(0, len(listed), _AT_ONCE):
        part = listed[start : start + _AT_ONCE]
        marks = ", ".join(f"({', '.join('?' * len(row))})" for row in part)
        base.execute(f"INSERT INTO {table} VALUES {marks}", [_cell(cell) for row in part for cell in row])


def _cell(value: Any) -> Any:
    """DuckDB takes no text with bytes that are no UTF-8, as names of files may have."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _row(info: RunInfo) -> list[Any]:
    return [_field(info, name) for name in (*TEXTS, *NUMBERS)]


def _field(info: RunInfo, name: str) -> Any:
    if name == "state":
        return info.state.name
    value = info.state.exit_code if name == "exit_code" else getattr(info, name)
    return float(value) if name in NUMBERS and value is not None else value


def _typed(value: Any) -> tuple[float | None, str | None, bool | None]:
    """A setting as number, text and truth: one of them. What is none of these is its JSON, null is nothing."""
    if isinstance(value, bool):
        return None, None, value
    if isinstance(value, str) or value is None:
        return None, value, None
    if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        return float(value), None, None
    return None, json.dumps(value, default=str, ensure_ascii=False), None


def _figures(run: Run, metric: str) -> dict[str, float | None]:
    """What is known of a metric; a final value that is NaN is unknown, as no order holds for it."""
    said = stats(run.metrics[metric], run.directions, run.schema) if len(run.metrics[metric]) else None
    if said is None:
        return {**dict.fromkeys(FIGURES), "count": 0.0, "nan": 0.0}
    points = {"best": said.best, "min": said.min, "max": said.max}
    return {
        "final": None if math.isnan(said.final) else said.final, "mean": said.mean, "count": float(said.count),
        "nan": float(said.nan), **{name: point.value if point else None for name, point in points.items()},
    }  # fmt: skip


def _shown(
    name: Name, info: RunInfo, settings: Mapping[str, Any], figures: Mapping[str, Mapping[str, float | None]]
) -> Any:
    if name.kind == "field":
        return _field(info, name.name)
    return settings.get(name.name) if name.kind == "config" else figures.get(name.name, {}).get(name.kind)


def _check(
    asked: Sequence[Name], metrics: Mapping[str, None], settings: Sequence[Mapping[str, Any]],
    known: Sequence[Mapping[str, Mapping[str, float | None]]],
) -> None:  # fmt: skip
    """Refuse names that no run has: a typing error must not look like an answer."""
    keys = dict.fromkeys(key for one in settings for key in one)
    for name in asked:
        there = keys if name.kind == "config" else metrics
        if name.kind == "field" or name.name in there:
            if name.kind == "best" and not any(of.get(name.name, {}).get("best") is not None for of in known):
                step = f"min({name.name}) or max({name.name})"
                raise QueryError(name.at, f"which way is better is not known for {name.name}", next_step=step)
            continue
        what = "setting" if name.kind == "config" else "metric"
        near = near_names(name.name, list(there))
        hint = f" Did you mean {near}?" if near else " A text stands in quotes." if what == "metric" else ""
        raise QueryError(name.at, f"no run has a {what} '{name.name}'.{hint}", next_step="stoker runs keys RUN")
