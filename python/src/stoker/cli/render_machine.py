"""A run beside its machine, on a terminal."""

from __future__ import annotations

import time

from stoker.analysis.machine_values import MachineEvent, RunMachine
from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.cli.render_runs import records

_BAR = 8


def machine(value: RunMachine, out: Out) -> None:
    """`stoker runs machine`."""
    ahead = value.info.seen.ahead_s if value.info.seen is not None else 0.0
    rows = []
    for part in value.parts:
        share = min(1.0, part.rate / value.usual_rate) if value.usual_rate else 0.0
        bar = "█" * round(share * _BAR)
        load = "-" if part.gpu_percent is None else f"{part.gpu_percent:.0f}%"
        heat = "-" if part.gpu_c is None else f"{part.gpu_c:.0f} C"
        cpu = "-" if part.cpu_percent is None else f"{part.cpu_percent:.0f}%"
        disk = "-" if part.io_percent is None else f"{part.io_percent:.0f}%"
        figures = (fmt.number(round(part.step)), f"{fmt.number(part.rate)} {bar}", fmt.number(part.loss))
        slow = ", ".join(part.throttled) or ("-" if part.gpu_percent is not None else "unknown")
        rows.append((_clock(part.at - ahead), *figures, load, heat, slow, cpu, disk))
    if out.form == "csv" and value.parts:
        records(out, value.parts)
    elif rows or out.form != "text":
        loss = fmt.one_line(value.loss or "LOSS")
        out.table(("FROM", "STEP", "STEPS/S", loss, "GPU", "HEAT", "THROTTLED", "CPU", "DISK WAIT"), rows)
    for one in value.meetings:
        out.remark((fmt.one_line(one.says), "bold"))
        for event in one.meanwhile:
            out.remark(f"  meanwhile: {_told(event, ahead)}")
        if one.unknown is not None:
            out.remark((f"  unknown why: {fmt.one_line(one.unknown)}", "dim"))
    met = {event for one in value.meetings for event in one.meanwhile}
    for event in value.events:
        if event not in met:
            out.remark((f"also: {_told(event, ahead)}", "dim"))
    if value.parts and not value.meetings:
        out.remark(
            f"nothing odd in {fmt.number(len(value.parts))} parts; {fmt.number(value.usual_rate)} steps/s is usual"
        )
    for sentence in value.unknown:
        out.remark(("! " + fmt.one_line(sentence), "dim"))


def _told(event: MachineEvent, ahead: float) -> str:
    when = f"at {_clock(event.at - ahead)}"
    if event.until > event.at:
        when = f"from {_clock(event.at - ahead)} to {_clock(event.until - ahead)}"
    return f"{fmt.one_line(event.says)} {when}"


def _clock(at: float) -> str:
    here, today = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if here[:3] == today[:3] else "%Y-%m-%d %H:%M", here)
