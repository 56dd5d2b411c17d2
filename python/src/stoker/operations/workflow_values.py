"""What the operations of workflows answer, and the rows of the store as such."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.operations.values import Job, Problem
from stoker.operations.views import jobs_of

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import PartRow, WorkflowRow

STATES = ("running", "succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class WorkflowJob:
    """One job of a workflow, or the place of one.

    `matrix` are its values where its step has a matrix. `state`: waiting (for what it needs), skipped, or that of its
    job (see `Job`). `detail` says why, where there is something to say. `job` is None where there never was one.
    `outputs` is what the log said, by name, of one that is over.
    """

    step: str
    part: int
    matrix: Mapping[str, Any]
    state: str
    detail: str | None
    job: str | None
    node: str | None
    exit_code: int | None
    signal: int | None
    elapsed_s: float | None
    outputs: Mapping[str, str]

    @property
    def title(self) -> str:
        """`train lr=0.1 seed=2`."""
        return " ".join([self.step, *(f"{name}={value}" for name, value in self.matrix.items())])


@dataclass(frozen=True)
class Workflow:
    """A workflow as far as it is known.

    `jobs` in the order of the file; `needs` by step; `counts` how many jobs are in which state. `stopping`: it was
    asked to end and has not yet. `resumed`: how often it went on after it was over. `elapsed_s` is by this machine's
    clock.
    """

    id: str
    name: str
    state: str
    description: str | None
    file: str | None
    context: Mapping[str, Any]
    needs: Mapping[str, Sequence[str]]
    jobs: tuple[WorkflowJob, ...]
    counts: Mapping[str, int]
    stopping: bool
    resumed: int
    created_at: float
    ended_at: float | None
    elapsed_s: float


@dataclass(frozen=True)
class WorkflowDetail:
    """One workflow."""

    workflow: Workflow
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class WorkflowSubmitted:
    """A workflow that was just written to the store, after the round that offered its first jobs to the nodes."""

    workflow: Workflow
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: it is accepted. What nodes could not be asked is told beside it."""
        return 0


@dataclass(frozen=True)
class WorkflowSummary:
    """A workflow in a list. `counts`: how many of its jobs wait, run, succeeded, failed, were cancelled or skipped."""

    id: str
    name: str
    state: str
    counts: Mapping[str, int]
    created_at: float
    ended_at: float | None


@dataclass(frozen=True)
class WorkflowList:
    """A page of workflows, newest first: those from number `offset` on, of `total` that match."""

    workflows: tuple[WorkflowSummary, ...]
    total: int
    offset: int


@dataclass(frozen=True)
class WorkflowsCleared:
    """Workflows that are gone from the store, newest first. `kept`: those over that stayed. Their jobs stay, too."""

    removed: tuple[WorkflowSummary, ...]
    kept: int
    dry_run: bool


@dataclass(frozen=True)
class WorkflowChange:
    """What was done to a workflow. `changed` is False where it was so already."""

    workflow: Workflow
    changed: bool
    told: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class WorkflowCheck:
    """A file that is a valid workflow. Nothing was written."""

    file: str
    name: str
    steps: int
    jobs: int


@dataclass(frozen=True)
class WorkflowDrawing:
    """A workflow as a picture: lines for a terminal, or text that Mermaid draws."""

    lines: tuple[str, ...]
    mermaid: bool


@dataclass(frozen=True)
class WorkflowReport:
    """One look at a workflow that is watched."""

    workflow: Workflow
    problems: tuple[Problem, ...] = ()


def workflow_of(session: Session, row: WorkflowRow) -> Workflow:
    """The workflow of a row, with what its parts and its jobs last showed."""
    from stoker.dispatch.gang import speaker

    store = session.store
    parts = {(part.step, part.part): part for part in store.workflows.parts(row.id)}
    rows = store.workflows.jobs(row.id)
    telling = [speaker(store.gang(job.gang)) if job.gang is not None else job for job in rows]
    jobs = {job.id: view for job, view in zip(rows, jobs_of(session, telling), strict=True)}
    steps = row.body["steps"]
    shown = tuple(
        _job(parts[key, number], plan["matrix"], jobs.get(str(parts[key, number].job_id)))
        for key, step in steps.items()
        for number, plan in enumerate(step["parts"])
        if (key, number) in parts
    )
    counts: dict[str, int] = {}
    for job in shown:
        counts[job.state] = counts.get(job.state, 0) + 1
    return Workflow(
        row.id, row.name, row.state, row.body.get("description"), row.body.get("file"), row.body["context"],
        {key: tuple(step["needs"]) for key, step in steps.items()}, shown, counts,
        row.stop_requested and row.state == "running", row.resumed, row.created_at, row.ended_at,
        (row.ended_at or time.time()) - row.created_at,
    )  # fmt: skip


def _job(part: PartRow, matrix: Mapping[str, Any], job: Job | None) -> WorkflowJob:
    result = part.result or {}
    if job is not None and not result:
        detail = job.unreachable_message if job.unreachable_since is not None else job.detail
        return WorkflowJob(
            part.step, part.part, matrix, job.state, detail or part.detail, part.job_id, job.node, job.exit_code,
            job.signal, job.elapsed_s, {},
        )  # fmt: skip
    return WorkflowJob(
        part.step, part.part, matrix, result.get("job_state") or part.state, part.detail, part.job_id,
        result.get("node"), result.get("exit_code"), result.get("signal"), result.get("elapsed_s"),
        result.get("outputs") or {},
    )  # fmt: skip
