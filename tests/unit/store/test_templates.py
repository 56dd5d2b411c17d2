# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates in the store: shared, replaced only when asked, and the jobs made from them on their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from stoker.errors import UsageError
from stoker.store import Store, open_store

SPEC = {"argv": ["true"]}
FIRST_TABLES = {"jobs", "attempts", "nodes", "events", "stoker_version"}
BODY: dict[str, Any] = {
    "spec": {"argv": ["python", "{{lr}}", "$HOME \0 ☃ {{ y }}"], "env": {"A": "b\n"}, "gpus": 1},
    "parameters": {"lr": "1e-3", "seed": None}, "job_name": "t", "on": "dgx", "retries": 2,
}  # fmt: skip


def test_a_template_comes_back_as_it_was_saved(store: Store) -> None:
    saved = store.templates.save("t", BODY, description="what\nfor", project="alice", now=10.0)
    found = store.templates.get("t")
    assert found is not None
    assert {key: found.body[key] for key in BODY} == BODY
    assert (found.description, found.project, found.created_at, found.updated_at) == ("what\nfor", "alice", 10.0, 10.0)
    assert saved.name == found.name
    assert store.templates.get("T") is None


@pytest.mark.accepts("D16")
def test_a_taken_name_is_refused_and_replaced_only_when_asked(store: Store) -> None:
    store.templates.save("t", BODY, project="alice", now=10.0)
    with pytest.raises(UsageError, match="there is a template 't' already: nothing was saved") as refused:
        store.templates.save("t", {**BODY, "on": "other"}, now=20.0)
    assert "--replace" in (refused.value.next_step or "")
    assert [(t.body["on"], t.updated_at) for t in store.templates.list()] == [("dgx", 10.0)]
    store.templates.save("t", {**BODY, "on": "other"}, replace=True, now=30.0)
    assert [(t.body["on"], t.project, t.created_at, t.updated_at) for t in store.templates.list()] == [
        ("other", None, 10.0, 30.0)
    ]


@pytest.mark.accepts("D16")
def test_another_machine_with_the_same_database_has_the_template(store: Store, store_url: str, tmp_path: Path) -> None:
    store.templates.save("t", BODY)
    script = "import sys; from stoker.store import open_store; print(*[t.name for t in open_store().templates.list()])"
    env = {**os.environ, "STOKER_STATE_HOME": str(tmp_path / "another"), "STOKER_STORE_URL": store_url}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert told.stdout == "t\n"


def test_templates_are_listed_by_name_alike_on_every_database(store: Store) -> None:
    for name in ("b", "a", "B", "a-1", "a_1"):
        store.templates.save(name, BODY)
    assert [t.name for t in store.templates.list()] == ["B", "a", "a-1", "a_1", "b"]


@pytest.mark.accepts("D19")
def test_a_deleted_template_is_gone_and_its_jobs_stay(store: Store) -> None:
    store.templates.save("t", BODY)
    job = store.add_job("a", SPEC, template="t")
    assert store.templates.delete("t") is True
    assert store.templates.delete("t") is False
    assert store.templates.list() == []
    assert store.job(job.id) == job
    assert job.template == "t"
    kinds = [(event.type, event.data.get("replaced")) for event in store.events() if event.type.startswith("template.")]
    assert kinds == [("template.saved", False), ("template.deleted", None)]


def test_a_store_of_the_first_tables_is_brought_up_to_date_with_its_jobs(store: Store, store_url: str) -> None:
    job = store.add_job("a", SPEC)
    with store._engine.begin() as connection:
        for table in set(inspect(store._engine).get_table_names()) - FIRST_TABLES:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN template")
        connection.exec_driver_sql("UPDATE stoker_version SET version_num = '0001'")
    store.close()
    with open_store(store_url) as again:
        assert again.job(job.id) == job
        assert inspect(again._engine).has_table("templates")
        again.templates.save("t", BODY)


def test_outcomes_have_the_runtime_of_the_newest_attempt(store: Store) -> None:
    job, old = store.add_job("a", SPEC, template="t", now=100.0), store.add_job("b", SPEC, now=50.0)
    with store.write() as transaction:
        for number, elapsed in ((1, 5.0), (2, 7.0)):
            values = {"job_id": job.id, "number": number, "node": "n1", "state": "failed", "claimed_at": 1.0}
            transaction.add_attempt({**values, "log_start": 0, "log_end": 0, "elapsed_s": elapsed})
        transaction.change_job(job, {"state": "failed", "attempt": 2, "node": "n1", "elapsed_s": 99.0})
    told = {(o.template, o.node, o.state, o.elapsed_s) for o in store.outcomes()}
    assert told == {("t", "n1", "failed", 7.0), (None, None, "queued", None)}
    assert [o.template for o in store.outcomes(since=60.0)] == ["t"]
    assert old.template is None
