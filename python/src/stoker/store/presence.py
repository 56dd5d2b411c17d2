"""The proof that a dispatcher is there: a lock that its process holds and that ends with it, however it ends.

PostgreSQL: an advisory lock of a session of its own. SQLite: a lock on a file beside the store.
"""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from stoker.errors import StokerError
from stoker.paths import private_folder
from stoker.store.engine import speaking

# The first of the two numbers of such a lock; no other lock of Stoker has two.
_CLASS = 0x53746F6B


class Presence:
    """One held lock. Not to be used across a fork."""

    def __init__(self, engine: Engine, dispatcher_id: str) -> None:
        self._engine = engine
        self._id = dispatcher_id
        self._file: int | None = None
        self._session: Connection | None = None

    @classmethod
    def take(cls, engine: Engine, dispatcher_id: str) -> Presence:
        """Take the lock of a dispatcher. Raises StokerError when another process has it."""
        presence = cls(engine, dispatcher_id)
        presence._take()
        return presence

    def hold(self) -> None:
        """Take the lock again where it was lost: the server was started anew, the connection was cut."""
        if self._file is not None:
            return
        with speaking(self._engine.url):
            if self._session is not None:
                try:
                    self._session.exec_driver_sql("SELECT 1")
                    return
                except DBAPIError:
                    self.release()
            self._take()

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            _path(self._engine, self._id).unlink(missing_ok=True)
        self._drop()

    def _drop(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._session is not None:
            # Not back into the pool: the lock ends with the session.
            self._session.invalidate()
            self._session.close()
            self._session = None

    def _take(self) -> None:
        try:
            taken = self._try()
        except BaseException:
            self._drop()
            raise
        if not taken:
            self._drop()
            raise StokerError(f"another process is the dispatcher {self._id}")

    def _try(self) -> bool:
        if self._engine.dialect.name == "sqlite":
            path = _path(self._engine, self._id)
            private_folder(path.parent)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            return _lock(self._file, tries=20)  # who looks whether we are there holds it for a moment
        self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        query = f"SELECT pg_try_advisory_lock({_CLASS}, {_key(self._id)})"
        return bool(self._session.exec_driver_sql(query).scalar_one())


def present(engine: Engine, dispatcher_id: str) -> bool:
    """Whether a process holds the lock of this dispatcher."""
    if engine.dialect.name == "sqlite":
        try:
            number = os.open(_path(engine, dispatcher_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _lock(number)
        finally:
            os.close(number)
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
        f" AND classid::bigint = {_CLASS} AND objid::bigint = {_key(dispatcher_id)}"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one())


def forget(engine: Engine, dispatcher_id: str) -> None:
    """Remove what one that ended without a word left: the file of its lock."""
    if engine.dialect.name == "sqlite":
        _path(engine, dispatcher_id).unlink(missing_ok=True)


def _lock(number: int, tries: int = 1) -> bool:
    for left in reversed(range(tries)):
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(0.01)
        else:
            return True
    return False


def _path(engine: Engine, dispatcher_id: str) -> Path:
    return Path(f"{engine.url.database}.dispatchers", dispatcher_id)


def _key(dispatcher_id: str) -> int:
    # 31 bits: the numbers of a lock are signed.
    return zlib.crc32(dispatcher_id.encode()) & 0x7FFFFFFF
