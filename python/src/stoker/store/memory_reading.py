"""Looking at what is remembered: threads, thoughts, context, and a search over all of them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, TextClause, or_, select, text

from stoker.store import memory_tables as tables
from stoker.store.memory_rows import ContextRow, ThoughtRow, ThreadRow
from stoker.store.read_only import ReadOnly

# A word of a search, and of what is searched: letters, digits and _ of any script. All else only parts them, so that
# nothing of a search is ever read as the language of an index.
_WORD = re.compile(r"\w+")
_LONGEST_WORD = 100
_MOST_WORDS = 32


@dataclass(frozen=True)
class Hit:
    """What a search found: a `thread`, a `thought` or `context`, one of the three rows."""

    kind: str
    thread: ThreadRow | None = None
    thought: ThoughtRow | None = None
    context: ContextRow | None = None


def words_of(said: str) -> list[str]:
    """The words of a text, once each, in small letters."""
    return list(dict.fromkeys(word[:_LONGEST_WORD] for word in _WORD.findall(said.casefold())))


def wanted(search: str) -> list[tuple[str, bool]]:
    """The words of a search, and of each whether it may go on (`learn*`)."""
    found = re.findall(r"(\w+)(\*?)", search.casefold())
    return list(dict.fromkeys((word[:_LONGEST_WORD], bool(star)) for word, star in found))[:_MOST_WORDS]


def thread_of(connection: Connection, thread_id: str) -> ThreadRow | None:
    """The thread with exactly this id."""
    row = connection.execute(select(tables.threads).where(tables.threads.c.id == thread_id)).mappings().one_or_none()
    return ThreadRow(**row) if row is not None else None


class MemoryReading:
    """What is remembered in one store, over connections that cannot write. It raises StokerError when that fails."""

    def __init__(self, connections: ReadOnly) -> None:
        self._connections = connections

    def threads(self, project: str | None, *, ended: bool = False, limit: int | None = None) -> list[ThreadRow]:
        """Threads of a project (None: of all), those last thought about first; with `ended` those that ended, too."""
        table = tables.threads
        query = select(table).order_by(table.c.updated_at.desc(), table.c.number.desc()).limit(limit)
        if project is not None:
            query = query.where(table.c.project == project)
        if not ended:
            query = query.where(table.c.ended_at.is_(None))
        with self._connections.read() as connection:
            return [ThreadRow(**row) for row in connection.execute(query).mappings()]

    def threads_like(self, begin: str) -> list[ThreadRow]:
        """The thread with this id, else those whose ids begin so."""
        table = tables.threads
        query = select(table).where(table.c.id.startswith(begin, autoescape=True)).order_by(table.c.id).limit(6)
        with self._connections.read() as connection:
            exact = thread_of(connection, begin)
            return [exact] if exact else [ThreadRow(**row) for row in connection.execute(query).mappings()]

    def thoughts(
        self, *, thread: str | None = None, project: str | None = None, handoffs: bool = False, last: int
    ) -> list[ThoughtRow]:
        """The last thoughts of a thread or of a project, oldest first; with `handoffs` of these alone."""
        table = tables.thoughts
        query = select(table).order_by(table.c.number.desc()).limit(last)
        if thread is not None:
            query = query.where(table.c.thread_id == thread)
        if project is not None:
            query = query.join(tables.threads).where(tables.threads.c.project == project)
        if handoffs:
            query = query.where(table.c.handoff.is_(True))
        with self._connections.read() as connection:
            return [ThoughtRow(**row) for row in connection.execute(query).mappings()][::-1]

    def context(
        self, project: str, *, category: str | None = None, pinned: bool = False, now: float | None = None
    ) -> list[ContextRow]:
        """The facts of a project that have not expired, by category and key."""
        table = tables.context
        query = select(table).where(table.c.project == project, _holds(now))
        if category is not None:
            query = query.where(table.c.category == category)
        if pinned:
            query = query.where(table.c.pinned.is_(True))
        with self._connections.read() as connection:
            found = [ContextRow(**row) for row in connection.execute(query).mappings()]
        # Here, since databases differ in how they order texts.
        return sorted(found, key=lambda row: (row.category, row.key))

    def search(self, said: str, project: str | None, limit: int, *, now: float | None = None) -> list[Hit]:
        """What has every word of `said`, newest first; nothing, where that has no words."""
        asked = wanted(said)
        if not asked:
            return []
        with self._connections.read() as connection:
            table = tables.memory_words
            query = select(table.c.number, table.c.kind, table.c.ref).where(_matching(connection, asked))
            if project is not None:
                query = query.where(table.c.project == project)
            # What has expired since the last write is still in the index.
            gone = select(tables.context.c.number).where(~_holds(now))
            query = query.where(table.c.number.not_in(gone)).order_by(table.c.number.desc()).limit(limit)
            return [hit for row in connection.execute(query) if (hit := _hit(connection, *row)) is not None]


def _holds(now: float | None) -> ColumnElement[bool]:
    """What has not expired."""
    at = time.time() if now is None else now
    column = tables.context.c.expires_at
    return or_(column.is_(None), column > at)


def _matching(connection: Connection, asked: Sequence[tuple[str, bool]]) -> TextClause:
    """The condition on `memory_words`. What is asked goes in as a value, and holds nothing but letters and digits."""
    if connection.dialect.name == "sqlite":
        match = " AND ".join(f'"{word}"{" *" if more else ""}' for word, more in asked)
        found = "SELECT rowid FROM memory_index WHERE memory_index MATCH :asked"
        return text(f"memory_words.number IN ({found})").bindparams(asked=match)
    match = " & ".join(f"'{word}'{':*' if more else ''}" for word, more in asked)
    return text("array_to_tsvector(string_to_array(memory_words.words, ' ')) @@ CAST(:asked AS tsquery)").bindparams(
        asked=match
    )


def _hit(connection: Connection, number: int, kind: str, ref: str) -> Hit | None:
    if kind == "context":
        row = connection.execute(select(tables.context).where(tables.context.c.number == number)).mappings().first()
        return Hit(kind, context=ContextRow(**row)) if row is not None else None
    thread = thread_of(connection, ref)
    if kind == "thread" or thread is None:
        return Hit(kind, thread=thread) if thread is not None else None
    row = connection.execute(select(tables.thoughts).where(tables.thoughts.c.number == number)).mappings().first()
    return Hit(kind, thread=thread, thought=ThoughtRow(**row)) if row is not None else None
