# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading logs by byte offset: nothing repeated, nothing lost, also over a broken connection."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from played import PlayedNodes

from stoker.errors import NodeError, UsageError
from stoker.operations import jobs, logs, queue, submit, watch
from stoker.operations.session import Session

LOG = b"".join(b"line %d\n" % i for i in range(1000)) + b"\xff\x00 no line end"


@pytest.fixture
def job(session: Session, nodes_played: PlayedNodes, monkeypatch: pytest.MonkeyPatch) -> str:
    """A running job on n1 with 1000 lines of log."""
    monkeypatch.setattr(logs, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    job = submit.run(session, ["a"], on="n1").job.id
    nodes_played.show(job, "running")
    nodes_played.logs[job, 1] = LOG
    return job


def read(stream: logs.LogStream) -> bytes:
    return b"".join(piece.data for piece in stream)


@pytest.mark.accepts("D08")
def test_where_a_log_begins(session: Session, job: str) -> None:
    assert read(logs.logs(session, job, all=True)) == LOG
    assert read(logs.logs(session, job, since_byte=5000)) == LOG[5000:]
    assert read(logs.logs(session, job, tail=3)) == b"line 998\nline 999\n\xff\x00 no line end"
    assert read(logs.logs(session, job)).count(b"\n") == 199
    with pytest.raises(UsageError, match="one of them"):
        logs.logs(session, job, all=True, tail=3)
    with pytest.raises(UsageError, match="no attempt 2"):
        logs.logs(session, job, attempt=2)


def test_following_waits_for_a_job_that_is_on_its_way_to_its_node(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    nodes_played.show(job, "starting")
    del nodes_played.logs[job, 1]

    def arrives(request: dict[str, Any]) -> None:
        if len(nodes_played.rounds) == rounds + 2:
            nodes_played.logs[job, 1] = b"here\n"
            nodes_played.ended.add((job, 1))
            nodes_played.show(job, "succeeded", exit_code=0, elapsed_s=1.0)

    rounds, nodes_played.on_round = len(nodes_played.rounds), arrives
    assert [piece.data for piece in logs.logs(session, job)] == [b""]
    assert nodes_played.said == [f"{job} has not started: there is no log yet"]
    assert read(logs.logs(session, job, follow=True)) == b"here\n"


def test_a_log_that_is_not_there_of_a_job_that_runs_is_an_error(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    del nodes_played.logs[job, 1]
    for follow in (False, True):
        with pytest.raises(NodeError, match="no attempt 1"):
            read(logs.logs(session, job, follow=follow))


def test_the_log_of_a_job_that_waits_is_a_piece_without_bytes(session: Session) -> None:
    job = queue.add(session, ["a"]).job.id
    assert list(logs.logs(session, job)) == [logs.LogPiece(job, 0, 0, b"", "copy")]


def test_those_who_wait_are_told_why_and_again_when_that_changes(
    session: Session, nodes_played: PlayedNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    job = queue.add(session, ["a"]).job.id
    reasons = ["no GPU is free", "no GPU is free", "the queue is paused\x1b[2J"]

    def next_reason(request: dict[str, Any]) -> None:
        row = session.store.job(job)
        assert row is not None
        if not reasons:
            nodes_played.show(job, "succeeded", exit_code=0, elapsed_s=1.0)
            return
        with session.store.write() as transaction:
            transaction.change_job(row, {"detail": reasons.pop(0)})

    nodes_played.on_round = next_reason
    assert jobs.wait(session, job).job.state == "succeeded"
    told = [text for text in nodes_played.said if text.startswith(job)]
    assert len(told) == 3, told
    assert told[0].startswith(f"{job} is queued")
    assert told[1] == f"{job} is queued: no GPU is free"
    assert told[2].startswith(f"{job} is queued: the queue is paused")
    assert "\x1b" not in told[2]
    second = queue.add(session, ["b"]).job.id
    job, reasons = second, ["no GPU is free"]
    nodes_played.logs[second, 1], nodes_played.said[:] = b"up\n", []
    nodes_played.ended.add((second, 1))
    assert read(logs.logs(session, second, follow=True)) == b"up\n"
    assert f"{second} is queued: no GPU is free" in nodes_played.said


def test_one_piece_at_a_time_is_held(session: Session, job: str) -> None:
    assert max(len(piece.data) for piece in logs.logs(session, job, all=True)) == 1000


@pytest.mark.accepts("V28")
def test_following_comes_back_at_the_byte_where_the_connection_broke(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    pieces = []
    play = nodes_played.play

    def back_after_three_notes(*args: Any, **kwargs: Any) -> Any:
        if len(nodes_played.said) >= 3:
            nodes_played.away.clear()
        return play(*args, **kwargs)

    nodes_played.play = back_after_three_notes  # type: ignore[method-assign]
    for piece in logs.logs(session, job, follow=True):
        pieces.append(piece)
        if len(pieces) == 3:
            nodes_played.said.clear()
            nodes_played.away["n1"] = "Connection reset"
        if piece.offset + len(piece.data) == len(LOG):
            nodes_played.ended.add((job, 1))
            nodes_played.show(job, "succeeded", exit_code=0)
    assert b"".join(p.data for p in pieces) == LOG
    assert all(a.offset + len(a.data) == b.offset for a, b in itertools.pairwise(pieces))
    assert "Connection reset; trying again in 1 s, from byte 3,000" in nodes_played.said[0]


def test_following_goes_on_with_the_next_attempt(session: Session, nodes_played: PlayedNodes) -> None:
    job = submit.run(session, ["a"], on="n1", retries=1).job.id
    nodes_played.show(job, "failed", reason="code", exit_code=1)
    with session.store.write() as transaction:
        row = transaction.job(job)
        assert row is not None
        transaction.change_job(row, {"state": "queued", "node": None, "not_before": time.time()})
    nodes_played.logs[job, 1], nodes_played.logs[job, 2] = b"first\n", b"second\n"
    nodes_played.ended |= {(job, 1), (job, 2)}

    def starts_the_second_then_ends_it(request: dict[str, Any]) -> None:
        row = session.store.job(job)
        assert row is not None
        nodes_played.show(job, "running" if row.attempt == 1 else "succeeded", node="n2", attempt=2)

    nodes_played.on_round = starts_the_second_then_ends_it
    stream = logs.logs(session, job, follow=True)
    assert read(stream) == b"first\nsecond\n"
    assert stream.outcome is not None
    assert (stream.outcome.state, stream.outcome.attempt) == ("succeeded", 2)


@pytest.mark.accepts("D08")
def test_the_stored_copy_answers_for_a_node_that_is_gone_and_says_how_old_it_is(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    session.store.write_log_copy(job, 1, 0, LOG, keep_bytes=500)
    nodes_played.away["n1"] = "No route to host"
    pieces = list(logs.logs(session, job, all=True))
    assert [p.source for p in pieces] == ["copy"]
    assert pieces[0].data == LOG[pieces[0].offset :]
    assert len(pieces[0].data) <= 500
    assert any("stored copy" in said and "s old" in said for said in nodes_played.said)
    assert any("are only on the node" in said for said in nodes_played.said)
    assert read(logs.logs(session, job, tail=1)) == b"\xff\x00 no line end"
    assert read(logs.logs(session, job, since_byte=len(LOG) - 7)) == LOG[-7:]
    assert read(logs.logs(session, job, since_byte=len(LOG) + 7)) == b""


@pytest.mark.accepts("V28")
@pytest.mark.accepts("V36")
def test_who_follows_a_job_that_is_over_and_gone_from_its_node_gets_the_copy(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    del nodes_played.logs[job, 1]
    session.store.write_log_copy(job, 1, 0, b"the end\n", keep_bytes=1000)
    nodes_played.show(job, "succeeded", exit_code=0, elapsed_s=1.0)
    stream = logs.logs(session, job, follow=True)
    assert read(stream) == b"the end\n"
    assert stream.outcome is not None
    assert stream.outcome.state == "succeeded"
    assert any("stored copy" in line for line in nodes_played.said)


def test_following_shows_the_rest_of_the_copy_once_then_goes_on_from_the_node(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    session.store.write_log_copy(job, 1, 0, LOG[:5000], keep_bytes=10**6)
    nodes_played.away["n1"] = "No route to host"
    pieces = []
    for piece in logs.logs(session, job, follow=True, since_byte=1000):
        pieces.append(piece)
        nodes_played.away.clear()
        if piece.offset + len(piece.data) == len(LOG):
            nodes_played.ended.add((job, 1))
            nodes_played.show(job, "succeeded", exit_code=0)
    assert (pieces[0].source, pieces[1].source, pieces[1].offset) == ("copy", "node", 5000)
    assert b"".join(p.data for p in pieces) == LOG[1000:]


@pytest.mark.accepts("D11")
def test_a_second_look_shows_only_what_came_since_the_first(
    session: Session, nodes_played: PlayedNodes, job: str
) -> None:
    (first,) = watch.watch(session, job, once=True)
    assert first.end == len(LOG)
    nodes_played.logs[job, 1] = LOG + b"more\n"
    (second,) = watch.watch(session, job, once=True)
    assert (second.new_log, second.start) == (b"more\n", len(LOG))
    (third,) = watch.watch(session, job, once=True)
    assert third.new_log == b""


@pytest.mark.accepts("D11")
def test_watching_shows_a_failed_job_as_failed(session: Session, nodes_played: PlayedNodes, job: str) -> None:
    nodes_played.show(job, "failed", reason="code", exit_code=3)
    reports = list(watch.watch(session, job))
    assert (reports[-1].job.state, reports[-1].job.exit_code) == ("failed", 3)
