"""Dispatchers on a terminal, and in the journal of a service."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_streams
from stoker.cli.out import Out, Piece
from stoker.operations.dispatchers import DispatcherList
from stoker.operations.loop import DispatchLoop, Standing

_STYLES = {"leads": "green", "silent": "yellow", "ended": "red"}


def loop(stream: DispatchLoop, out: Out) -> int:
    """`stoker dispatch --loop`: who leads, and what each round changed; nothing of rounds that changed nothing."""
    first = True
    for piece in stream:
        if isinstance(piece, Standing):
            stamp = time.strftime("%H:%M:%S", time.localtime(piece.at))
            out.line((fmt.one_line(f"{stamp}  {piece.dispatcher} {piece.told}"), "bold"))
            continue
        render_streams.round_report(piece, out, even_if_nothing=first)
        first = False
    return stream.exit_code


def dispatcher_list(value: DispatcherList, out: Out) -> None:
    """`stoker dispatchers`."""
    if not value.dispatchers:
        out.line("no dispatcher runs · jobs start when somebody makes a round")
        out.line(("next: stoker dispatch --loop, or the role stoker.fleet.dispatcher", "dim"))
        return
    now = time.time()
    rows: list[tuple[Piece, ...]] = [
        (
            one.id, (one.state, _STYLES.get(one.state, "")), str(one.epoch) if one.epoch is not None else "-", one.host,
            str(one.pid), fmt.duration(now - one.started_at), fmt.duration(one.silent_s), str(one.rounds),
            f"{fmt.duration(now - one.round_at)} ago, took {fmt.duration(one.round_s)}" if one.round_at else "-",
        )
        for one in value.dispatchers
    ]  # fmt: skip
    out.table(("DISPATCHER", "STATE", "EPOCH", "HOST", "PID", "RUNS FOR", "LAST SIGN", "ROUNDS", "LAST ROUND"), rows)
