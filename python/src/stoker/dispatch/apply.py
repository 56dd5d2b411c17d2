"""Writing decided changes down: the one place where a job's row changes in a round."""

from __future__ import annotations

from stoker.dispatch.model import Change
from stoker.dispatch.states import TransitionError, check_job
from stoker.store import Transaction
from stoker.store.queues import pause

_FAILURES = frozenset({"failed", "lost", "dead"})


def apply_change(transaction: Transaction, change: Change, now: float) -> bool:
    """Write one change and its event. False, and nothing written, when the job is no longer as it was seen.

    Raises TransitionError for a change that the table of states does not know, or that history would not tell.
    """
    job = change.seen
    after = str(change.values.get("state", job.state))
    check_job(job.state, after)
    if after != job.state and change.event is None:
        raise TransitionError(f"the way of {job.id} from {job.state} to {after} has no event")
    if change.values and not transaction.change_job(job, change.values):
        return False
    if change.attempt is not None and change.claim:
        transaction.add_attempt({"job_id": job.id, "number": change.attempt, **change.attempt_values})
    elif change.attempt is not None:
        transaction.change_attempt(job.id, change.attempt, change.attempt_values)
    if change.event is not None:
        node = change.attempt_values.get("node") or job.node
        attempt = change.attempt or job.attempt or None
        transaction.event(change.event, now, job=job.id, attempt=attempt, node=node, data=change.data)
    if job.queue is not None and change.values.get("state") in _FAILURES:
        queue = transaction.queue(job.queue)
        if queue is not None and queue.stop_on_failure:
            pause(transaction, queue, f"{job.id} {change.values['state']}", now)
    return True
