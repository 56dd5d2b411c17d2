"""Bringing workflows further in the store: what ended is written down and what follows is made, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.dispatch.gang import speaker
from stoker.dispatch.workflow import Advance, Start, advance, ended, resumed
from stoker.errors import NotFound, UsageError
from stoker.store import JobRow, PartRow, Store, Transaction, WorkflowRow

_END = frozenset({"succeeded", "failed", "cancelled"})


def advance_workflows(store: Store, transaction: Transaction, now: float) -> bool:
    """Bring every workflow that is not over as far as it goes now. Whether jobs were made.

    The jobs of a step and the note that it has them are one transaction: a controller that is killed makes them or does
    not, and the next round, whoever makes it, goes on from there.
    """
    made = False
    for workflow in transaction.workflows.running():
        made = advance_workflow(store, transaction, workflow, now) or made
    return made


def advance_workflow(store: Store, transaction: Transaction, workflow: WorkflowRow, now: float) -> bool:
    """The same for one."""
    made = False
    while True:
        parts = transaction.workflows.parts(workflow.id)
        jobs = {job.id: _told_by(transaction, job) for job in transaction.workflows.jobs(workflow.id, ("running",))}
        parts = [_settled(transaction, part, jobs, now) for part in parts]
        decided = advance(workflow, parts, jobs)
        for job in decided.stops:
            store.request_stop(job, now=now, within=transaction)
        for part in decided.changed:
            _put(transaction, part, now)
        for start in decided.starts:
            made = _start(store, transaction, workflow, start, now) or made
        # Jobs that were stopped before they began are over at once, and so may be the workflow then.
        if not (decided.stops or decided.starts or decided.changed):
            break
    _close(transaction, workflow, decided, now)
    return made


def ask_end(store: Store, workflow: str, now: float) -> bool:
    """Let nothing more of a workflow be begun, and ask for the end of what runs. False where it was asked, or over.

    Raises NotFound.
    """
    with store.write() as transaction:
        row = _known(transaction, workflow)
        if row.state != "running" or row.stop_requested:
            return False
        transaction.workflows.change(row.id, {"stop_requested": True, "updated_at": now})
        transaction.event("workflow.cancel_requested", now, data={"workflow": row.id, "name": row.name})
        advance_workflow(store, transaction, replace(row, stop_requested=True), now)
        return True


def go_on(store: Store, workflow: str, now: float) -> int:
    """Go on with a workflow that did not succeed, and return how many jobs are begun anew.

    Raises NotFound; UsageError for one that runs, or that succeeded.
    """
    with store.write() as transaction:
        row = _known(transaction, workflow)
        if row.state == "running":
            raise UsageError(f"{row.id} is running", next_step=f"stoker workflow watch {row.id}")
        if row.state == "succeeded":
            raise UsageError(f"{row.id} succeeded: there is nothing to go on with")
        again = resumed(row, transaction.workflows.parts(row.id))
        for part in again:
            _put(transaction, part, now)
        values: dict[str, Any] = {"state": "running", "stop_requested": False, "resumed": row.resumed + 1}
        transaction.workflows.change(row.id, {**values, "ended_at": None, "updated_at": now})
        transaction.event("workflow.resumed", now, data={"workflow": row.id, "name": row.name, "jobs": len(again)})
        advance_workflow(store, transaction, replace(row, **values), now)
        return len(again)


def _known(transaction: Transaction, workflow: str) -> WorkflowRow:
    row = transaction.workflows.get(workflow)
    if row is None:
        raise NotFound(f"there is no workflow {workflow!r}", next_step="stoker workflow list shows them")
    return row


def _settled(transaction: Transaction, part: PartRow, jobs: Mapping[str, JobRow], now: float) -> PartRow:
    """The part; with its result, which is written down, where its job is over."""
    job = jobs.get(str(part.job_id))
    if part.state != "running" or (job is not None and not job.finished):
        return part
    attempt = transaction.attempt(job.id, job.attempt) if job is not None else None
    return _put(transaction, ended(part, job, attempt), now)


def _told_by(transaction: Transaction, job: JobRow) -> JobRow:
    """The job; of a gang the rank that says how it is."""
    return job if job.gang is None else speaker(transaction.gang(job.gang))


def _put(transaction: Transaction, part: PartRow, now: float) -> PartRow:
    new = replace(part, updated_at=now)
    transaction.workflows.put_part(new)
    if part.over:
        data: dict[str, Any] = {"workflow": part.workflow_id, "step": part.step, "part": part.part}
        transaction.event(f"step.{part.state}", now, job=part.job_id, data={**data, "reason": part.detail})
    return new


def _start(store: Store, transaction: Transaction, workflow: WorkflowRow, start: Start, now: float) -> bool:
    """Make the job of a part. One that cannot be made is a failure of its step, and holds up nothing else."""
    part, plan = start.part, start.plan
    spec = {**start.spec, "labels": {**(start.spec.get("labels") or {}), "workflow": workflow.id, "step": part.step}}
    try:
        job = store.add_job(
            plan["name"], spec, plan["target"], plan["retries"], retry_on=plan["retry_on"], template=plan["template"],
            results=plan["results"], wants=plan.get("wants"), queue=plan["queue"], priority=plan["priority"],
            submitted_by=workflow.submitted_by, now=now, within=transaction,
            ranks=int((plan.get("wants") or {}).get("ranks") or 1),
        )  # fmt: skip
    except UsageError as problem:
        _put(transaction, replace(part, state="failed", detail=f"it could not be begun: {problem.message}"), now)
        return False
    snapshot = spec.get("snapshot")
    if snapshot and snapshot["digest"] in store.snapshots.here():
        store.snapshots.use(snapshot["digest"], store.url, job.id)
    _put(transaction, replace(part, state="running", job_id=job.id, detail=None), now)
    return True


def _close(transaction: Transaction, workflow: WorkflowRow, decided: Advance, now: float) -> None:
    if decided.state == workflow.state:
        return
    ends = now if decided.state in _END else None
    transaction.workflows.change(workflow.id, {"state": decided.state, "ended_at": ends, "updated_at": now})
    transaction.event(f"workflow.{decided.state}", now, data={"workflow": workflow.id, "name": workflow.name})
