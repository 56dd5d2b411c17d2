"""Who may ask over the network, and what was asked and denied."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from stoker.errors import StokerError, UsageError
from stoker.store import callers, schema
from stoker.store.rows import CallRow, TokenRow

if TYPE_CHECKING:
    from stoker.store.store import Store

# What has no key is kept as long as this; what has one is the promise that it does not happen twice, and stays.
KEEP_S = 90 * 86400.0
_CLEARED_EVERY = 500
ENDED_UNSEEN = "its process has ended without an answer; what it did is not known"


class Tokens:
    """The bearer tokens of one store, by their SHA-256 digests. Every method raises StokerError when it fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, token: TokenRow) -> None:
        """Write it down. Raises UsageError for a name that is taken."""
        table = schema.tokens
        with self._store.touch() as connection:
            if connection.execute(select(table.c.name).where(table.c.name == token.name)).first() is not None:
                raise UsageError(
                    f"there is a token {token.name!r} already", next_step=f"stoker token remove {token.name}"
                )
            connection.execute(insert(table).values(**vars(token)))

    def list(self) -> list[TokenRow]:
        """All tokens, by name, those that expired among them."""
        with self._store.read() as connection:
            found = [TokenRow(**row) for row in connection.execute(select(schema.tokens)).mappings()]
        return sorted(found, key=lambda token: token.name)

    def of_digest(self, digest: str) -> TokenRow | None:
        """The token with this digest, expired or not; None: there is none."""
        table = schema.tokens
        with self._store.read() as connection:
            row = connection.execute(select(table).where(table.c.digest == digest)).mappings().one_or_none()
        return TokenRow(**row) if row is not None else None

    def remove(self, name: str) -> bool:
        """Delete it; whether there was one."""
        with self._store.touch() as connection:
            return connection.execute(delete(schema.tokens).where(schema.tokens.c.name == name)).rowcount > 0


class Calls:
    """The calls of one store. Every method raises StokerError when it fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(
        self, *, via: str, who: str, role: str, operation: str, arguments: Mapping[str, Any], outcome: str,
        detail: str | None = None, key: str | None = None, digest: str | None = None, process: str | None = None,
        now: float | None = None,
    ) -> tuple[int, CallRow | None]:  # fmt: skip
        """Write a call down before it happens: its number, and None.

        Where `who` made a call with this `key` before, by this way, nothing is written: its number, and what is known
        of it.
        """
        table = schema.calls
        at = time.time() if now is None else now
        new = {
            "at": at, "via": via, "who": who, "role": role, "operation": operation, "arguments": arguments,
            "outcome": outcome, "detail": detail, "key": key, "digest": digest, "process": process,
        }  # fmt: skip
        try:
            with self._store.touch() as connection:
                if key is not None and (old := self._with_key(connection, via, who, key)) is not None:
                    return old.seq, old
                result = connection.execute(insert(table).values(**new))
                number = int(result.inserted_primary_key[0])  # type: ignore[index]
                if number % _CLEARED_EVERY == 0:
                    connection.execute(delete(table).where(table.c.key.is_(None), table.c.at < at - KEEP_S))
                return number, None
        except StokerError as problem:
            # Two at once, on a database with several writers: the other one was first.
            if key is None or not isinstance(problem.__cause__, IntegrityError):
                raise
            with self._store.read() as connection:
                old = self._with_key(connection, via, who, key)
            if old is None:
                raise
            return old.seq, old

    @staticmethod
    def _with_key(connection: Any, via: str, who: str, key: str) -> CallRow | None:
        table = schema.calls
        query = select(table).where(table.c.who == who, table.c.via == via, table.c.key == key)
        row = connection.execute(query).mappings().one_or_none()
        return CallRow(**row) if row is not None else None

    def of_key(self, via: str, who: str, key: str) -> CallRow | None:
        """The call that `who` made by this way with this key; None: there is none."""
        with self._store.read() as connection:
            return self._with_key(connection, via, who, key)

    def settle(self) -> None:
        """Write down of the calls whose process is gone that they have ended without an answer."""
        table = schema.calls
        with self._store.read() as connection:
            query = select(table.c.seq, table.c.process).where(table.c.outcome == "running")
            gone = [seq for seq, process in connection.execute(query) if process and callers.is_gone(process)]
        if gone:
            with self._store.touch() as connection:
                # Of those that are running still: one may have ended by itself since.
                over = update(table).where(table.c.seq.in_(gone), table.c.outcome == "running")
                connection.execute(over.values(outcome="error", detail=ENDED_UNSEEN))

    def end(self, seq: int, outcome: str, *, detail: str | None = None, answer: str | None = None) -> None:
        """How it ended; `answer` is kept for a call with a key."""
        table = schema.calls
        new = {"outcome": outcome, "detail": detail, "ended_at": time.time()}
        with self._store.touch() as connection:
            connection.execute(update(table).where(table.c.seq == seq).values(**new))
            kept = update(table).where(table.c.seq == seq, table.c.key.is_not(None))
            connection.execute(kept.values(answer=answer))

    def forget_key(self, seq: int) -> None:
        """Nothing came of that call: its key may be used again."""
        with self._store.touch() as connection:
            connection.execute(update(schema.calls).where(schema.calls.c.seq == seq).values(key=None))

    def newest(self, limit: int, *, outcomes: Sequence[str] = (), who: str | None = None) -> list[CallRow]:
        """The newest calls, newest first."""
        table = schema.calls
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        if outcomes:
            query = query.where(or_(*(table.c.outcome == outcome for outcome in outcomes)))
        if who is not None:
            query = query.where(table.c.who == who)
        with self._store.read() as connection:
            return [CallRow(**row) for row in connection.execute(query).mappings()]
