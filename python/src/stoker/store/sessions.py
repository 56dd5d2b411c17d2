"""Sessions of assistants, and messages between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from stoker.store import memory_tables as tables
from stoker.store.memory_rows import MessageRow, SessionRow
from stoker.store.read_only import ReadOnly

if TYPE_CHECKING:
    from stoker.store.store import Store

# How long a session that has ended, and a message that was read, can be looked up.
KEEP_S = 30 * 86400.0


Rows = list[MessageRow]


class Sessions:
    """The sessions and messages of one store. Every method raises StokerError when the database fails."""

    def __init__(self, store: Store, looking: ReadOnly) -> None:
        self._store = store
        self._looking = looking

    # ---- sessions ----

    def begin(self, row: SessionRow) -> None:
        """Write a new session down; the names of its client, where it is known already."""
        table = tables.sessions
        with self._store.write() as transaction:
            changed = transaction.change(
                update(table).where(table.c.id == row.id)
                .values(client=row.client, client_version=row.client_version, seen_at=row.seen_at, ended_at=None)
            )  # fmt: skip
            if changed:
                return
            before = row.started_at - KEEP_S
            transaction.change(delete(table).where(table.c.seen_at < before))
            transaction.change(delete(tables.messages).where(tables.messages.c.acked_at < before))
            transaction.change(insert(table).values(**vars(row)))
            transaction.event("session.started", row.started_at, data={"session": row.id, "via": row.via})

    def seen(self, ids: Sequence[str], *, now: float | None = None) -> None:
        """These were there just now."""
        at = time.time() if now is None else now
        with self._store.touch() as connection:
            connection.execute(update(tables.sessions).where(tables.sessions.c.id.in_(list(ids))).values(seen_at=at))

    def end(self, ids: Sequence[str], *, now: float | None = None) -> None:
        """These are over. One that ended before stays as it is."""
        at = time.time() if now is None else now
        table = tables.sessions
        with self._store.write() as transaction:
            for session_id in ids:
                open_ = (table.c.id == session_id) & table.c.ended_at.is_(None)
                if transaction.change(update(table).where(open_).values(ended_at=at, seen_at=at)):
                    transaction.event("session.ended", at, data={"session": session_id})

    def list(self) -> list[SessionRow]:
        """All that are known, the newest first."""
        table = tables.sessions
        with self._looking.read() as connection:
            query = select(table).order_by(table.c.started_at.desc(), table.c.id)
            return [SessionRow(**row) for row in connection.execute(query).mappings()]

    # ---- messages ----

    def send(self, recipients: Sequence[str], sender: str, said: str, *, now: float | None = None) -> Rows:
        """Write a message down, once for each recipient."""
        at = time.time() if now is None else now
        made: Rows = []
        with self._store.write() as transaction:
            for recipient in recipients:
                number = transaction.event("message.sent", at, data={"from": sender, "to": recipient})
                made.append(MessageRow(number, at, sender, recipient, said, None, None))
                transaction.change(insert(tables.messages).values(**vars(made[-1])))
        return made

    def inbox(self, recipient: str | None, *, sender: str | None = None, acked: bool = False) -> Rows:
        """Messages to a session (None: to anybody), oldest first; with `acked` those that were acknowledged, too."""
        table = tables.messages
        query = select(table).order_by(table.c.number)
        if recipient is not None:
            query = query.where(table.c.recipient == recipient)
        if sender is not None:
            query = query.where(table.c.sender == sender)
        if not acked:
            query = query.where(table.c.acked_at.is_(None))
        with self._looking.read() as connection:
            return [MessageRow(**row) for row in connection.execute(query).mappings()]

    def message(self, number: int) -> MessageRow | None:
        """The message of this number."""
        query = select(tables.messages).where(tables.messages.c.number == number)
        with self._looking.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return MessageRow(**row) if row is not None else None

    def ack(self, message: MessageRow, by: str, *, now: float | None = None) -> MessageRow:
        """Note that it was read. The first who says so counts."""
        at = time.time() if now is None else now
        table = tables.messages
        with self._store.write() as transaction:
            open_ = (table.c.number == message.number) & table.c.acked_at.is_(None)
            if transaction.change(update(table).where(open_).values(acked_at=at, acked_by=by)):
                transaction.event("message.acked", at, data={"message": message.number, "by": by})
                return replace(message, acked_at=at, acked_by=by)
        return self.message(message.number) or message
