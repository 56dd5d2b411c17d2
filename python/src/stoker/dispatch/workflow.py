"""What comes next in a workflow: which jobs to make, what to skip, how it ended. Pure: no clock, no I/O.

The body of a workflow, as `stoker.operations.workflow_file` writes it:

    context     values by name
    steps       by key, in the order of the file: needs [keys], when (a condition, or null), judged [keys that `when`
                judges], allow_failure, max_parallel (or null), many (it has a matrix), outputs [names], parts
    parts       the jobs of a step: matrix {name: value}, spec (a stoker.spec/1), later (see `fill`), and what else a
                job is added with: name, target, retries, retry_on, template, results, queue, priority
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stoker.dispatch.expressions import ExpressionError, holds, inserted
from stoker.store import AttemptRow, JobRow, PartRow, WorkflowRow

Key = tuple[str, int]
# How a job's end counts for the steps that follow.
_OUTCOME = {
    "succeeded": "succeeded", "failed": "failed", "lost": "failed", "dead": "failed", "cancelled": "cancelled",
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """A job to make for a part: its spec, and how it is added."""

    part: PartRow
    spec: Mapping[str, Any]
    plan: Mapping[str, Any]


@dataclass(frozen=True)
class Advance:
    """What to do about a workflow: parts that changed, jobs to make, jobs to stop, and the state that it then has."""

    changed: Sequence[PartRow] = ()
    starts: Sequence[Start] = ()
    stops: Sequence[str] = ()
    state: str = "running"


@dataclass
class _Flow:
    """A workflow while it is looked at. `parts` are as they will be."""

    workflow: WorkflowRow
    parts: dict[Key, PartRow]
    changed: dict[Key, PartRow] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)

    @property
    def steps(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.workflow.body["steps"]
        return found

    def of(self, step: str) -> list[PartRow]:
        return [self.parts[step, number] for number in range(len(self.steps[step]["parts"]))]

    def put(self, part: PartRow, **values: Any) -> None:
        new = replace(part, **values)
        self.parts[part.step, part.part] = self.changed[part.step, part.part] = new


def advance(workflow: WorkflowRow, parts: Sequence[PartRow], jobs: Mapping[str, JobRow]) -> Advance:
    """Decide what follows. `parts` are all of the workflow; their results are those of `ended` jobs already.

    `jobs` are the jobs of its running parts. A step is begun when all that it needs is over, and at most once: a part
    that has a job, or an outcome, is never given another one.
    """
    flow = _Flow(workflow, {(part.step, part.part): part for part in parts})
    for step in in_order(flow.steps):
        waiting = [part for part in flow.of(step) if part.state == "waiting"]
        if workflow.stop_requested:
            for part in waiting:
                flow.put(part, state="cancelled", detail="the workflow was cancelled")
        elif waiting and all(part.over for need in flow.steps[step]["needs"] for part in flow.of(need)):
            _begin(flow, step, waiting)
    live = [part for part in flow.parts.values() if part.state == "running"]
    stops = [str(part.job_id) for part in live if workflow.stop_requested and _stoppable(jobs.get(str(part.job_id)))]
    return Advance(tuple(flow.changed.values()), tuple(flow.starts), stops, _state(flow))


def ended(part: PartRow, job: JobRow | None, attempt: AttemptRow | None) -> PartRow:
    """A running part whose `job` is over; None: the job is no longer in the store. `attempt` is its newest."""
    if job is None:
        return replace(
            part, state="failed", detail=f"its job {part.job_id} was removed from the store before it was seen"
        )
    seen = (attempt.observation if attempt is not None else None) or {}
    result = {
        "job_state": job.state, "reason": job.reason, "exit_code": job.exit_code, "signal": job.signal,
        "node": job.node, "elapsed_s": job.elapsed_s, "started_at": job.started_at, "ended_at": job.ended_at,
        "outputs": dict(seen.get("outputs") or {}), "stdout": seen.get("tail"),
    }  # fmt: skip
    return replace(part, state=_OUTCOME[job.state], detail=job.detail, result=result)


def resumed(workflow: WorkflowRow, parts: Iterable[PartRow]) -> list[PartRow]:
    """The parts that are to be done again when a workflow that is over goes on; what succeeded is left as it is."""
    again = []
    for part in parts:
        allowed = part.state == "failed" and workflow.body["steps"][part.step]["allow_failure"]
        if part.state != "succeeded" and not allowed:
            again.append(replace(part, state="waiting", job_id=None, detail=None, result=None))
    return again


def in_order(steps: Mapping[str, Any]) -> list[str]:
    """The keys of the steps, each behind all that it needs."""
    order: dict[str, None] = {}
    left = dict(steps)
    while left:
        ready = [key for key, step in left.items() if all(need in order for need in step["needs"])]
        if not ready:
            raise ValueError(f"the steps {', '.join(left)} need each other")
        for key in ready:
            order[key] = None
            del left[key]
    return list(order)


def ancestors(steps: Mapping[str, Any], step: str) -> list[str]:
    """All that a step needs, and what these need, in the order of the file."""
    found: set[str] = set()
    todo = list(steps[step]["needs"])
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += steps[key]["needs"]
    return [key for key in steps if key in found]


def outcome(parts: Sequence[PartRow]) -> str:
    """The state of a step whose parts are all over."""
    states = [part.state for part in parts]
    for state in ("failed", "cancelled", "succeeded"):
        if state in states:
            return state
    return "skipped"


def fill(plan: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a part with the values that were not known before. Raises ExpressionError.

    `later` names the texts that hold expressions, `["argv", 3]` or `["env", "DATA"]`: a value that was put in before is
    never looked through.
    """
    spec = {**plan["spec"]}
    for field_name, key in plan["later"]:
        spec[field_name] = list(spec[field_name]) if field_name == "argv" else dict(spec[field_name])
        spec[field_name][key] = inserted(spec[field_name][key], values)
    return spec


def _begin(flow: _Flow, step: str, waiting: Sequence[PartRow]) -> None:
    definition = flow.steps[step]
    lack = _lack(flow, step)
    if lack is not None:
        for part in waiting:
            flow.put(part, state="skipped", detail=lack)
        return
    room = len(waiting)
    if definition["max_parallel"] is not None:
        room = definition["max_parallel"] - sum(part.state == "running" for part in flow.of(step))
    known = {key: _known(flow, key) for key in ancestors(flow.steps, step)}
    for part in waiting:
        if room <= 0:
            return
        plan = definition["parts"][part.part]
        values = {"parent": known, "context": flow.workflow.body["context"], "matrix": plan["matrix"]}
        try:
            if definition["when"] is not None and not holds(definition["when"], values):
                flow.put(part, state="skipped", detail=f"its condition is false: {definition['when']}")
                continue
            start = Start(part, fill(plan, values), plan)
        except ExpressionError as problem:
            flow.put(part, state="failed", detail=f"it could not be begun: {problem}")
            continue
        flow.starts.append(start)
        flow.parts[step, part.part] = replace(part, state="running")
        room -= 1


def _lack(flow: _Flow, step: str) -> str | None:
    """Why a step is skipped whose needs are over; None: it is not. What its condition judges is left to that."""
    definition = flow.steps[step]
    for need in definition["needs"]:
        state = outcome(flow.of(need))
        fine = state == "succeeded" or (state == "failed" and flow.steps[need]["allow_failure"])
        if not fine and need not in definition["judged"]:
            return f"{need} was {state}" if state in ("skipped", "cancelled") else f"{need} {state}"
    return None


def _known(flow: _Flow, step: str) -> dict[str, Any]:
    """What an expression sees of a step that is over."""
    definition, parts = flow.steps[step], flow.of(step)
    results = [part.result or {} for part in parts]
    codes = [_exit_code(result) for result in results]
    texts: dict[str, Any] = {
        "stdout": [result.get("stdout") for result in results],
        **{name: [(result.get("outputs") or {}).get(name) for result in results] for name in definition["outputs"]},
    }
    if not definition["many"]:
        texts = {name: found[0] for name, found in texts.items()}
    return {
        "state": outcome(parts),
        # Of several the first that is not 0, so that 0 means that all of them gave it.
        "exit_code": next((code for code in codes if code != 0), 0),
        "stdout": texts["stdout"],
        "outputs": {name: texts[name] for name in definition["outputs"]},
    }


def _exit_code(result: Mapping[str, Any]) -> int | None:
    """The code as a shell has it; None where there was none."""
    if result.get("exit_code") is None and result.get("signal") is not None:
        return 128 + int(result["signal"])
    return result.get("exit_code")


def _stoppable(job: JobRow | None) -> bool:
    return job is not None and not job.finished and job.stop_requested is None


def _state(flow: _Flow) -> str:
    if not all(part.over for part in flow.parts.values()):
        return "running"
    states = {
        part.state
        for part in flow.parts.values()
        if not (part.state == "failed" and flow.steps[part.step]["allow_failure"])
    }
    first = ("cancelled", "failed") if flow.workflow.stop_requested else ("failed", "cancelled")
    return next((state for state in first if state in states), "succeeded")
