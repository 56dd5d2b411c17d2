# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that are due are taken by one dispatcher at a time, whoever looks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stoker.store import JobRow, Store, open_store
from stoker.store.due import LEASE_S

RESULTS = {"asked": True, "local": "/tmp/x", "files": 1, "bytes": 2}


def over(store: Store) -> JobRow:
    job = store.add_job("a", {"argv": ["true"]}, results=RESULTS, now=1.0)
    return store.request_stop(job.id, now=2.0)


@pytest.mark.accepts("B16")
def test_a_claim_holds_until_its_lease_ends_and_a_late_end_of_it_is_refused(store: Store) -> None:
    job = over(store)
    first = store.due.claim(job.id, now=100.0)
    assert first is not None
    assert store.due.claim(job.id, now=100.0 + LEASE_S - 1) is None
    assert store.due.renew(first, now=100.0 + LEASE_S - 1)
    assert store.due.claim(job.id, now=100.0 + LEASE_S + 1) is None
    second = store.due.claim(job.id, now=100.0 + 2 * LEASE_S)
    assert second is not None
    assert not store.due.renew(first, now=300.0)
    assert not store.due.put(first, {**RESULTS, "files": 9}, due=False)
    assert [row.id for row in store.due.jobs()] == [job.id]
    assert store.due.put(second, {**RESULTS, "files": 5}, due=False)
    found = store.job(job.id)
    assert found is not None
    assert ((found.results or {})["files"], found.results_due, store.due.jobs()) == (5, False, [])
    assert store.due.claim(job.id, now=900.0) is None
    assert [event.data["files"] for event in store.events(types=("job.results",))] == [5]


def test_a_failed_try_gives_the_claim_back(store: Store) -> None:
    job = over(store)
    claimed = store.due.claim(job.id, now=100.0)
    assert claimed is not None
    assert store.due.put(claimed, {**RESULTS, "problem": "away"}, due=True)
    assert store.due.claim(job.id, now=101.0) is not None


def test_a_job_that_is_not_over_has_no_results_yet(store: Store) -> None:
    job = store.add_job("a", {"argv": ["true"]}, results=RESULTS)
    assert store.due.claim(job.id) is None
    assert store.due.claim("nothing-2222") is None


CLAIM = """
import sys, time
from stoker.store import open_store
with open_store(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for job in store.due.jobs():
        if (claimed := store.due.claim(job.id)) is not None:
            print(job.id, flush=True)
            store.due.put(claimed, claimed.results, due=False)
"""


@pytest.mark.accepts("B16", "C06")
def test_three_processes_share_what_is_due(store: Store, store_url: str) -> None:
    jobs = {over(store).id for _ in range(30)}
    argv = [sys.executable, "-c", CLAIM, store_url]
    pipe = subprocess.PIPE
    claimers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    said = [claimer.communicate(timeout=180) for claimer in claimers]
    assert [err for _, err in said] == [""] * 3
    taken = [line for out, _ in said for line in out.split()]
    assert sorted(taken) == sorted(jobs)


def test_nobody_waits_for_a_row_that_another_one_looks_at(postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        job = over(store)
        with store.touch() as connection:
            connection.exec_driver_sql("SET lock_timeout = '2s'")
            connection.exec_driver_sql(f"SELECT * FROM jobs WHERE id = '{job.id}' FOR UPDATE")
            assert store.due.claim(job.id) is None
        assert store.due.claim(job.id) is not None
