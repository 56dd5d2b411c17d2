"""A store opened so that nothing can be written to it, whatever statement reaches it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from stoker.store.engine import BUSY_S, IDLE_S, speaking

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


class ReadOnly:
    """Connections that can only look, beside those of a store whose tables are there."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine: Engine | None = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction of one moment of the store. Raises StokerError, also for what would write."""
        with speaking(self._url):
            if self._engine is None:
                made = _sqlite if self._url.get_backend_name() == "sqlite" else _postgresql
                self._engine = made(self._url)
            with self._engine.connect() as connection, connection.begin():
                yield connection

    def close(self) -> None:
        """Give back the connections."""
        if self._engine is not None:
            self._engine.dispose()


def _sqlite(url: URL) -> Engine:
    """The file opened for reading, and an authorizer: an attached file, too, would be one to write to."""
    database = f"file:{quote(str(url.database))}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(database, uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorized)

    return engine


def _authorized(action: int, first: str | None, second: str | None, database: str | None, _via: str | None) -> int:
    if action in _ALLOWED and second not in ("load_extension", "fts3_tokenizer"):
        return sqlite3.SQLITE_OK
    # What FTS5 asks for, to see whether its tables were changed.
    its_version = action == sqlite3.SQLITE_PRAGMA and (first, second) == ("data_version", None)
    # A virtual table says its columns in this way; the file itself cannot be written by it.
    says_columns = action == sqlite3.SQLITE_UPDATE and (first, database) == ("sqlite_master", "main")
    its_own = its_version or says_columns or action == sqlite3.SQLITE_TRANSACTION
    return sqlite3.SQLITE_OK if its_own else sqlite3.SQLITE_DENY


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(IDLE_S * 1000)}")
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # It cannot be taken back: once a statement has run, the server refuses SET TRANSACTION READ WRITE.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.exec_driver_sql("SELECT 1")

    return engine
