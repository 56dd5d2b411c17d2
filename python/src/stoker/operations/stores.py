"""The store as a whole: a copy to keep, back from it, and over to another database."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.config import working_folder
from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations.registry import operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.store.copying import TableCopy

TARGET_VARIABLE = "STOKER_TARGET_URL"


@dataclass(frozen=True)
class StoreTable:
    """Rows of one table, and the SHA-256 over them."""

    name: str
    rows: int
    checksum: str


@dataclass(frozen=True)
class StoreCopy:
    """A copy that was made and compared, row by row, with what it was made from. `left_out` are tables of history."""

    source: str
    target: str
    tables: tuple[StoreTable, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class StoreCheck:
    """What is in the store, and what is wrong with it."""

    store: str
    tables: tuple[StoreTable, ...]
    faults: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when something is wrong."""
        return int(bool(self.faults))


@operation("store", "store backup", "administer")
def backup(session: Session, file: str, *, without: Sequence[str] = ()) -> StoreCopy:
    """Write a copy of the store to a file: one moment of it, whatever others write meanwhile.

    The file is an SQLite database, also when the store is PostgreSQL; it is there only when it is whole and was
    compared with the store. Copies of logs, which lie beside the store, are not in it: the nodes have the logs.

    Args:
        file: The file to write; it may not exist yet.
        without: A table of history to leave out: events. Repeatable.
    """
    from stoker.store import open_store
    from stoker.store.copying import tables

    tables(without)
    target = _here(file)
    if target.exists():
        raise UsageError(f"{target} is there already", next_step="name a new file")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        draft = Path(folder, "backup.db")
        with open_store(f"sqlite:///{draft}") as copied:
            made = session.store.copy_to(copied, without=without)
            copied.fold()
        _keep(draft, target)
    return StoreCopy(session.store.url, str(target), _tables(made), tuple(without))


@operation("store", "store restore", "administer", destroys=True)
def restore(session: Session, file: str, *, replace: bool = False) -> StoreCopy:
    """Fill the store from a backup. The backup is left as it is, also when it is from an older Stoker.

    Jobs that were started after the backup are still on their nodes: stoker adopt reads them back.

    Args:
        file: The backup.
        replace: Throw away what the store holds now. Without it only an empty store is filled.
    """
    from stoker.store import open_store

    found = _here(file)
    if not found.is_file():
        raise NotFound(f"there is no file {found}")
    with tempfile.TemporaryDirectory(prefix="stoker-restore-") as folder:
        copied = Path(folder, "backup.db")
        shutil.copyfile(found, copied)
        copied.chmod(0o600)
        with open_store(f"sqlite:///{copied}") as kept:
            wrong = kept.faults()
            if wrong:
                raise StokerError(f"the backup {found} is damaged: {wrong[0]}")
            made = kept.copy_to(session.store, replace=replace)
    return StoreCopy(str(found), session.store.url, _tables(made), ())


@operation("store", "store copy", "administer")
def copy(session: Session, to: str | None = None) -> StoreCopy:
    """Copy the store into another database, from SQLite to PostgreSQL or back, and compare both.

    The store stays as it is; let no dispatcher run meanwhile, and name the new one in stoker.yml afterwards.

    Args:
        to: The database to copy into, which has to be empty. A URL with a password belongs into STOKER_TARGET_URL
            instead, or its password into ~/.pgpass: others see a command line.
    """
    from stoker.store import open_store
    from stoker.store.engine import store_url

    named = to or os.environ.get(TARGET_VARIABLE)
    if not named:
        raise UsageError("where to?", next_step=f"--to postgresql://user@host/name, or {TARGET_VARIABLE}")
    if to and store_url(to).password is not None:
        raise UsageError(
            "--to: a password on a command line is seen by others", next_step=f"put the URL into {TARGET_VARIABLE}"
        )
    with open_store(named) as target:
        if target.url == session.store.url:
            raise UsageError(f"{target.url} is the store itself")
        made = session.store.copy_to(target)
        return StoreCopy(session.store.url, target.url, _tables(made), ())


@operation("store", "store check", "read")
def check(session: Session) -> StoreCheck:
    """Count what is in the store, and let the database look for damage."""
    return StoreCheck(session.store.url, _tables(session.store.sums()), tuple(session.store.faults()))


def _here(file: str) -> Path:
    return (working_folder() / Path(file).expanduser()).absolute()


def _keep(draft: Path, target: Path) -> None:
    """Give the file its name, once its bytes are on disk; never over one that came meanwhile."""
    with open(draft, "rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(draft, target)
    except FileExistsError:
        raise UsageError(f"{target} is there already", next_step="name a new file") from None
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _tables(made: Sequence[TableCopy]) -> tuple[StoreTable, ...]:
    return tuple(StoreTable(table.name, table.rows, table.checksum) for table in made)
