"""Faults of training runs as events: a dispatcher looks at the runs of jobs now and then, when a rule wants to know."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from stoker.errors import StokerError
from stoker.notify_settings import Notify
from stoker.operations.session import Session
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.analysis.findings import Finding
    from stoker.store import EventRow, JobRow

FINDING = "run.finding"
# How long a round may be held up; the node that is asked last may take longer.
PASS_S = 15.0
# What ended longer ago is not looked at after a pause.
_LOOK_BACK_S = 86400.0
# In the store's list of who was told how far: when the last interval began (Unix seconds) in which somebody looked.
_PLACE = "@findings"


def wants(settings: Notify) -> bool:
    """Whether a rule names findings."""
    return any(fnmatchcase(FINDING, kind) for rule in settings.rules for kind in rule.events)


def note_findings(session: Session) -> tuple[Problem, ...]:
    """Look at the runs of jobs that go on, or ended just now, once in `notify.findings_s` seconds, whoever looks.

    Each finding of an attempt becomes one event. What could not be looked at is a problem, and looked at next time.
    """
    settings = session.config.notify
    if not wants(settings):
        return ()
    now, notices = time.time(), session.store.notices
    turn, every = int(now // settings.findings_s), settings.findings_s
    notices.begin([_PLACE], 0)
    last = notices.targets()[_PLACE].seen
    if not notices.reached(_PLACE, int(turn * every)):
        return ()
    running = _sorted(session.store.jobs(states=["running"]))
    # Where there is no time for all, others come first the next time.
    first = turn % len(running) if running else 0
    problems, until = [], time.monotonic() + PASS_S
    for job in _over(session, max(last, now - _LOOK_BACK_S) - every) + running[first:] + running[:first]:
        if time.monotonic() > until:
            break
        try:
            _note(session, job)
        except StokerError as problem:
            problems.append(Problem(job.node, f"the run of {job.id} was not looked at: {problem.message}"))
    return tuple(problems)


def _over(session: Session, since: float) -> list[JobRow]:
    """The jobs that ended from then on."""
    from stoker.store import FINISHED_STATES

    rows = session.store.jobs(states=FINISHED_STATES, limit=1000)
    return _sorted([row for row in rows if (row.ended_at or 0.0) >= since])


def _sorted(rows: list[JobRow]) -> list[JobRow]:
    return sorted((row for row in rows if row.node is not None), key=lambda row: row.id)


def _note(session: Session, job: JobRow) -> None:
    from stoker.analysis import remote, runs, verdict
    from stoker.analysis.errors import AnalysisError
    from stoker.operations.runs_jobs import JobRun

    # Of a job that goes on its node sends a digest; once it is over every point is worth the way.
    asked = JobRun(job.id, str(job.node), None)
    reply, seen = asked.ask(session, full=job.state != "running")
    told = {str(event.data.get("key")) for event in _noted(session, job)}
    try:
        checks = []
        for found in remote.runs_of(reply["run"], reply["observation"], seen):
            run = runs.read(found)
            checks.append((run.info.title, verdict.check(run, run.now())))
    except AnalysisError as problem:
        raise StokerError(problem.message, next_step=problem.next_step) from problem
    with session.store.write() as transaction:
        for title, check in checks:
            for finding in check.findings:
                key = f"{seen.attempt}:{title}:{finding.detector}:{finding.metric}"
                if key not in told:
                    told.add(key)
                    data = {"key": key, "run": title, **_data(finding)}
                    transaction.event(FINDING, time.time(), job=job.id, attempt=seen.attempt, node=job.node, data=data)


def _noted(session: Session, job: JobRow) -> list[EventRow]:
    return session.store.events(types=[FINDING], job_id=job.id)


def _data(finding: Finding) -> dict[str, object]:
    of = f" of {finding.metric}" if finding.metric else ""
    return {
        "reason": f"{finding.detector}{of}", "severity": finding.severity, "text": finding.says,
        "step": finding.first_step, "confidence": finding.confidence,
    }  # fmt: skip
