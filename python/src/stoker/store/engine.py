"""Connecting to the database of a URL, and its errors as sentences."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from stoker.errors import StokerError, UsageError
from stoker.paths import private_folder, state_dir
from stoker.store.schema import HEAD, REVISIONS, VERSION_TABLE

# How long a writer waits for another one.
BUSY_S = 30.0
# How long a transaction of a PostgreSQL store may stand still: its session is ended then, and nothing of it is written.
IDLE_S = 15.0
# All writers of a PostgreSQL store take this lock, so that event numbers appear in the order of their commits.
_WRITE_LOCK = 0x73746F6B6572
_DRIVERS = {
    "sqlite": "sqlite", "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg",
}  # fmt: skip


def store_url(named: str | None) -> URL:
    """Which database to use: `named`, STOKER_STORE_URL, else SQLite in the state folder. Raises UsageError."""
    text = named or os.environ.get("STOKER_STORE_URL")
    if not text:
        return URL.create("sqlite", database=str(state_dir() / "stoker.db"))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not repeated: a URL that cannot be read may still hold a password.
        raise UsageError(
            "the store URL is not a database URL",
            next_step="use sqlite:////path/stoker.db or postgresql://user@host/name",
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise UsageError(
            f"the store URL {shown(url)} names a kind of database that Stoker does not use",
            next_step="use sqlite:////path/stoker.db or postgresql://user@host/name",
        )
    if driver == "sqlite" and (not url.database or url.database == ":memory:"):
        raise UsageError(
            "a store has to be a file: two processes cannot share a database in memory",
            next_step="use sqlite:////path/stoker.db",
        )
    return url.set(drivername=driver)


def shown(url: URL) -> str:
    """The URL for people, without its password."""
    return url.render_as_string(hide_password=True)


def connect(url: URL) -> Engine:
    """An engine for `url`; its tables are made or brought up to date. Raises StokerError."""
    with speaking(url):
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
        try:
            _bring_up_to_date(engine)
        except BaseException:
            engine.dispose()
            raise
        return engine


def _sqlite(url: URL) -> Engine:
    path = Path(str(url.database)).expanduser().absolute()
    if not path.parent.is_dir():
        private_folder(path.parent)
    if path.is_dir():
        raise StokerError(f"the store {path} is a folder", next_step="name a file, such as stoker.db in that folder")
    try:
        _make(path)
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as problem:
        raise StokerError(
            f"the store {path} cannot be opened: {problem.strerror}",
            next_step="check who owns it, or set STOKER_STORE_URL",
        ) from problem
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, and too late to hold the write lock.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("stoker_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make(path: Path) -> None:
    """Make an empty file for this user alone: SQLite would make it readable for everybody; -wal and -shm follow it.

    One that is there is not opened: to close it again would end the locks that another store of this process has on
    it, and SQLite in another process would then remove its -wal file.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def _use_wal(connection: Any) -> None:
    """Set the journal mode once per database. SQLite does not wait by itself here when another process has it open."""
    import sqlite3

    deadline = time.monotonic() + BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # A process that was stopped in the middle of a transaction must not hold up the others.
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(IDLE_S * 1000)}")
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("stoker_writes", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")

    return engine


def _bring_up_to_date(engine: Engine) -> None:
    with engine.connect() as connection:
        version = _version(connection)
    if version == HEAD:
        return
    _refuse_newer(version, engine.url)
    from stoker.store.migrations import upgrade  # slow to import: not while the others wait

    with engine.connect().execution_options(stoker_writes=True) as connection, connection.begin():
        # Another process may have done it while this one waited for the lock.
        version = _version(connection)
        _refuse_newer(version, engine.url)
        if version != HEAD:
            upgrade(connection)


def _version(connection: Connection) -> str | None:
    """The revision of the tables, by plain SQL; None: there are none yet."""
    sqlite = connection.dialect.name == "sqlite"
    exists = (
        f"SELECT count(*) FROM sqlite_master WHERE name = '{VERSION_TABLE}'"
        if sqlite
        else f"SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('{VERSION_TABLE}')"
    )
    if not connection.exec_driver_sql(exists).scalar_one():
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one_or_none()
    return None if found is None else str(found)


def _refuse_newer(version: str | None, url: URL) -> None:
    if version is not None and version not in REVISIONS:
        raise StokerError(
            f"the store {shown(url)} was written by a newer Stoker (tables {version}, this one knows up to {HEAD})",
            next_step="pip install --upgrade stoker",
        )


@contextmanager
def speaking(url: URL) -> Iterator[None]:
    """Turn errors of the database into StokerError: one sentence, never the statement or the password."""
    try:
        yield
    except NoSuchModuleError as problem:
        raise UsageError(f"the store {shown(url)} cannot be used: {problem}") from problem
    except ModuleNotFoundError as problem:
        raise StokerError(
            f"the store {shown(url)} needs the Python package {problem.name}", next_step=f"pip install {problem.name}"
        ) from problem
    except OverflowError as problem:
        raise UsageError(
            "a number is larger than a store can hold", next_step=f"give one of {2**63 - 1} or less"
        ) from problem
    except DBAPIError as problem:
        message, next_step = _sentence(problem)
        raise StokerError(f"the store {shown(url)} {message}", next_step=next_step) from problem


_SQLITE_SENTENCES = {
    "SQLITE_CANTOPEN": ("cannot be opened", "check who owns the file and its folder"),
    "SQLITE_READONLY": ("may not be written", "check who owns the file and its folder"),
    "SQLITE_PERM": ("may not be written", "check who owns the file and its folder"),
    "SQLITE_FULL": ("cannot be written: the disk is full", "free some space; nothing of this change was stored"),
    "SQLITE_BUSY": ("was held by another process for too long", "try again; look for a hanging stoker process"),
    "SQLITE_NOTADB": ("is not an SQLite database", "name another file, or restore it from a copy"),
    "SQLITE_CORRUPT": ("is damaged", "restore it from a copy, or move it away and run stoker adopt"),
    "SQLITE_IOERR": ("cannot be read or written: input/output error", "check the disk and its free space"),
}
_POSTGRESQL_SENTENCES = {
    "53100": ("cannot be written: the disk is full", "free some space; nothing of this change was stored"),
    "42501": ("does not let this user do that", "grant the user the rights on the database"),
    "28P01": ("refused the password", "check the user and password of the store URL"),
    "28000": ("refused this user", "check the user of the store URL and pg_hba.conf"),
    "3D000": ("does not exist", "createdb makes it"),
}


def _sentence(problem: DBAPIError) -> tuple[str, str | None]:
    original = problem.orig
    name = str(getattr(original, "sqlite_errorname", None) or "")
    for start, sentence in _SQLITE_SENTENCES.items():
        if name.startswith(start):
            return sentence
    state = getattr(original, "sqlstate", None)
    if state in _POSTGRESQL_SENTENCES:
        return _POSTGRESQL_SENTENCES[state]
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    told = lines[0] if lines else type(original).__name__
    if problem.connection_invalidated or (not state and not name):
        return f"cannot be reached: {told}", "check the store URL and the server"
    return f"failed: {told}", None
