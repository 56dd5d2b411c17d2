# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in the store: how they come in, are found again, stopped and removed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stoker.errors import NotFound, StokerError, UsageError
from stoker.store import Store, open_store
from stoker.store.listing import page

SPEC = {"argv": ["python", "train.py"]}


def test_a_job_comes_back_as_it_was_added(store: Store) -> None:
    spec = {"script": "echo 'a|b'\n$HOME `x` {{ y }} ☃", "env": {"A": "é\n"}, "gpus": 2}
    added = store.add_job(
        "Train the model!", spec, target="spark", max_retries=3, priority=5, submitted_by="ada", now=10.0
    )
    found = store.job(added.id)
    assert found == added
    assert re.fullmatch(r"train-the-model-[23456789abcdefghjkmnpqrstvwxyz]{4}", added.id)
    assert {name: added.spec[name] for name in spec} == spec
    assert (added.spec["schema"], added.spec["job"], added.spec["uid"]) == ("stoker.spec/1", added.id, added.uid)
    assert (added.state, added.attempt, added.node, added.target) == ("queued", 0, None, "spark")
    assert (added.max_retries, added.priority, added.submitted_by, added.created_at) == (3, 5, "ada", 10.0)


@pytest.mark.accepts("D06")
def test_jobs_of_one_name_get_ids_of_their_own(store: Store) -> None:
    assert len({store.add_job("a", SPEC).id for _ in range(20)}) == 20


def test_an_id_that_is_taken_is_not_given_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["a-2222", "a-2222", "a-3333"])
    monkeypatch.setattr("stoker.store.store.new_id", lambda name: next(drawn))
    assert [store.add_job("a", SPEC).id, store.add_job("a", SPEC).id] == ["a-2222", "a-3333"]


@pytest.mark.parametrize("name", ["", "   ", "--", "日本", "x" * 300, "a\0b"])
def test_any_name_gives_an_id(store: Store, name: str) -> None:
    job = store.add_job(name, SPEC)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", job.id)


def test_jobs_are_listed_in_the_order_in_which_they_came_whatever_the_clock_says(store: Store) -> None:
    ids = [store.add_job("a", SPEC, now=at).id for at in (30.0, 10.0, 20.0)]
    assert [job.id for job in store.jobs(newest_first=False)] == ids
    assert [job.id for job in store.jobs(limit=2)] == ids[:0:-1]


def test_jobs_are_listed_by_state_and_target(store: Store) -> None:
    one, two = store.add_job("a", SPEC, target="x"), store.add_job("b", SPEC, target="y")
    store.request_stop(two.id)
    assert [job.id for job in store.jobs(states=("queued",))] == [one.id]
    assert [job.id for job in store.jobs(target="y")] == [two.id]


def test_a_job_is_found_by_the_beginning_of_its_id_when_that_is_clear(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["a-2222", "a-2233", "a_b"])
    monkeypatch.setattr("stoker.store.store.new_id", lambda name: next(drawn))
    for _ in range(3):
        store.add_job("a", SPEC)
    found = store.job("a-223")
    assert found is not None
    assert found.id == "a-2233"
    assert store.job("zz") is None
    assert store.job("a_b%") is None
    with pytest.raises(UsageError, match="'a-22' may be any of a-2222, a-2233"):
        store.job("a-22")


@pytest.mark.parametrize(
    "spec",
    [
        {**SPEC, "secrets": {"TOKEN": "s3cret"}},
        {**SPEC, "secret_env": {"TOKEN": "s3cret"}},
        {**SPEC, "secret_env": ["TOKEN=s3cret"]},
    ],
)
def test_values_of_secrets_are_refused_and_not_repeated(store: Store, spec: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="never their values") as refused:
        store.add_job("a", spec)
    assert "s3cret" not in str(refused.value)
    assert store.jobs() == []


def test_names_of_secrets_are_kept(store: Store) -> None:
    assert store.add_job("a", {**SPEC, "secret_env": ["TOKEN"]}).spec["secret_env"] == ["TOKEN"]


@pytest.mark.accepts("C02")
def test_a_spec_that_is_not_valid_is_refused_with_the_field(store: Store) -> None:
    with pytest.raises(UsageError, match=r"spec\.gpus"):
        store.add_job("a", {**SPEC, "gpus": "many"})


@pytest.mark.accepts("C02")
def test_a_document_of_another_major_version_is_refused(store: Store) -> None:
    job = store.add_job("a", SPEC)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET spec = replace(spec, 'stoker.spec/1', 'stoker.spec/2')")
    with pytest.raises(StokerError, match=r"stoker\.spec/2.*understands stoker\.spec/1"):
        store.job(job.id)


def test_stopping_a_job_that_waits_in_the_store_ends_it_at_once(store: Store) -> None:
    job = store.add_job("a", SPEC)
    stopped = store.request_stop(job.id, "cancelled", 5.0)
    assert (stopped.state, stopped.detail) == ("cancelled", "stopped before it was started")
    assert stopped.ended_at is not None
    assert [event.type for event in store.events(job_id=job.id)] == ["job.queued", "job.cancelled"]


@pytest.mark.accepts("D09")
def test_stopping_a_job_that_is_over_changes_nothing(store: Store) -> None:
    job = store.request_stop(store.add_job("a", SPEC).id)
    newest = store.last_event()
    assert store.request_stop(job.id) == job
    assert store.last_event() == newest


def test_stopping_a_job_that_does_not_exist(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        store.request_stop("nope")


@pytest.mark.accepts("D13")
def test_only_jobs_that_are_over_are_removed(store: Store) -> None:
    over, waiting = store.add_job("a", SPEC), store.add_job("b", SPEC)
    store.request_stop(over.id)
    with pytest.raises(UsageError, match=f"{waiting.id} is queued"):
        store.delete_jobs([over.id, waiting.id])
    assert len(store.jobs()) == 2
    assert store.delete_jobs([over.id, "gone-2222"]) == 1
    assert [job.id for job in store.jobs()] == [waiting.id]
    assert [event.type for event in store.events(job_id=over.id)][-1] == "job.removed"


def test_events_are_read_on_from_a_number(store: Store) -> None:
    first = store.add_job("a", SPEC)
    newest = store.last_event()
    second = store.add_job("b", SPEC)
    store.request_stop(first.id)
    events = store.events(since=newest)
    assert [(event.type, event.job_id) for event in events] == [("job.queued", second.id), ("job.cancelled", first.id)]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert [event.type for event in store.events(types=("job.cancelled",))] == ["job.cancelled"]
    assert store.events(since=store.last_event()) == []


def _add_an_attempt_twice(store: Store, job_id: str) -> None:
    attempt = {"job_id": job_id, "number": 1, "node": "n", "state": "starting", "claimed_at": 1.0}
    with store.write() as transaction:
        transaction.event("job.starting", 1.0)
        transaction.add_attempt({**attempt, "log_start": 0, "log_end": 0})
        transaction.add_attempt({**attempt, "log_start": 0, "log_end": 0})


def test_a_change_that_fails_in_the_middle_leaves_nothing(store: Store) -> None:
    job = store.add_job("a", SPEC)
    newest = store.last_event()
    with pytest.raises(StokerError, match="failed"):
        _add_an_attempt_twice(store, job.id)
    assert store.last_event() == newest
    assert store.attempts(job.id) == []


def test_a_store_keeps_its_jobs(store: Store, store_url: str) -> None:
    job = store.add_job("a", SPEC)
    store.close()
    with open_store(store_url) as again:
        assert again.job(job.id) == job


@pytest.mark.accepts("C50")
def test_a_page_is_filtered_counted_and_cut_by_the_database(store: Store) -> None:
    made = [store.add_job(f"j{number}", SPEC, target="gpus" if number % 2 else "n1") for number in range(10)]
    for job in made[:4]:
        store.request_stop(job.id)
    rows, total = page(store, None, None, None, 3, 2)
    assert ([row.id for row in rows], total) == ([job.id for job in made[7:4:-1]], 10)
    rows, total = page(store, ["cancelled"], None, None, 0, 0)
    assert ([row.id for row in rows], total) == ([job.id for job in made[3::-1]], 4)
    rows, total = page(store, ["queued"], ["n7"], "gpus", 2, 0)
    assert ([row.name for row in rows], total) == (["j9", "j7"], 3)
    assert page(store, None, ["n7"], None, 0, 0) == ([], 0)
    assert page(store, None, None, None, 5, 50) == ([], 10)


@pytest.mark.accepts("C50")
def test_a_page_by_name_queue_time_and_whether_a_job_was_run_again(store: Store) -> None:
    old, new = store.add_job("a", SPEC, now=10.0), store.add_job("a", SPEC, now=20.0, queue="night")
    gang = store.add_job("g", SPEC, now=30.0, ranks=2)
    store.add_job("a", SPEC, now=40.0, retry_of=old.id)
    store.add_job("b", SPEC, now=50.0, retry_of=f"{gang.id}-1")

    def found(**chosen: Any) -> list[float]:
        rows, total = page(store, None, None, None, 0, 0, **chosen)
        assert len(rows) == total
        return [row.created_at for row in rows]

    assert found(name="a") == [40.0, 20.0, 10.0]
    assert found(name="a", since=20.0) == [40.0, 20.0]
    assert found(queue="night") == [new.created_at]
    assert found(unanswered=True) == [50.0, 40.0, 20.0], "with one rank the whole gang was run again"
