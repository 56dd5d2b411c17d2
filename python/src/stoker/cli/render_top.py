"""`stoker top`: a live picture on a terminal, and the same once where there is none."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stoker.cli import format as fmt
from stoker.cli import render_gpus, render_jobs, render_telemetry
from stoker.cli.out import Out, Piece, clean
from stoker.operations.node_values import Gpu
from stoker.operations.telemetry import Sample
from stoker.operations.top import Top, TopStream
from stoker.operations.values import Job

if TYPE_CHECKING:
    from rich.console import Group

    Rows = Sequence[Sequence[Piece]]

NODES = ("NODE", "CPU", "LOAD", "MEMORY", "TREND", "DISK")
GPUS = ("NODE", "GPU", "LOAD", "MEMORY", "TEMP", "POWER", "JOBS")
JOBS = ("JOB", "STATE", "NODE", "GPU", "ELAPSED")
_KEYS_S = 0.2


def show(stream: TopStream, out: Out) -> int:
    """Live until `q` or Ctrl-C, or once."""
    if not out.is_terminal:
        _plain(stream.once(), out)
        return 0
    from rich.console import Console
    from rich.live import Live

    console = Console(file=out.stdout, highlight=False, markup=False, emoji=False, no_color="NO_COLOR" in os.environ)
    # Live restores screen and cursor, `_keys` how keys are read, also when something goes wrong.
    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys(),
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        for picture in stream:
            live.update(_group(picture, stream.interval_s, out), refresh=True)
    return 0


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Read keys without waiting for Enter; `q` is Ctrl-C. Nothing where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            if select.select([number], [], [], _KEYS_S)[0] and os.read(number, 1) in (b"q", b"Q", b""):
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=listen, daemon=True)
    try:
        tty.setcbreak(number)
        thread.start()
        yield
    finally:
        over.set()
        thread.join(2 * _KEYS_S)
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _nodes(top: Top) -> Rows:
    return [_node(sample, top) for sample in top.samples]


def _node(sample: Sample, top: Top) -> Sequence[Piece]:
    name: Piece = (sample.node, "bold")
    if sample.reachable is False:
        since = fmt.age(top.at - (sample.unreachable_since or top.at))
        return name, (f"away {since}", "yellow"), "-", "-", "-", "-"
    if sample.at is None:
        return name, ("asked" if sample.node in top.waiting else "-", "dim"), "-", "-", "-", "-"
    if sample.stale:
        name = (f"{sample.node} (stale {fmt.age(sample.age_s or 0)})", "yellow")
    known = sample.memory_used is not None and sample.memory_total
    held = f"{fmt.memory(sample.memory_used)} of {fmt.memory(sample.memory_total)}" if known else "unknown"
    moving = "-" if sample.memory_trend is None else f"{sample.memory_trend:+.2f} GB/min"
    fullest = render_telemetry.fullest(sample)
    disks = [f"{disk['mount']} {render_telemetry.percent(disk['used_pct'])}" for disk in fullest]
    load = "-" if sample.load is None else f"{sample.load:.2f}"
    return name, render_telemetry.percent(sample.cpu), load, held, moving, disks[0] if disks else "-"


def _gpus(top: Top) -> Rows:
    return [_gpu(gpu) for gpu in top.gpus]


def _gpu(gpu: Gpu) -> Sequence[Piece]:
    jobs: Piece = ", ".join(gpu.jobs) or "-"
    if gpu.quarantine is not None:
        jobs = ("quarantined", "red")
    elif gpu.busy_with:
        jobs = (f"busy with {gpu.busy_with}", "yellow")
    return (
        gpu.node or "-", "-" if gpu.index is None else str(gpu.index), render_telemetry.percent(gpu.utilisation),
        render_gpus.memory(gpu).replace(" (unified)", ""), _figure(gpu.temperature, " C"), _figure(gpu.power, " W"),
        jobs,
    )  # fmt: skip


def _figure(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.0f}{unit}"


def _jobs(top: Top) -> Rows:
    return [_job(job, top.at) for job in top.jobs]


def _job(job: Job, now: float) -> Sequence[Piece]:
    return job.id, render_jobs.state(job, now), job.node or "-", fmt.gpus(job), fmt.duration(job.elapsed_s)


def _alerts(top: Top) -> list[str]:
    return [f"{sample.node}: {alert.text}" for sample in top.samples for alert in sample.alerts]


def _plain(top: Top, out: Out) -> None:
    for columns, rows in ((NODES, _nodes(top)), (GPUS, _gpus(top)), (JOBS, _jobs(top))):
        if rows:
            out.table(columns, rows)
            out.line()
    for text in _alerts(top):
        out.line(("ALERT", "red"), f"  {fmt.one_line(text)}")
    for sample in top.samples:
        if sample.reachable is False:
            out.note(fmt.one_line(f"{sample.node} could not be asked: {sample.message}"))


def _group(top: Top, interval_s: float, out: Out) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = []
    for columns, rows in ((NODES, _nodes(top)), (GPUS, _gpus(top)), (JOBS, _jobs(top))):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for row in rows:
            cells = [(piece, "") if isinstance(piece, str) else piece for piece in row]
            table.add_row(*(Text(out.spelled(clean(text)), style, no_wrap=True) for text, style in cells))
        if rows:
            parts += [table, Text("")]
    parts += [Text(out.spelled(clean(f"ALERT  {text}")), "red", no_wrap=True) for text in _alerts(top)]
    stamp = time.strftime("%H:%M:%S", time.localtime(top.at))
    parts.append(Text(f"{stamp}  every {interval_s:g} s  q ends", "dim"))
    return Group(*parts)
