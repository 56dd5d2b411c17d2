"""Benchmarks in the store: what each node was measured at, and when."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from stoker.store import schema

if TYPE_CHECKING:
    from stoker.store.store import Store


@dataclass(frozen=True)
class BenchmarkRow:
    """One figure of one node: the median of three.

    `kernel` is what it was measured with; `spread_pct` is how far the three were apart; `busy`: jobs ran meanwhile.
    """

    at: float
    node: str
    name: str
    device: str | None
    kernel: str
    unit: str
    value: float
    spread_pct: float
    busy: bool


class Benchmarks:
    """The benchmarks of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, rows: Iterable[BenchmarkRow]) -> None:
        """Keep what was measured."""
        with self._store.write() as transaction:
            for row in rows:
                transaction.add_benchmark({"id": uuid.uuid4().hex, **asdict(row)})

    def of(self, node: str) -> list[BenchmarkRow]:
        """What a node was measured at, the newest first."""
        table = schema.benchmarks
        columns = [column for column in table.c if column.name != "id"]
        with self._store.read() as connection:
            found = connection.execute(select(*columns).where(table.c.node == node).order_by(table.c.at.desc()))
            return [BenchmarkRow(**row) for row in found.mappings()]
