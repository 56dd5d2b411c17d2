"""Checkpoints on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.values import Checkpoint, Job

if TYPE_CHECKING:
    from stoker.operations.checkpoints import CheckpointList, PullReport


def of_job(job: Job) -> list[tuple[str, str]]:
    """What `stoker job` says of them: the newest one, what the job went on from, and what went wrong."""
    kept, found = job.checkpoints, list[tuple[str, str]]()
    if kept is None:
        return found
    if kept.resumed is not None:
        of = kept.resumed.get("job")
        whose = f"attempt {kept.resumed.get('attempt')}" + (f" of {of}" if of != job.id else "")
        found.append(("resumed", f"from {_named(str(kept.resumed['name']), kept.resumed.get('step'))}, by {whose}"))
    newest = next((each for each in kept.newest if each.damaged is None), None)
    if newest is not None:
        age = fmt.duration(max(0.0, time.time() - newest.fetched_at))
        found.append(("kept", f"{_named(newest.name, newest.step)}, {fmt.size(newest.bytes)}, fetched {age} ago"))
    elif job.attempt:
        found.append(("kept", f"no checkpoint of {kept.path} yet"))
    if kept.problem is not None:
        found.append(("kept", f"no newer one: {kept.problem}"))
    found += [("damaged", f"{_named(each.name, each.step)}: {each.damaged}") for each in kept.newest if each.damaged]
    return found


def checkpoint_list(value: CheckpointList, out: Out) -> None:
    """`stoker checkpoint list`."""
    if not value.kept.newest:
        out.line(f"no checkpoint of {value.job} is kept yet · fetched each {fmt.duration(value.kept.every_s)}")
    else:
        rows = [_row(each, value.now) for each in value.kept.newest]
        out.table(("CHECKPOINT", "STEP", "SIZE", "FILES", "ATTEMPT", "NODE", "FETCHED", "WHERE"), rows)
    for each in value.kept.newest:
        if each.damaged:
            out.line("  ", ("damaged", "red"), fmt.one_line(f"  {each.name}: {each.damaged}"))
    if value.kept.problem is not None:
        out.line(fmt.one_line(f"no newer one: {value.kept.problem}"))


def _row(each: Checkpoint, now: float) -> tuple[str, ...]:
    whose = f"{each.attempt} of {each.job}"
    return (
        fmt.one_line(each.name), "-" if each.step is None else str(each.step), fmt.size(each.bytes), str(each.files),
        whose, each.node, f"{fmt.duration(max(0.0, now - each.fetched_at))} ago",
        fmt.one_line(f"{each.host}:{each.path}"),
    )  # fmt: skip


def pull_report(value: PullReport, out: Out) -> None:
    """`stoker checkpoint pull`."""
    job, why = value.job, fmt.one_line(value.why or "no reason told")
    if value.outcome in ("fetched", "same") and job.checkpoints is not None and job.checkpoints.newest:
        newest = job.checkpoints.newest[0]
        what = "fetched" if value.outcome == "fetched" else "is here already"
        out.line(f"{job.id}: {_named(newest.name, newest.step)} {what}  {fmt.size(newest.bytes)}  {newest.path}")
        return
    words = {"none": "nothing to fetch", "refused": "not fetched", "busy": "not fetched"}
    out.line(f"{job.id}: {words.get(value.outcome, value.outcome)}: {why}")
    out.line(f"  next: stoker checkpoint list {job.id}")


def _named(name: str, step: object) -> str:
    """`step-300.pt (step 300)`."""
    return fmt.one_line(name) + (f" (step {step})" if step is not None else "")
