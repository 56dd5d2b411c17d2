"""Dispatchers on a terminal, and in the journal of a service."""

from __future__ import annotations

import time
from dataclasses import replace

from stoker.cli import format as fmt
from stoker.cli import render_streams
from stoker.cli.out import Out, Piece
from stoker.operations.dispatchers import DispatcherList
from stoker.operations.loop import DispatchLoop, Standing
from stoker.operations.values import Problem

_STYLES = {"leads": "green", "silent": "yellow", "ended": "red"}


def loop(stream: DispatchLoop, out: Out) -> int:
    """`stoker dispatch --loop`: who leads, what each round changed, and what is wrong as long as it is new."""
    first = True
    before: tuple[Problem, ...] = ()
    for piece in stream:
        if isinstance(piece, Standing):
            stamp = time.strftime("%H:%M:%S", time.localtime(piece.at))
            out.line((fmt.one_line(f"{stamp}  {piece.dispatcher} {piece.told}"), "bold"))
            continue
        # A journal that tells the same each second hides what is new.
        new = tuple(problem for problem in piece.problems if problem not in before)
        if before and not piece.problems:
            out.note("stoker: the next round had no problem any more")
        render_streams.round_report(replace(piece, problems=new), out, even_if_nothing=first)
        first, before = False, piece.problems
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
