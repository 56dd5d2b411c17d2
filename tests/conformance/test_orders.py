# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node does with orders that come twice, late, from strangers, or many at once."""

from __future__ import annotations

import time

import pytest
from conformance.backend import Backend


@pytest.mark.accepts("D06")
def test_start_twice_changes_nothing(backend: Backend, job: str) -> None:
    spec = backend.side.spec(job, argv=["sh", "-c", "echo began; sleep 75.1"])
    first = backend.try_start(spec)
    assert (first["ok"], first["changed"]) == (True, True), first
    backend.wait_for_line(job, "began")
    pid = backend.observe(job)["pid"]
    again = backend.try_start(spec)
    assert (again["ok"], again["changed"]) == (True, False), again
    assert backend.observe(job)["pid"] == pid
    assert backend.log(job) == b"began\n"
    backend.cancel(job, grace_s=0)
    again = backend.try_start(spec)
    assert (again["ok"], again["changed"]) == (True, False), again
    assert backend.observe(job)["state"] == "cancelled"


def test_a_stranger_under_the_same_id(backend: Backend, job: str) -> None:
    """Two controllers that chose one id are told apart by the uid, in later attempts too."""
    backend.run(job, "echo", "mine")
    for attempt in (1, 2):
        answer = backend.try_start(backend.side.spec(job, argv=["echo", "theirs"]), attempt)
        assert (answer["ok"], answer["changed"]) == (False, False), answer
        assert answer["error"]["code"] == "conflict"
        assert "has another job called" in answer["error"]["message"]
    assert backend.log(job) == b"mine\n"


@pytest.mark.accepts("B09", "C51")
def test_one_id_in_two_state_folders(backend: Backend, fresh_backend: Backend, job: str) -> None:
    """Two controllers that do not know each other: what one of them ends is its own."""
    backend.start(job, "sleep", "75.5")
    fresh_backend.start(job, "sleep", "75.6")
    assert backend.cancel(job, grace_s=0)[0]["state"] == "cancelled"
    time.sleep(0.3)
    assert fresh_backend.observe(job)["state"] == "running"


@pytest.mark.accepts("C51")
def test_attempts(backend: Backend, job: str) -> None:
    """A later attempt begins when the earlier one is over; a late order of an earlier one is refused."""
    spec = backend.side.spec(job, script='echo "attempt $STOKER_ATTEMPT"; exit 1')
    spec_2 = dict(spec, script='echo "attempt $STOKER_ATTEMPT"; sleep 75.2')
    backend.try_start(spec)
    backend.wait(job)
    assert backend.try_start(spec_2, attempt=2)["changed"] is True
    late = backend.try_start(spec)
    assert (late["ok"], late["error"]["code"]) == (False, "stale_attempt"), late
    early = backend.try_start(spec, attempt=3)
    assert (early["ok"], early["error"]["code"]) == (False, "conflict"), early
    assert "attempt 2" in early["error"]["message"]
    seen, _changed = backend.cancel(job, attempt=1)
    assert seen["state"] == "failed"
    assert backend.observe(job)["state"] == "running", "the order was for the attempt that is over"
    assert backend.cancel(job, attempt=2, grace_s=0)[0]["state"] == "cancelled"
    assert backend.read_log(job, attempt=1)[0] == b"attempt 1\n"
    assert backend.read_log(job)[0] == b"attempt 2\n"


@pytest.mark.accepts("B16")
def test_a_start_that_comes_after_its_stop_is_refused(backend: Backend, job: str) -> None:
    """The dispatcher that ordered the start was stopped, and wakes when another one has ended the job."""
    spec = backend.side.spec(job, argv=["sleep", "75.3"])
    stop = {"order": "stop", "job": job, "attempt": 2, "uid": spec["uid"]}
    (answer,) = backend.side.order(stop, accepted=False)["orders"]
    assert answer["error"]["code"] == "unknown_job"
    for attempt in (1, 2):
        late = backend.try_start(spec, attempt)
        assert (late["ok"], late["changed"], late["error"]["code"]) == (False, False, "stale_attempt"), late
    assert backend.try_start(spec, 3)["ok"]
    assert backend.cancel(job, 3, grace_s=0, uid=spec["uid"])[0]["state"] == "cancelled"
    # Another job of the same id is another job.
    assert backend.side.order({"order": "remove", "job": job})["orders"][0]["changed"]
    assert backend.run(job, "true")["state"] == "succeeded"


@pytest.mark.accepts("C02")
def test_another_major_version_is_refused(backend: Backend, job: str) -> None:
    spec = backend.side.spec(job, argv=["true"])
    answer = backend.try_start(dict(spec, schema="stoker.spec/2"))
    assert answer["error"]["code"] == "unknown_schema", answer
    assert "understands stoker.spec/1" in answer["error"]["message"]
    assert "upgrade the collection" in answer["error"]["message"]
    reply = backend.side.ask("reconcile", schema="stoker.request/9")
    assert (reply["ok"], reply["error"]["code"]) == (False, "unknown_schema"), reply
    assert backend.side.ask("reconcile", observe={"jobs": [job]})["attempts"] == []


@pytest.mark.accepts("C02")
def test_a_newer_minor_version_is_read(backend: Backend, job: str) -> None:
    spec = backend.side.spec(job, argv=["true"])
    assert backend.try_start(dict(spec, schema="stoker.spec/1.4", from_the_future=[1]))["ok"] is True
    assert backend.wait(job)["state"] == "succeeded"


def test_a_bad_order_does_not_stop_the_others(backend: Backend, job: str) -> None:
    good = {"order": "start", "attempt": 1, "spec": backend.side.spec(job, argv=["true"])}
    bad = {"order": "start", "attempt": 1, "spec": backend.side.spec(f"{job}-b", argv=["true"], tiemout_s=3)}
    reply = backend.side.order(bad, good, accepted=False)
    assert [item["ok"] for item in reply["orders"]] == [False, True]
    assert reply["orders"][0]["error"]["message"] == "spec.tiemout_s: unknown field; did you mean timeout_s?"
    assert backend.wait(job)["state"] == "succeeded"


@pytest.mark.accepts("D06", "D32")
def test_20_starts_at_once_and_20_states_at_once(fresh_backend: Backend) -> None:
    """One call starts 20 jobs that sleep for 10 minutes, one call says how they are, one ends them."""
    backend = fresh_backend
    jobs = [f"many-{number}" for number in range(20)]
    orders = [{"order": "start", "attempt": 1, "spec": backend.side.spec(job, argv=["sleep", "600.5"])} for job in jobs]
    reply = backend.side.order(*orders)
    assert all(item["changed"] for item in reply["orders"])
    assert {seen["job"]: seen["state"] for seen in reply["attempts"]} == dict.fromkeys(jobs, "running")
    assert len({seen["pid"] for seen in reply["attempts"]}) == 20
    calls = []
    ask, backend.side.ask = backend.side.ask, lambda *words, **fields: calls.append(words) or ask(*words, **fields)
    reply = backend.side.ask("reconcile", observe={"jobs": "all"})
    assert len(calls) == 1
    assert [seen["state"] for seen in reply["attempts"]] == ["running"] * 20
    stops = [{"order": "stop", "job": job, "attempt": 1, "grace_s": 1, "wait_s": 60} for job in jobs]
    reply = backend.side.order(*stops)
    assert {seen["job"]: seen["state"] for seen in reply["attempts"]} == dict.fromkeys(jobs, "cancelled")


@pytest.mark.accepts("D06")
def test_a_start_does_not_wait_for_the_command(backend: Backend, job: str) -> None:
    seen = backend.start(job, "sleep", "600.6")
    assert seen["state"] == "running"
    backend.cancel(job, grace_s=0)


@pytest.mark.accepts("D13")
def test_clean(fresh_backend: Backend) -> None:
    """Only what is over, old enough and beyond the newest; the count is of what is gone from the disk."""
    backend = fresh_backend
    names = ["old-1", "old-2", "new-1", "new-2"]
    for name in names:
        backend.run(name, "echo", name)
    backend.start("alive", "sleep", "75.3")
    if "job folder" in backend.promises:
        backend.node.ssh(f"touch -d '3 hours ago' {backend.side.state_dir}/jobs/old-*/1/exit.json")
    would = clean(backend, older_than_s=3600, dry_run=True)
    assert [item["job"] for item in would["removed"]] == ["old-2", "old-1"]
    done = clean(backend, older_than_s=3600)
    assert done == would, "what it said it would do is not what it did"
    assert all(item["bytes"] > 0 for item in done["removed"])
    assert done["kept"] == 3
    assert jobs_on(backend) == ["alive", "new-1", "new-2"]
    assert clean(backend, keep_last=1)["removed"][0]["job"] == "new-1"
    assert clean(backend, jobs=["alive"]) == {"removed": [], "kept": 1}
    assert jobs_on(backend) == ["alive", "new-2"]
    assert backend.observe("alive")["state"] == "running"


def clean(backend: Backend, **fields: object) -> dict[str, object]:
    reply = backend.side.ask("clean", **fields)
    assert reply["ok"], reply
    return {name: reply[name] for name in ("removed", "kept")}


def jobs_on(backend: Backend) -> list[str]:
    reply = backend.side.ask("reconcile", observe={"jobs": "all"})
    found = [seen["job"] for seen in reply["attempts"]]
    if "job folder" in backend.promises:
        assert backend.node.ssh(f"ls -A {backend.side.state_dir}/jobs").stdout.split() == found
    return found


@pytest.mark.accepts("D13")
def test_remove(backend: Backend, job: str) -> None:
    """Refused while it may be alive; afterwards nothing is left, and again changes nothing."""
    backend.start(job, "sleep", "75.4")
    answer = backend.side.order({"order": "remove", "job": job}, accepted=False)["orders"][0]
    assert (answer["ok"], answer["error"]["code"]) == (False, "conflict"), answer
    assert backend.observe(job)["state"] == "running"
    backend.cancel(job, grace_s=0)
    answers = [backend.side.order({"order": "remove", "job": job})["orders"][0]["changed"] for _time in range(2)]
    assert answers == [True, False]
    assert backend.side.ask("reconcile", observe={"jobs": [job]})["attempts"] == []


@pytest.mark.accepts("D13")
def test_a_job_whose_leavings_still_live_is_not_removed(backend: Backend, job: str) -> None:
    """The command is over, and what it left behind is just being ended: its folder is still needed."""
    backend.needs("processes", "leavings")
    for number in range(5):
        name = f"{job}-{number}"
        seen = backend.run(name, script="(trap '' TERM; while :; do sleep 0.75; done) & sleep 0.3; exit 2")
        answer = backend.side.order({"order": "remove", "job": name}, accepted=False)["orders"][0]
        if not answer["ok"]:
            break
        # Leavings get 5 s: only who asks after that may find none.
        assert time.time() - seen["ended_at"] > 4, seen
    assert (answer["ok"], answer["error"]["code"]) == (False, "conflict"), answer
    kept = backend.side.ask("clean", jobs=[name])
    assert kept["removed"] == [] or time.time() - seen["ended_at"] > 4, kept
    deadline = time.monotonic() + 150
    while backend.processes("sleep 0.75", "sleep 0.75;"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    backend.side.order({"order": "remove", "job": name})
