"""Workflows: jobs that depend on each other, from one file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from stoker.errors import NotFound, UsageError
from stoker.operations import quantities, workflow_drawing
from stoker.operations.checkpoint_pulls import Keeper
from stoker.operations.find import near
from stoker.operations.registry import Short, operation
from stoker.operations.rented_rounds import tending_round
from stoker.operations.results import fetch
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem
from stoker.operations.workflow_values import (
    STATES,
    Workflow,
    WorkflowChange,
    WorkflowCheck,
    WorkflowDetail,
    WorkflowDrawing,
    WorkflowList,
    WorkflowReport,
    WorkflowsCleared,
    WorkflowSubmitted,
    WorkflowSummary,
    workflow_of,
)

if TYPE_CHECKING:
    from stoker.store import WorkflowRow

WAIT_S = 10.0
LONGEST_PAUSE_S = 5.0
Context = Annotated[Mapping[str, str] | None, Short("-c")]


class WorkflowStream:
    """Rounds for one workflow, and a look after each, until it is over. `last` is the newest look."""

    def __init__(self, session: Session, workflow: str) -> None:
        self._session = session
        self.workflow = workflow
        self.last: WorkflowReport | None = None

    def __iter__(self) -> Iterator[WorkflowReport]:
        jobs: list[str] = []  # those under way; a workflow makes its jobs one after the other
        with Keeper(self._session, jobs) as keeper:
            for report in self._looks():
                jobs[:] = _live_jobs(self._session, self.workflow)
                keeper.turn()
                yield report
            keeper.finish()

    def _looks(self) -> Iterator[WorkflowReport]:
        problems: tuple[Problem, ...] = ()
        pause = 0.5
        while True:
            view = workflow_of(self._session, _known(self._session, self.workflow))
            changed = self.last is None or view.counts != self.last.workflow.counts
            self.last = WorkflowReport(view, problems)
            yield self.last
            if view.state != "running":
                return
            began = time.monotonic()
            self._session.forget_inventory()  # nodes may have joined since
            live = _live_jobs(self._session, self.workflow)
            problems = tending_round(self._session, jobs=live, wait_s=WAIT_S) + _fetched(self._session, self.workflow)
            # A round that came back at once had nothing to wait for on a node.
            quick = time.monotonic() - began < 2.0
            pause = min(pause * 1.5, LONGEST_PAUSE_S) if quick and not changed else 0.5
            time.sleep(pause if quick else 0.0)

    @property
    def exit_code(self) -> int:
        """0 when the workflow succeeded, and what was to be fetched was."""
        return int(self.last is None or self.last.workflow.state != "succeeded" or bool(self.last.problems))


@operation("workflows", "workflow run", "operate")
def run(session: Session, file: str, *, context: Context = None) -> WorkflowStream:
    """Submit a workflow, and make rounds until it is over. Ctrl-C ends the rounds, not the jobs.

    Args:
        file: The workflow, a YAML file.
        context: Another value for a name of its context, NAME=VALUE. Repeatable.
    """
    row = written(session, file, context or {})
    session.say(f"{row.id} is submitted: stoker workflow watch {row.id} goes on with it")
    return WorkflowStream(session, row.id)


@operation("workflows", "workflow submit", "operate")
def submit(session: Session, file: str, *, context: Context = None) -> WorkflowSubmitted:
    """Submit a workflow: it is checked as a whole, written down, and its first jobs are offered to the nodes.

    The rounds of anybody bring it further: a dispatcher (stoker dispatch --loop), AWX, stoker workflow watch.

    Args:
        file: The workflow, a YAML file.
        context: Another value for a name of its context, NAME=VALUE. Repeatable.
    """
    row = written(session, file, context or {})
    problems = _round(session, row.id, 0.0)
    return WorkflowSubmitted(workflow_of(session, _known(session, row.id)), problems)


@operation("workflows", "workflow validate", "read")
def validate(session: Session, file: str, *, context: Context = None) -> WorkflowCheck:
    """Check the file of a workflow: fields, types, needs, conditions, options, nodes, templates. Nothing is written.

    Args:
        file: The workflow, a YAML file.
        context: Another value for a name of its context, NAME=VALUE. Repeatable.
    """
    from stoker.operations.workflow_file import read
    from stoker.operations.workflow_parts import body_of

    checked = read(file, context or {})
    steps = body_of(session, checked, dry=True)["steps"]
    return WorkflowCheck(checked.shown, checked.name, len(steps), sum(len(step["parts"]) for step in steps.values()))


@operation("workflows", "workflow list", "read", method="list")
def list_workflows(
    session: Session, *, state: Sequence[str] = (), name: str | None = None, since: float | str | None = None,
    limit: int = 50, offset: int = 0,
) -> WorkflowList:  # fmt: skip
    """List workflows, newest first.

    Args:
        state: Only workflows in this state. Repeatable.
        name: Only those of this name.
        since: Only those submitted within this time (24h, 7d).
        limit: At most this many; 0 for all.
        offset: Leave out this many of the newest.
    """
    if unknown := [word for word in state if word not in STATES]:
        raise UsageError(f"--state: there is no state {unknown[0]!r}", next_step=f"one of {', '.join(STATES)}")
    for option, number in (("--limit", limit), ("--offset", offset)):
        if number < 0:
            raise UsageError(f"{option}: {number} is not a number of 0 or more")
    begin = None if since is None else time.time() - quantities.seconds(since, "--since")
    workflows = session.store.workflows
    rows = workflows.page(state, name, begin, limit=limit or None, offset=offset)
    counts = workflows.counts([row.id for row in rows])
    return WorkflowList(
        tuple(WorkflowSummary(r.id, r.name, r.state, counts[r.id], r.created_at, r.ended_at) for r in rows),
        workflows.count(state, name, begin), offset,
    )  # fmt: skip


@operation("workflows", "workflow status", "read", method="get")
def status(session: Session, workflow: str, *, live: bool = False) -> WorkflowDetail:
    """Show one workflow: each job with its state, node, time and exit code, and what it amounts to.

    Args:
        workflow: Id of the workflow, or the beginning of it.
        live: Ask the nodes first.
    """
    row = _known(session, workflow)
    problems: tuple[Problem, ...] = ()
    if live:
        problems = make_round(session, "observe", jobs=_live_jobs(session, row.id))
    return WorkflowDetail(workflow_of(session, row), problems)


@operation("workflows", "workflow draw", "read")
def draw(session: Session, workflow: str, *, mermaid: bool = False) -> WorkflowDrawing:
    """Draw a workflow: which job needs which, and how each stands.

    Args:
        workflow: Id of a workflow, or the beginning of it; or a file.
        mermaid: As text that Mermaid draws (GitHub does), not for a terminal.
    """
    needs, said, states = _picture(session, workflow)
    draw_it = workflow_drawing.mermaid(needs, said, states) if mermaid else workflow_drawing.layered(needs, said)
    return WorkflowDrawing(tuple(draw_it), mermaid)


@operation("workflows", "workflow watch", "operate")
def watch(session: Session, workflow: str) -> WorkflowStream:
    """Make rounds for a workflow until it is over, and show what changes. Ctrl-C ends the rounds, not the jobs.

    Args:
        workflow: Id of the workflow, or the beginning of it.
    """
    return WorkflowStream(session, _known(session, workflow).id)


@operation("workflows", "workflow cancel", "operate", destroys=True)
def cancel(session: Session, workflow: str) -> WorkflowChange:
    """End a workflow: nothing more of it is begun, and what runs is stopped.

    Args:
        workflow: Id of the workflow, or the beginning of it.
    """
    from stoker.dispatch.workflows import ask_end

    row = _known(session, workflow)
    asked = ask_end(session.store, row.id, time.time())
    problems: tuple[Problem, ...] = ()
    end = time.monotonic() + _patience_s(session, row.id)
    while _known(session, row.id).state == "running" and not problems and time.monotonic() < end:
        problems = _round(session, row.id, WAIT_S)
    view = workflow_of(session, _known(session, row.id))
    if view.state == "running":
        told = f"{view.id} was told to end and has not yet"
    else:
        told = f"{view.id} is {view.state}" if asked else f"{view.id} was over already: {view.state}"
    return WorkflowChange(view, asked, told, problems)


@operation("workflows", "workflow resume", "operate")
def resume(session: Session, workflow: str) -> WorkflowChange:
    """Go on with a workflow that failed or was cancelled: what succeeded is not repeated, all else is begun anew.

    Args:
        workflow: Id of the workflow, or the beginning of it.
    """
    from stoker.dispatch.workflows import go_on

    row = _known(session, workflow)
    again = go_on(session.store, row.id, time.time())
    problems = _round(session, row.id, 0.0)
    view = workflow_of(session, _known(session, row.id))
    return WorkflowChange(view, True, f"{row.id} goes on: {again} of {len(view.jobs)} jobs anew", problems)


@operation("workflows", "workflow clear", "operate", destroys=True)
def clear(
    session: Session, *workflows: str, older_than: float | str = "24h", keep_last: int = 0, dry_run: bool = False
) -> WorkflowsCleared:
    """Remove workflows that are over from the store. Their jobs stay until stoker clean deletes them; events stay.

    Args:
        workflows: Only these, however old they are: ids, or the beginnings of them.
        older_than: Only those that were over this long ago (24h, 7d).
        keep_last: Keep this many of the newest that are over in any case.
        dry_run: Only say what would be removed.
    """
    if keep_last < 0:
        raise UsageError(f"--keep-last: {keep_last} is not a number of 0 or more")
    before, store = time.time() - quantities.seconds(older_than, "--older-than"), session.store.workflows
    named = [_known(session, workflow) for workflow in workflows]
    if busy := [row.id for row in named if row.state == "running"]:
        raise UsageError(f"{busy[0]} is running", next_step=f"stoker workflow cancel {busy[0]}")
    over = store.page([state for state in STATES if state != "running"])
    ids = {row.id for row in named} or {row.id for row in over[keep_last:] if (row.ended_at or before) <= before}
    chosen = [row for row in over if row.id in ids]
    counts = store.counts([row.id for row in chosen])
    gone = ids if dry_run else set(store.remove(ids, time.time()))
    removed = [
        WorkflowSummary(r.id, r.name, r.state, counts[r.id], r.created_at, r.ended_at) for r in chosen if r.id in gone
    ]
    return WorkflowsCleared(tuple(removed), len(over) - len(removed), dry_run)


def written(session: Session, file: str, context: Mapping[str, str]) -> WorkflowRow:
    """Check a file, and write the workflow with its first jobs down, in one transaction. No round is made."""
    from stoker.dispatch.workflows import advance_workflow
    from stoker.operations.workflow_file import read
    from stoker.operations.workflow_parts import body_of
    from stoker.store import PartRow, WorkflowRow

    checked = read(file, context)
    body, store, now = body_of(session, checked), session.store, time.time()
    with store.write() as transaction:
        workflow = transaction.workflows.free_id(checked.name)
        number = transaction.event("workflow.submitted", now, data={"workflow": workflow, "name": checked.name})
        row = WorkflowRow(workflow, number, checked.name, body, "running", False, 0, now, now, None, None)
        parts = [
            PartRow(workflow, key, part, "waiting", None, None, None, now)
            for key, step in body["steps"].items()
            for part in range(len(step["parts"]))
        ]
        transaction.workflows.add(row, parts)
        for digest in _snapshots(body):
            store.snapshots.use(digest, store.url, workflow)
        advance_workflow(store, transaction, row, now)
    return row


def _snapshots(body: Mapping[str, Any]) -> set[str]:
    plans = [plan for step in body["steps"].values() for plan in step["parts"]]
    return {plan["spec"]["snapshot"]["digest"] for plan in plans if plan["spec"].get("snapshot")}


def _round(session: Session, workflow: str, wait_s: float) -> tuple[Problem, ...]:
    problems = make_round(session, "dispatch", jobs=_live_jobs(session, workflow), wait_s=wait_s)
    return problems + _fetched(session, workflow)


def _fetched(session: Session, workflow: str) -> tuple[Problem, ...]:
    return fetch(session, [row.id for row in session.store.workflows.jobs(workflow)])


def _live_jobs(session: Session, workflow: str) -> list[str]:
    store = session.store
    gangs = [store.gang(row.gang) if row.gang is not None else [row] for row in store.workflows.jobs(workflow)]
    return [rank.id for ranks in gangs for rank in ranks if not rank.finished]


def _patience_s(session: Session, workflow: str) -> float:
    rows = session.store.workflows.jobs(workflow)
    return 15.0 + max((float(row.spec.get("grace_s") or 0.0) for row in rows), default=0.0)


def _picture(
    session: Session, workflow: str
) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str], Mapping[str, str]]:
    """Needs, what is said of each step, and its state, of a workflow in the store or of a file."""
    from pathlib import Path

    if "/" in workflow or workflow.endswith((".yml", ".yaml")) or Path(workflow).is_file():
        from stoker.operations.workflow_file import read

        steps = read(workflow, {}).steps
        said = {key: f"{len(step.combinations())} jobs" if step.matrix else "" for key, step in steps.items()}
        return {key: step.needs for key, step in steps.items()}, said, {}
    view: Workflow = workflow_of(session, _known(session, workflow))
    jobs = {key: [job for job in view.jobs if job.step == key] for key in view.needs}
    return (
        view.needs,
        {key: workflow_drawing.in_words(found) for key, found in jobs.items()},
        {key: workflow_drawing.step_state(found) for key, found in jobs.items()},
    )


def _known(session: Session, workflow: str) -> WorkflowRow:
    row = session.store.workflows.get(workflow) if workflow else None
    if row is None:
        hint = near(workflow, [known.id for known in session.store.workflows.page(limit=1000)])
        raise NotFound(f"there is no workflow {workflow!r}.{hint}", next_step="stoker workflow list shows them")
    return row
