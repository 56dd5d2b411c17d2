"""Signals to running jobs."""

from __future__ import annotations

from stoker.errors import NodeError, UsageError
from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import Signalled
from stoker.operations.views import job_of


@operation("jobs", "signal", "operate", destroys=True)
def signal(session: Session, job: str, name: str) -> Signalled:
    """Send a signal to those processes of a running job that handle it, to have a checkpoint written for example.

    A process that does not handle it gets none: it would only end it.

    Args:
        job: Id of the job, or the beginning of it.
        name: The signal (USR1).
    """
    from ansible_collections.stoker.fleet.plugins.module_utils.forms import SIGNAL

    wanted = name.upper().removeprefix("SIG")
    if wanted not in SIGNAL["enum"]:
        raise UsageError(f"{name!r} is not a signal for this", next_step=f"one of {', '.join(SIGNAL['enum'])}")
    row = job_row(session, job)
    if job_of(session, row).finished or row.node is None:
        raise UsageError(f"{row.id} is {row.state}: only a running job gets signals", next_step=f"stoker job {row.id}")
    order = {"order": "signal", "job": row.id, "attempt": row.attempt, "signal": wanted}
    request = {"op": "reconcile", "orders": [order], "observe": {"jobs": []}}
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, [row.node])
    for problem in problems:
        raise NodeError(row.node, problem.message, next_step=problem.next_step)
    if row.node not in answers:
        raise NodeError(row.node, "it gave no answer")
    (told,) = answers[row.node].res["reply"]["orders"]
    if not told["ok"]:
        raise NodeError(row.node, told["error"]["message"], next_step=told["error"].get("next"))
    return Signalled(row.id, row.attempt, row.node, wanted)
