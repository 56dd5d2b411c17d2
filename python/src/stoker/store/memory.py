"""Threads, thoughts and context in the store: writing. Looking is `memory_reading`, which cannot write."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from stoker.errors import NotFound, UsageError
from stoker.store import memory_tables as tables
from stoker.store.identity import new_id
from stoker.store.memory_reading import MemoryReading, thread_of, words_of
from stoker.store.memory_rows import ContextRow, ThoughtRow, ThreadRow

if TYPE_CHECKING:
    from stoker.store.store import Store
    from stoker.store.transaction import Transaction


class Memory:
    """What is remembered in one store. Every method raises StokerError when the database fails.

    `reading` is all that looks.
    """

    def __init__(self, store: Store, reading: MemoryReading) -> None:
        self._store = store
        self.reading = reading

    def start(self, title: str, project: str, by: str, *, now: float | None = None) -> ThreadRow:
        """Begin a thread."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            thread_id = _free_id(transaction, title)
            number = transaction.event("thread.started", at, data={"thread": thread_id, "project": project})
            row = ThreadRow(thread_id, number, project, title, 0, at, at, by, None, None)
            transaction.change(insert(tables.threads).values(**vars(row)))
            _put_words(transaction, number, "thread", project, thread_id, title)
        return row

    def think(
        self, thread_id: str, text: str, by: str, *, handoff: bool = False, now: float | None = None
    ) -> tuple[ThreadRow, ThoughtRow]:
        """Append a thought. Raises NotFound, UsageError for a thread that has ended."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            thread = _known(transaction, thread_id)
            if thread.ended_at is not None:
                raise UsageError(f"the thread {thread.id} has ended", next_step="stoker thread start TITLE begins one")
            kind = "thread.handoff" if handoff else "thread.thought"
            position = thread.position + 1
            number = transaction.event(kind, at, data={"thread": thread.id, "position": position})
            thought = ThoughtRow(thread.id, position, number, at, by, handoff, text)
            transaction.change(insert(tables.thoughts).values(**vars(thought)))
            table = tables.threads
            transaction.change(update(table).where(table.c.id == thread.id).values(position=position, updated_at=at))
            _put_words(transaction, number, "thought", thread.project, thread.id, text)
        return replace(thread, position=position, updated_at=at), thought

    def end(self, thread_id: str, summary: str | None, *, now: float | None = None) -> tuple[ThreadRow, bool]:
        """End a thread, or leave it as it ended before; whether it went on until now. Raises NotFound."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            thread = _known(transaction, thread_id)
            if thread.ended_at is not None:
                return thread, False
            transaction.event("thread.ended", at, data={"thread": thread.id})
            new = {"ended_at": at, "updated_at": at, "summary": summary}
            transaction.change(update(tables.threads).where(tables.threads.c.id == thread.id).values(**new))
            if summary:
                _drop_words(transaction, "thread", thread.id)
                _put_words(transaction, thread.number, "thread", thread.project, thread.id, f"{thread.title} {summary}")
        return replace(thread, ended_at=at, updated_at=at, summary=summary), True

    def put(
        self, project: str, key: str, value: str, by: str, *, category: str, pinned: bool, expires_at: float | None,
        now: float | None = None,
    ) -> tuple[ContextRow, bool]:  # fmt: skip
        """Write a fact in the place of the one of its key; whether there was one that had not expired."""
        at = time.time() if now is None else now
        table = tables.context
        with self._store.write() as transaction:
            _drop_expired(transaction, at)
            old = transaction.found(
                lambda connection: connection.execute(
                    select(table.c.created_at).where(table.c.project == project, table.c.key == key)
                ).scalar_one_or_none()
            )
            _drop(transaction, project, key)
            number = transaction.event("context.set", at, data={"project": project, "key": key})
            created = at if old is None else old
            row = ContextRow(number, project, key, value, category, pinned, expires_at, created, at, by)
            transaction.change(insert(table).values(**vars(row)))
            _put_words(transaction, number, "context", project, _ref(project, key), f"{key} {category} {value}")
        return row, old is not None

    def forget(self, project: str, key: str, *, now: float | None = None) -> bool:
        """Remove a fact; whether there was one that had not expired."""
        at = time.time() if now is None else now
        with self._store.write() as transaction:
            _drop_expired(transaction, at)
            removed = _drop(transaction, project, key)
            if removed:
                transaction.event("context.forgotten", at, data={"project": project, "key": key})
        return removed


def _free_id(transaction: Transaction, title: str) -> str:
    taken = set(transaction.found(lambda connection: connection.execute(select(tables.threads.c.id)).scalars().all()))
    while (thread_id := new_id(title)) in taken:
        pass
    return thread_id


def _known(transaction: Transaction, thread_id: str) -> ThreadRow:
    row = transaction.found(lambda connection: thread_of(connection, thread_id))
    if row is None:
        raise NotFound(f"there is no thread {thread_id!r}", next_step="stoker thread list")
    return row


def _ref(project: str, key: str) -> str:
    return f"{len(project)}:{project}:{key}"


def _drop(transaction: Transaction, project: str, key: str) -> bool:
    table = tables.context
    _drop_words(transaction, "context", _ref(project, key))
    return transaction.change(delete(table).where(table.c.project == project, table.c.key == key)) > 0


def _drop_expired(transaction: Transaction, at: float) -> None:
    table = tables.context
    gone = table.c.expires_at <= at
    words = tables.memory_words
    transaction.change(delete(words).where(words.c.number.in_(select(table.c.number).where(gone))))
    transaction.change(delete(table).where(gone))


def _put_words(transaction: Transaction, number: int, kind: str, project: str, ref: str, text: str) -> None:
    new = {"number": number, "kind": kind, "project": project, "ref": ref, "words": " ".join(words_of(text))}
    transaction.change(insert(tables.memory_words).values(**new))


def _drop_words(transaction: Transaction, kind: str, ref: str) -> None:
    table = tables.memory_words
    transaction.change(delete(table).where(table.c.kind == kind, table.c.ref == ref))
