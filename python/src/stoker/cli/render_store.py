"""The store as a whole, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.stores import StoreCheck, StoreCopy, StoreTable


def store_copy(value: StoreCopy, out: Out) -> None:
    """`stoker store backup`, `restore`, `copy`."""
    _tables(value.tables, out)
    out.line(fmt.one_line(f"{value.target} holds what {value.source} holds: every row was compared"))
    if value.left_out:
        out.line(fmt.one_line(f"left out: {', '.join(value.left_out)}"))


def store_check(value: StoreCheck, out: Out) -> None:
    """`stoker store check`."""
    _tables(value.tables, out)
    for fault in value.faults:
        out.note(fmt.one_line(f"{value.store}: {fault}"))
    if value.faults:
        out.note("  next: stoker store restore FILE, or stoker adopt into a new store")
    else:
        out.line(fmt.one_line(f"{value.store}: nothing wrong was found"))


def _tables(tables: Sequence[StoreTable], out: Out) -> None:
    out.table(("TABLE", "ROWS", "SHA-256"), [(table.name, str(table.rows), table.checksum[:16]) for table in tables])
