"""Workflows on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.workflow_values import (
    Workflow,
    WorkflowChange,
    WorkflowCheck,
    WorkflowDetail,
    WorkflowDrawing,
    WorkflowJob,
    WorkflowList,
    WorkflowsCleared,
    WorkflowSubmitted,
    WorkflowSummary,
)
from stoker.operations.workflows import WorkflowStream

STYLES = {
    "running": "green", "starting": "green", "succeeded": "dim", "queued": "cyan", "cancelled": "dim", "failed": "red",
    "dead": "red", "lost": "red", "skipped": "dim",
}  # fmt: skip


def check(value: WorkflowCheck, out: Out) -> None:
    """`stoker workflow validate`."""
    steps = f"{value.steps} step{'s' * (value.steps != 1)}"
    jobs = f", {value.jobs} jobs with their matrices" if value.jobs != value.steps else ""
    out.line(fmt.one_line(f"{value.file} is a valid workflow: {value.name}, {steps}{jobs}"))
    out.line((fmt.one_line(f"next: stoker workflow run {value.file} · stoker workflow draw {value.file}"), "dim"))


def submitted(value: WorkflowSubmitted, out: Out) -> None:
    """`stoker workflow submit`."""
    workflow = value.workflow
    out.line(fmt.one_line(f"{workflow.id}  {_state(workflow)}: {_counts(workflow.counts)}"))
    out.line((fmt.one_line(f"next: stoker workflow watch {workflow.id} · stoker workflow status {workflow.id}"), "dim"))


def workflow_list(value: WorkflowList, out: Out) -> None:
    """`stoker workflow list`."""
    if not value.workflows:
        none = "no workflows yet · stoker workflow run FILE starts one"
        out.line(none if not value.total else f"none from number {value.offset} on: there are {value.total}")
        return
    _table(value.workflows, out)
    left = value.total - value.offset - len(value.workflows)
    if left > 0:
        out.line(f"and {left} older ones · --offset {value.offset + len(value.workflows)} shows the next")


def cleared(value: WorkflowsCleared, out: Out) -> None:
    """`stoker workflow clear`."""
    if value.removed:
        _table(value.removed, out)
    verb = "would be removed" if value.dry_run else "removed"
    out.line(f"{len(value.removed)} {verb}; {value.kept} that are over kept")


def _table(workflows: Sequence[WorkflowSummary], out: Out) -> None:
    now = time.time()
    rows: list[tuple[Piece, ...]] = [
        (
            row.id,
            (row.state, STYLES.get(row.state, "")),
            fmt.one_line(row.name),
            fmt.age(now - row.created_at),
            fmt.duration((row.ended_at or now) - row.created_at),
            _counts(row.counts),
        )
        for row in workflows
    ]
    out.table(("WORKFLOW", "STATE", "NAME", "AGO", "TOOK", "JOBS"), rows)


def detail(value: WorkflowDetail, out: Out) -> None:
    """`stoker workflow status`."""
    _whole(value.workflow, out)


def change(value: WorkflowChange, out: Out) -> None:
    """What was done to a workflow."""
    out.line(fmt.one_line(value.told))
    _next(value.workflow, out)


def drawing(value: WorkflowDrawing, out: Out) -> None:
    """`stoker workflow draw`."""
    for line in value.lines:
        out.line(line if value.mermaid else fmt.one_line(line))


def stream(value: WorkflowStream, out: Out) -> int:
    """`stoker workflow run` and `watch`: a line for each job that changed, then the whole."""
    seen: dict[str, str] = {}
    told: set[str] = set()
    try:
        for report in value:
            for job in report.workflow.jobs:
                state = _job_state(job)
                if seen.get(job.title, "waiting") != state:
                    out.line(*_line(job, state))
                seen[job.title] = state
            for problem in report.problems:
                words = fmt.one_line(f"{problem.node or 'stoker'}: {problem.message}")
                if words not in told:
                    out.note(words)
                told.add(words)
    except KeyboardInterrupt:
        out.note(
            f"\nstoker: what runs goes on without you. stoker workflow watch {value.workflow} goes on with the rest"
        )
        raise
    if value.last is not None:
        out.line("")
        _whole(value.last.workflow, out)
    return value.exit_code


def _line(job: WorkflowJob, state: str) -> tuple[Piece, ...]:
    stamp = time.strftime("%H:%M:%S")
    where = f" on {job.node}" if job.node else ""
    why = f"  {job.detail}" if job.detail and job.state not in ("succeeded", "running") else ""
    name = f"  ({job.job})" if job.job else ""
    style = STYLES.get(job.state, "")
    return fmt.one_line(f"{stamp}  {job.title}  "), (state, style), fmt.one_line(f"{where}{name}{why}")


def _whole(workflow: Workflow, out: Out) -> None:
    took = fmt.duration(workflow.elapsed_s)
    again = f", resumed {workflow.resumed} time{'s' * (workflow.resumed != 1)}" if workflow.resumed else ""
    verb = "for" if workflow.state == "running" else "after"
    out.line((fmt.one_line(f"{workflow.id}  {_state(workflow)} {verb} {took}{again}"), "bold"))
    rows: list[tuple[Piece, ...]] = [
        (
            fmt.one_line(job.title),
            (_job_state(job), STYLES.get(job.state, "")),
            job.node or "-",
            fmt.duration(job.elapsed_s),
            "-" if job.exit_code is None else str(job.exit_code),
            job.job or "-",
            fmt.one_line(_said(job)),
        )
        for job in workflow.jobs
    ]
    out.table(("STEP", "STATE", "NODE", "TOOK", "EXIT", "JOB", "WHY, OR WHAT IT GAVE"), rows)
    total = sum(job.elapsed_s or 0.0 for job in workflow.jobs)
    out.line((f"{_counts(workflow.counts)} · {fmt.duration(total)} of jobs", "dim"))
    _next(workflow, out)


def _said(job: WorkflowJob) -> str:
    if job.detail and job.state not in ("succeeded", "running"):
        return job.detail
    return " ".join(f"{name}={value}" for name, value in job.outputs.items()) or "-"


def _next(workflow: Workflow, out: Out) -> None:
    failed = next((job.job for job in workflow.jobs if job.job and job.state in ("failed", "dead", "lost")), None)
    step = {
        "running": f"stoker workflow watch {workflow.id}",
        "succeeded": f"stoker workflow draw {workflow.id}",
    }.get(workflow.state, f"stoker workflow resume {workflow.id}" + (f" · stoker logs {failed}" if failed else ""))
    out.line((fmt.one_line(f"next: {step}"), "dim"))


def _state(workflow: Workflow) -> str:
    return "stopping" if workflow.stopping else workflow.state


def _job_state(job: WorkflowJob) -> str:
    if job.state in ("failed", "dead") and job.signal is not None:
        return f"{job.state} ({fmt.signal_name(job.signal)})"
    if job.state in ("failed", "dead") and job.exit_code is not None:
        return f"{job.state} ({job.exit_code})"
    return job.state


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "no jobs"
