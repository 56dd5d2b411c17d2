# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening a store: where it lies, who can read it, how it is brought up to date, and what is said when it fails."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from stoker.errors import StokerError
from stoker.store import Store, open_store
from stoker.store.schema import HEAD, REVISIONS, metadata

SPEC = {"argv": ["true"]}


def test_the_default_store_is_private_to_its_user(state_home: Path) -> None:
    with open_store() as store:
        store.add_job("a", SPEC)
        assert stat.S_IMODE(state_home.stat().st_mode) == 0o700
        files = list(state_home.glob("stoker.db*"))
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert state_home / "stoker.db-wal" in files


def test_the_environment_names_a_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOKER_STORE_URL", f"sqlite:///{tmp_path}/deep/other.db")
    open_store().close()
    assert (tmp_path / "deep/other.db").is_file()


def test_migrations_make_the_tables_that_the_code_has(store: Store) -> None:
    seen = inspect(store._engine)
    for table in metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in seen.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}, table.name
        assert {index["name"] for index in seen.get_indexes(table.name)} >= {index.name for index in table.indexes}


def test_the_list_of_revisions_is_that_of_the_migrations() -> None:
    from alembic.script import ScriptDirectory

    import stoker.store.migrations

    script = ScriptDirectory(str(Path(stoker.store.migrations.__file__).parent))
    assert tuple(reversed([revision.revision for revision in script.walk_revisions()])) == REVISIONS
    assert script.get_current_head() == HEAD


def test_a_store_of_a_newer_stoker_is_refused(store: Store, store_url: str) -> None:
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE stoker_version SET version_num = '9999'")
    with pytest.raises(StokerError, match="written by a newer Stoker") as refused:
        open_store(store_url)
    assert refused.value.next_step == "pip install --upgrade stoker"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("not a url", "is not a database URL"),
        ("mysql://root:hunter2@db/x", "a kind of database that Stoker does not use"),
        ("sqlite://", "has to be a file"),
        ("postgresql://ada:hunter2@127.0.0.1:1/x", "cannot be reached"),
        ("sqlite:////proc/nope/stoker.db", "cannot be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StokerError, match=said) as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_database_that_does_not_exist_is_told(postgres_url: str) -> None:
    with pytest.raises(StokerError, match="does not exist") as refused:
        open_store(make_url(postgres_url).set(database="no_such_database").render_as_string())
    assert refused.value.next_step


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is not a database, but long enough to be taken for one" * 40)
    with pytest.raises(StokerError, match="is not an SQLite database"):
        open_store(f"sqlite:///{tmp_path}/x.db")


def test_a_folder_of_somebody_else_is_refused(state_home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    state_home.mkdir()
    os.chown(state_home, 65534, 65534)
    with pytest.raises(StokerError, match="belongs to another user"):
        open_store()


def test_a_full_disk_is_told_and_nothing_is_half_stored(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/x.db") as store:
        job = store.add_job("a", SPEC)
        with store._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            # What SQLite does at the end of the disk: no further page.
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StokerError, match="the disk is full"):
            store.add_job("b", {"script": "x" * 1_000_000})
        assert store.job(job.id) == job


def test_a_file_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/x.db") as store:
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.commit()
        with pytest.raises(StokerError, match="may not be written"):
            store.add_job("a", SPEC)


@pytest.mark.accepts("B14", "D07", "D33")
def test_opening_and_listing_100_jobs_is_light() -> None:
    with open_store() as store:
        for _ in range(100):
            store.add_job("a", SPEC, target="spark")
    script = """
import sys
from stoker.store import open_store
with open_store() as store:
    jobs = store.jobs()
    store.newest_attempts([job.id for job in jobs]), store.nodes()
print(len(jobs), "alembic" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["100", "False"], "the migrations are imported where there is nothing to migrate"


def test_only_the_transaction_that_holds_the_lock_writes(tmp_path: Path) -> None:
    """A second writer waits; it does not fail, and it does not write in between."""
    with open_store(f"sqlite:///{tmp_path}/x.db") as store, store.write():
        other = sqlite3.connect(tmp_path / "x.db", timeout=0.05, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
