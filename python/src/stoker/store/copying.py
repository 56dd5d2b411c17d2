"""Copying a store as a whole: to a backup file, back from it, from SQLite to PostgreSQL.

Counts and checksums prove it. A copy is read in one transaction (one moment of the store) and written in one (all of
it or nothing).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, type_coerce
from sqlalchemy.types import TypeDecorator

from stoker.errors import StokerError, UsageError
from stoker.store import instance_tables, memory_tables, schema

# Of all tables: also those that only few calls import.
(_METADATA,) = {instance_tables.instances.metadata, memory_tables.threads.metadata}
# Tables of history: a store without their rows is whole.
HISTORY = ("events", "samples")
_ROWS = 500


@dataclass(frozen=True)
class TableCopy:
    """How many rows of a table are in a store, and the SHA-256 over them in the order of their keys."""

    name: str
    rows: int
    checksum: str


def tables(without: Sequence[str] = ()) -> list[Table]:
    """All tables, those that others refer to first. Raises UsageError for one that cannot be left out."""
    for name in without:
        if name not in HISTORY:
            raise UsageError(f"{name} cannot be left out of a copy", next_step=f"it can: {', '.join(HISTORY)}")
    return [table for table in _METADATA.sorted_tables if table.name not in without]


def copy(source: Engine, target: Engine, *, without: Sequence[str] = (), replace: bool = False) -> list[TableCopy]:
    """Copy every row of `source` into `target`, whose tables are there, and prove that they arrived.

    Returns what was copied. Raises UsageError when `target` holds something and `replace` is not set, StokerError when
    what arrived is not what was sent; `target` is then as it was.
    """
    with reading(source) as read, target.connect().execution_options(stoker_writes=True) as write, write.begin():
        _let_stand(write)
        if not replace:
            _refuse_filled(write)
        last = max(_last_event(read), _last_event(write))
        for table in reversed(_METADATA.sorted_tables):
            write.execute(delete(table))
        for table in tables(without):
            for rows in _pages(read, table):
                write.execute(insert(_raw(table)), rows)
        _go_on_from(write, last)
        sent, arrived = (_sums(connection, without) for connection in (read, write))
        if sent != arrived:
            different = ", ".join(a.name for a, b in zip(sent, arrived, strict=True) if a != b)
            raise StokerError(f"the copy differs from the store in {different}; nothing was changed")
        return arrived


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one moment of the store, however long it reads."""
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    with connection, connection.begin():
        _let_stand(connection)
        yield connection


def _let_stand(connection: Connection) -> None:
    """While one side of a copy works the other one waits: its session is not to be ended for that."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def sums(engine: Engine, *, without: Sequence[str] = ()) -> list[TableCopy]:
    """Rows and checksum of each table."""
    with reading(engine) as connection:
        return _sums(connection, without)


def faults(engine: Engine) -> list[str]:
    """What the database itself finds wrong with its file (SQLite's integrity check), and references to nothing."""
    with engine.connect() as connection:
        if connection.dialect.name != "sqlite":
            return []  # PostgreSQL keeps references by itself, and has checksums of its own
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
        lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        return found + [f"a row of {row[0]} refers to a row of {row[2]} that is not there" for row in lost]


def _refuse_filled(connection: Connection) -> None:
    counts = {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables()}
    filled = [f"{count} row{'s' if count > 1 else ''} of {name}" for name, count in counts.items() if count]
    if filled:
        raise UsageError(
            f"the store to copy into holds {', '.join(filled)}",
            next_step="name one that is empty; stoker store restore --replace throws away what is there",
        )


def _raw(table: Table) -> Any:
    """The table, its documents as the text that they are stored as: what is copied is neither read nor made anew."""
    from sqlalchemy import column
    from sqlalchemy import table as plain

    return plain(table.name, *(column(c.name) for c in table.columns))


def _pages(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    stored = [
        type_coerce(c, c.type.impl_instance).label(c.name) if isinstance(c.type, TypeDecorator) else c
        for c in table.columns
    ]
    rows = connection.execution_options(yield_per=_ROWS).execute(
        select(*stored).order_by(*_in_order(connection, table))
    )
    for page in rows.mappings().partitions():
        yield [dict(row) for row in page]


def _in_order(connection: Connection, table: Table) -> list[Any]:
    """The key, in the same order on every database: PostgreSQL sorts text by the language of its cluster."""
    keys = list(table.primary_key.columns)
    if connection.dialect.name == "postgresql":
        return [key.collate("C") if key.type.python_type is str else key for key in keys]
    return keys


def _sums(connection: Connection, without: Sequence[str]) -> list[TableCopy]:
    found = []
    for table in tables(without):
        digest, count = hashlib.sha256(), 0
        for page in _pages(connection, table):
            for row in page:
                digest.update(json.dumps([_plain(value) for value in row.values()]).encode() + b"\n")
                count += 1
        found.append(TableCopy(table.name, count, digest.hexdigest()))
    return found


def _plain(value: Any) -> Any:
    # SQLite has no booleans, and hands a whole number back from a column of doubles as it was given.
    if isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _last_event(connection: Connection) -> int:
    """The newest number that was ever given to an event, also when its row is gone."""
    if connection.dialect.name == "sqlite":
        given = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'events'").scalar()
    else:
        given = connection.exec_driver_sql(
            "SELECT last_value FROM pg_sequences WHERE schemaname = current_schema() AND sequencename ="
            " split_part(pg_get_serial_sequence('events', 'seq'), '.', 2)"
        ).scalar()
    newest = connection.execute(select(func.max(schema.events.c.seq))).scalar()
    return max(int(given or 0), int(newest or 0))


def _go_on_from(connection: Connection, last: int) -> None:
    """A number is given once: who keeps one to go on from would miss events otherwise."""
    if connection.dialect.name == "postgresql":
        # SQLite counts on from what is there by itself.
        for table in ("calls", "checkpoints"):
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), max(seq)) FROM {table}"
                " HAVING max(seq) IS NOT NULL"
            )
    if last == 0:
        return
    if connection.dialect.name == "sqlite":
        changed = connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (last,))
        if not changed.rowcount:
            connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (last,))
    else:
        connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('events', 'seq'), {int(last)})")
