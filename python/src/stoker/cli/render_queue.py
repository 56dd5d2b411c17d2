"""Queues on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_streams
from stoker.cli.out import Out
from stoker.operations.queue import Queue, QueueChange, Queued, QueueList, QueueStream, rule


def queue_list(value: QueueList, out: Out) -> None:
    """`stoker queue list`."""
    if not value.queues:
        out.line("no queues yet · stoker queue add -- COMMAND makes one")
        return
    for queue in value.queues:
        _queue(queue, out)


def queued(value: Queued, out: Out) -> None:
    """`stoker queue add`."""
    place = f", number {value.position}" if value.position is not None else ""
    out.line(fmt.one_line(f"{value.job.id}  queued in {value.queue}{place}"))
    out.line((fmt.one_line(f"next: stoker queue start {value.queue} · stoker queue list"), "dim"))


def queue_change(value: QueueChange, out: Out) -> None:
    """What was done to a queue."""
    out.line(fmt.one_line(value.told))
    if value.queue.waiting and value.queue.paused:
        out.line((fmt.one_line(f"next: stoker queue resume {value.queue.name}"), "dim"))


def queue_stream(stream: QueueStream, out: Out) -> int:
    """`stoker queue start`: what each round changed, then how it ended."""
    try:
        render_streams.rounds(stream, out)
    except KeyboardInterrupt:
        out.note(f"\nstoker: the jobs go on without you. stoker queue start {stream.queue} goes on with the queue")
        raise
    for job in stream.failed:
        out.line(fmt.one_line(f"{job.id}  {fmt.state(job, time.time())}"))
    if stream.paused is not None:
        out.note(fmt.one_line(f"queue {stream.queue} is paused: {stream.paused}"))
        out.note(fmt.one_line(f"  next: stoker queue resume {stream.queue}, or stoker queue clear {stream.queue}"))
    return stream.exit_code


def _queue(queue: Queue, out: Out) -> None:
    head = f"queue {queue.name}: {rule(queue)}"
    out.line((fmt.one_line(head), "bold"))
    if queue.paused:
        out.line((fmt.one_line(f"paused: {queue.paused_reason}"), "yellow"))
    now = time.time()
    rows = [("-", job.id, fmt.state(job, now), job.node or "-", str(job.gpus_asked), "") for job in queue.under_way]
    rows += [
        (
            str(place),
            job.id,
            fmt.state(job, now),
            job.target or "any",
            str(job.gpus_asked),
            fmt.one_line(job.detail or ""),
        )
        for place, job in enumerate(queue.waiting, queue.skipped + 1)
    ]
    if rows:
        out.table(("TURN", "JOB", "STATE", "NODE", "GPUS", "WHY IT WAITS"), rows)
    if queue.left_out:
        more = f"stoker queue list {queue.name} --skip {queue.skipped + len(queue.waiting)}"
        out.line(fmt.one_line(f"and {queue.left_out} behind them · {more}"))
    else:
        out.line(("nothing in it", "dim"))
