"""Members in the store: what was decided of nodes, seen by every client of the same database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from stoker.store import schema
from stoker.store.rows import MemberRow

if TYPE_CHECKING:
    from stoker.store.store import Store


class Members:
    """The members of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> list[MemberRow]:
        """What was decided of each node that anything was decided of, by name."""
        query = select(schema.members).order_by(schema.members.c.name)
        with self._store.read() as connection:
            return [MemberRow(**row) for row in connection.execute(query).mappings()]

    def get(self, name: str) -> MemberRow | None:
        """What was decided of one node; None: nothing."""
        query = select(schema.members).where(schema.members.c.name == name)
        with self._store.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return MemberRow(**row) if row is not None else None
