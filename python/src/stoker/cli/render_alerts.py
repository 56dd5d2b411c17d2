"""Alerts and silences on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.alerts import AlertList, NodeAlert, Squelch, SquelchChange


def alert_list(value: AlertList, out: Out) -> None:
    """`stoker alerts`."""
    if value.alerts:
        out.table(("NODE", "ALERT", "SINCE", "LAST ASKED", ""), [_line(alert) for alert in value.alerts])
    else:
        out.note("no alerts")
    for one in value.squelches:
        out.line((_silence(one), "dim"))


def squelch_change(value: SquelchChange, out: Out) -> None:
    """`stoker squelch`."""
    if value.ended:
        out.line(f"{fmt.one_line(value.squelch.pattern)} is not silenced any more; what is wrong with it now is told")
        return
    out.line(_silence(value.squelch))
    out.note(f"  stoker squelch {fmt.one_line(value.squelch.pattern)} --end ends it")


def _line(alert: NodeAlert) -> tuple[Piece, ...]:
    now = time.time()
    asked = "unknown" if alert.checked_at is None else f"{fmt.age(now - alert.checked_at)} ago"
    silent = "" if alert.squelched_until is None else f"silenced for {fmt.age(alert.squelched_until - now)}"
    what = f"offline: {alert.text}" if alert.key == "offline" else alert.text
    shown = (fmt.one_line(what), "red" if alert.critical else "yellow")
    return alert.node, shown, f"{fmt.age(now - alert.since)} ago", asked, silent


def _silence(one: Squelch) -> str:
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.until))
    nodes = "" if one.nodes == (one.pattern,) else f" ({', '.join(one.nodes) or 'no node now'})"
    return fmt.one_line(f"{one.pattern}{nodes}: no messages about its state until {until}")
