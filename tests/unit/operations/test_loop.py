# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loops on one store: one leads, the others stand by, and each ends when it is asked to."""

from __future__ import annotations

import os
import platform
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from played import PlayedNodes

from stoker.errors import StokerError, UsageError
from stoker.operations.dispatch import RoundStream, dispatch
from stoker.operations.dispatchers import dispatchers
from stoker.operations.leading import Dispatcher
from stoker.operations.loop import DispatchLoop, Standing, here
from stoker.operations.service import ended_by, tell_systemd, watchdog_s
from stoker.operations.session import Session
from stoker.operations.values import RoundReport


def loop(session: Session) -> DispatchLoop:
    made = dispatch(session, loop=True, interval=1)
    assert isinstance(made, DispatchLoop)
    return made


@pytest.mark.accepts("B16")
def test_a_loop_leads_and_its_rounds_carry_its_epoch(session: Session, nodes_played: PlayedNodes) -> None:
    pieces = iter(loop(session))
    standing, report = next(pieces), next(pieces)
    assert isinstance(standing, Standing)
    assert isinstance(report, RoundReport)
    assert standing.told == f"leads, epoch {standing.epoch}: nobody leads"
    (request,) = nodes_played.rounds
    request.pop("membership")
    assert [request] == [
        {"mode": "dispatch", "nodes": None, "jobs": None, "wait_s": 0.0, "epoch": standing.epoch, "probe": True,
         "log_keep_bytes": session.config.log_keep_bytes}
    ]  # fmt: skip
    (row,) = dispatchers(session).dispatchers
    assert (row.state, row.epoch, row.host, row.pid) == ("leads", standing.epoch, platform.node(), os.getpid())
    pieces.close()  # type: ignore[attr-defined]
    assert dispatchers(session).dispatchers == ()
    assert [event.type for event in session.store.events(types=("dispatcher.*",))] == [
        "dispatcher.started", "dispatcher.leads", "dispatcher.stopped",
    ]  # fmt: skip


@pytest.mark.accepts("B16")
def test_one_stands_by_and_leads_as_soon_as_the_other_has_ended(session: Session, nodes_played: PlayedNodes) -> None:
    with Dispatcher(session.store, 20.0) as other:
        assert other.stand() == f"leads, epoch {other.epoch}: nobody leads"
        assert other.stand() is None
        pieces = iter(loop(session))
        standing = next(pieces)
        assert isinstance(standing, Standing)
        assert (standing.epoch, standing.told) == (None, f"stands by: {other.id} on {platform.node()} leads")
    standing = next(pieces)
    assert isinstance(standing, Standing)
    assert standing.told == f"leads, epoch {standing.epoch}: nobody leads"
    assert nodes_played.rounds == []
    next(pieces)
    assert [request["epoch"] for request in nodes_played.rounds] == [standing.epoch]
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.accepts("B16")
def test_a_silent_leader_is_led_in_place_of_and_stands_by_when_it_wakes(session: Session) -> None:
    with Dispatcher(session.store, 1.0) as first, Dispatcher(session.store, 1.0) as second:
        first.stand()
        first._over.set()  # no sign of life any more; its process is there
        first._beating.join()
        assert second.stand() == f"stands by: {first.id} on {platform.node()} leads"
        second._sign_since -= 1.5
        told = second.stand()
        assert told is not None
        assert told.startswith(f"leads, epoch {second.epoch}: {first.id} has been silent for")
        assert [row.state for row in dispatchers(session).dispatchers] == ["leads", "stands by"]
        assert first.stand() == f"stands by: {second.id} on {platform.node()} leads"
        assert first.epoch is None


def test_one_that_hangs_in_a_round_gives_no_sign_of_life(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker.operations.leading.LONGEST_ROUND_S", 0.0)
    with Dispatcher(session.store, 1.0) as own:
        signs: list[Any] = []
        monkeypatch.setattr(own._store, "beat", lambda *_, **values: signs.append(values))
        own.begins_round()
        assert not own._over.wait(0.8)
        assert signs == []
        own.ends_round()
        assert not own._over.wait(0.8)
        assert len(signs) >= 2


def test_a_dispatcher_whose_row_is_gone_writes_itself_down_again(session: Session) -> None:
    with Dispatcher(session.store, 20.0) as own:
        own.stand()
        before = own.epoch
        session.store.dispatchers.leave(own.id)
        assert own.stand() == f"leads, epoch {own.epoch}: nobody leads"
        assert before is not None
        assert (own.epoch or 0) > before


def test_a_loop_outlives_a_round_that_cannot_be_made(session: Session, nodes_played: PlayedNodes) -> None:
    def fail(_request: dict[str, Any]) -> None:
        raise StokerError("the inventory is being edited")

    nodes_played.on_round = fail
    pieces = iter(loop(session))
    for _ in range(2):
        piece = next(pieces)
        if isinstance(piece, Standing):
            piece = next(pieces)
        assert [problem.message for problem in piece.problems] == ["the inventory is being edited"]  # type: ignore[union-attr]
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [loop, lambda session: RoundStream(session, 0.1)], ids=["dispatch", "others"])
def test_a_loop_sees_the_nodes_that_join_later(
    session: Session, nodes_played: PlayedNodes, make: Callable[[Session], DispatchLoop | RoundStream]
) -> None:
    seen: list[tuple[str, ...]] = []

    def on_round(_request: dict[str, Any]) -> None:
        seen.append(tuple(node.name for node in session.inventory.nodes))
        nodes_played.join(f"n{len(seen) + 2}")

    nodes_played.on_round = on_round
    pieces = iter(make(session))
    while len(seen) < 2:
        next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert seen == [("localhost", "n1", "n2"), ("localhost", "n1", "n2", "n3")]


def test_sigterm_ends_a_loop_after_its_round(session: Session, nodes_played: PlayedNodes) -> None:
    nodes_played.on_round = lambda _request: os.kill(os.getpid(), signal.SIGTERM)
    stream = loop(session)
    before = signal.getsignal(signal.SIGTERM)
    kinds = [type(piece).__name__ for piece in stream]
    assert kinds == ["Standing", "RoundReport"]
    assert (stream.exit_code, len(nodes_played.rounds)) == (0, 1)
    assert signal.getsignal(signal.SIGTERM) is before
    assert dispatchers(session).dispatchers == ()


def test_a_loop_in_a_thread_is_ended_by_its_caller(session: Session) -> None:
    stream = loop(session)
    seen: list[object] = []

    def follow() -> None:
        for piece in stream:
            seen.append(piece)
            if isinstance(piece, RoundReport):
                stream.end()

    thread = threading.Thread(target=follow)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(seen) == 2


def test_one_that_stands_by_starts_what_only_its_machine_can(session: Session, nodes_played: PlayedNodes) -> None:
    digest = "a" * 64
    files = {"digest": digest, "files": 1, "bytes": 1, "folder": "/p", "host": platform.node()}
    own = session.store.add_job("own", {"argv": ["true"], "snapshot": files})
    session.store.add_job("other", {"argv": ["true"], "snapshot": {**files, "host": "elsewhere"}})
    session.store.add_job("plain", {"argv": ["true"]})
    assert here(session) == []
    session.store.snapshots.here = lambda: frozenset({digest})  # type: ignore[method-assign]
    assert here(session) == [own.id]
    with Dispatcher(session.store, 20.0) as other:
        other.stand()
        pieces = iter(loop(session))
        next(pieces)
        next(pieces)
        assert [(request["jobs"], "epoch" in request) for request in nodes_played.rounds] == [([own.id], False)]
        pieces.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("options", "words"), [({"interval": "0.5s"}, "--interval"), ({"lease": "0s"}, "--lease")])
def test_bad_input(session: Session, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dispatch(session, loop=True, **options)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What listens where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield server


def test_systemd_is_told_when_it_is_ready_and_that_it_lives(
    session: Session, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_s() == 0.4
    with Dispatcher(session.store, 20.0):
        assert [manager.recv(99), manager.recv(99)] == [b"READY=1", b"WATCHDOG=1"]
    said = [manager.recv(99)]
    while said[-1] != b"STOPPING=1":
        assert said[-1] == b"WATCHDOG=1"
        said.append(manager.recv(99))
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    tell_systemd("READY=1")  # nobody listens: no reason to end


def test_a_signal_is_an_event_while_it_is_asked_for() -> None:
    with ended_by(signal.SIGUSR1) as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert asked.wait(5)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_ctrl_c_ends_a_loop_also_where_python_drops_it() -> None:
    with ended_by(signal.SIGTERM) as asked:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert asked.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
