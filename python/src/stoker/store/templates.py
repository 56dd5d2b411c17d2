"""Templates in the store: saved by one machine, seen by every one that uses the same database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from stoker.errors import UsageError
from stoker.store import schema
from stoker.store.rows import TemplateRow

if TYPE_CHECKING:
    from stoker.store.store import Store


class Templates:
    """The templates of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> list[TemplateRow]:
        """All templates, by name."""
        table = schema.templates
        with self._store.read() as connection:
            found = [TemplateRow(**row) for row in connection.execute(select(table)).mappings()]
        # Here, since databases differ in how they order texts.
        return sorted(found, key=lambda template: template.name)

    def get(self, name: str) -> TemplateRow | None:
        """The template of exactly this name; None: there is none."""
        table = schema.templates
        with self._store.read() as connection:
            row = connection.execute(select(table).where(table.c.name == name)).mappings().one_or_none()
        return TemplateRow(**row) if row is not None else None

    def save(
        self,
        name: str,
        body: Mapping[str, Any],
        *,
        description: str | None = None,
        project: str | None = None,
        replace: bool = False,
        now: float | None = None,
    ) -> TemplateRow:
        """Write a template. Raises UsageError for a name that is taken, unless it may `replace` the one that has it."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            old = transaction.template(name)
            if old is not None and not replace:
                raise UsageError(
                    f"there is a template {name!r} already: nothing was saved",
                    next_step=f"--replace puts this one in its place; stoker template show {name} shows it",
                )
            new = TemplateRow(name, description, project, body, old.created_at if old else at, at)
            transaction.put_template(new)
            transaction.event("template.saved", at, data={"template": name, "replaced": old is not None})
        return new

    def delete(self, name: str, *, now: float | None = None) -> bool:
        """Remove a template; False where there is none of this name. Jobs made from it stay as they are."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            removed = transaction.remove_template(name)
            if removed:
                transaction.event("template.deleted", at, data={"template": name})
        return removed
