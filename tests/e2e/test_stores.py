# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup, the drill of restoring it, and the way from SQLite to PostgreSQL, as a user does it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from cli import Cli
from testbed import PlainNode

Stoker = Callable[..., Cli]


def sums(cli: Cli, **more: dict[str, str]) -> dict[str, tuple[int, str]]:
    said = cli("store", "check", "--json", **more)
    assert said.code == 0, said
    return {table["name"]: (table["rows"], table["checksum"]) for table in said.json()["tables"]}


@pytest.mark.accepts("C30")
def test_a_backup_is_restored_after_the_store_was_lost(
    stoker: Stoker, node: PlainNode, stores: Callable[[Cli], None]
) -> None:
    cli = stoker(node)
    stores(cli)
    jobs = [cli.run("sh", "-c", f"exit {code}") for code in (0, 3)]
    for job in jobs:
        cli("wait", job)
    before = sums(cli)
    made = cli("store", "backup", "kept.db")
    assert made.code == 0, made
    assert "every row was compared" in made.out
    with sqlite3.connect(cli.folder / "kept.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
    raw.close()
    assert cli("store", "backup", "kept.db").code == 2, "never over a file"
    assert [path.name for path in cli.folder.iterdir() if "kept" in path.name] == ["kept.db"]
    lost = {"STOKER_STORE_URL": f"sqlite:///{cli.folder}/new.db"}
    restored = cli("store", "restore", "kept.db", env=lost)
    assert restored.code == 0, restored
    assert sums(cli, env=lost) == before
    again = cli("store", "restore", "kept.db", env=lost)
    assert (again.code, "2 rows of jobs" in again.err) == (2, True)
    assert cli("store", "restore", "kept.db", "--replace", env=lost).code == 0
    assert [job["exit_code"] for job in cli("jobs", "--json", env=lost).json()["jobs"]] == [3, 0]
    without = cli("store", "backup", "small.db", "--without", "events")
    assert (without.code, "left out: events" in without.out) == (0, True)
    assert cli("store", "backup", "x.db", "--without", "jobs").code == 2
    (cli.folder / "kept.db").write_bytes((cli.folder / "kept.db").read_bytes()[:5000])
    cut = cli("store", "restore", "kept.db", "--replace", env=lost)
    assert cut.code == 1
    assert "Traceback" not in cut.err
    assert sums(cli, env=lost) == before


@pytest.mark.accepts("C26")
def test_from_sqlite_to_postgresql_and_on_there(stoker: Stoker, node: PlainNode, postgres_url: str) -> None:
    cli = stoker(node)
    running = cli.run("sh", "-c", "sleep 600")
    before = sums(cli)
    copied = cli("store", "copy", env={"STOKER_TARGET_URL": postgres_url})
    assert copied.code == 0, copied
    there = {"STOKER_STORE_URL": postgres_url}
    assert sums(cli, env=there) == before
    # The job that was running is followed and stopped from the new store, and new ones start.
    stopped = cli("stop", running, "--grace", "0", env=there)
    assert (stopped.code, stopped.out) == (0, f"{running} stopped\n")
    assert cli("wait", cli.run("true", env=there), env=there).code == 0
    assert cli("store", "copy", env={"STOKER_TARGET_URL": postgres_url}).code == 2, "it is not empty any more"
    refused = cli("store", "copy", "--to", "postgresql://me:PassWord@127.0.0.1/x")
    assert (refused.code, "PassWord" in refused.err) == (2, False)
    assert cli("store", "copy").code == 2
