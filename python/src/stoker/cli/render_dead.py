"""Dead letters on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_jobs
from stoker.cli.out import Out
from stoker.operations.dead import DeadLetters, Revived


def dead_list(value: DeadLetters, out: Out) -> None:
    """`stoker dead list`."""
    if not value.jobs:
        out.line("no job is dead" if not value.total else f"none from number {value.skip} on: there are {value.total}")
        return
    now = time.time()
    rows = [
        (
            job.id, render_jobs.state(job, now), job.node or "-", str(job.attempt),
            "-" if job.ended_at is None else fmt.age(max(0.0, now - job.ended_at)),
            fmt.one_line(job.evidence or job.detail or "-"),
        )
        for job in value.jobs
    ]  # fmt: skip
    out.table(("JOB", "STATE", "NODE", "ATTEMPTS", "AGO", "WHY"), rows)
    if (left := value.total - value.skip - len(value.jobs)) > 0:
        out.line(f"and {left} older ones · --skip {value.skip + len(value.jobs)} shows the next")
    out.line("next: stoker dead retry ID, or --all")


def revived(value: Revived, out: Out) -> None:
    """`stoker dead retry`."""
    if not value.jobs:
        out.line("no job is dead: nothing is started")
        return
    for job in value.jobs:
        out.line((job.id, "bold"), f"  {fmt.state(job, time.time())}, in the place of {job.retry_of}")
