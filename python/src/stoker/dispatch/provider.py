"""The provider's word as proof: a machine that it says is stopped or gone runs nothing any more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoker.dispatch.apply import apply_change
from stoker.dispatch.gang import ends
from stoker.dispatch.model import Change
from stoker.dispatch.observations import ended_unseen
from stoker.store import LIVE_STATES, AttemptRow, JobRow, Transaction


@dataclass(frozen=True)
class Word:
    """What the provider said of the machine behind a node, when it was asked at `at` (Unix seconds).

    `told` is its sentence. `gone`: the machine will not come back; otherwise its disk is kept, and it may be started
    again. After a loss a job goes elsewhere up to `moves` times without using up a retry.
    """

    node: str
    at: float
    told: str
    gone: bool
    moves: int


def proven_lost(job: JobRow, attempt: AttemptRow, word: Word, now: float) -> Change | None:
    """The loss of an attempt that began before the provider said that its machine does not run; None: no proof of it.

    One that was claimed while the provider was asked, or later, may run on a machine that was started again.
    """
    if attempt.node != word.node or not attempt.live or attempt.number != job.attempt or attempt.claimed_at >= word.at:
        return None
    change = ended_unseen(job, attempt, "lost", "provider", word.told, now, moves=word.moves)
    # What is started again must not go on with it: its job may be elsewhere by then.
    return change if word.gone else replace(change, attempt_values={**change.attempt_values, "stop_due": True})


def take_word(transaction: Transaction, word: Word, now: float) -> list[Change]:
    """Write down what a word proves: attempts of that machine are lost, and its node is away. Returns the losses."""
    made = []
    for row in transaction.attempts_of_now(LIVE_STATES):
        # Read again: a rank of the same gang may have changed it.
        job = transaction.job(row.job_id) if row.node == word.node else None
        attempt = transaction.attempt(job.id, job.attempt) if job is not None else None
        change = proven_lost(job, attempt, word, now) if job is not None and attempt is not None else None
        changes = [change] if change is not None else []
        if job is not None and job.gang is not None:
            changes = ends(changes, transaction.gang(job.gang), now)
        made += [each for each in changes if apply_change(transaction, each, now) and each.event]
    for row in transaction.attempts_to_end() if word.gone else ():
        if row.node == word.node:
            transaction.change_attempt(row.job_id, row.number, {"stop_due": None})
    _mark_away(transaction, word, now)
    return made


def _mark_away(transaction: Transaction, word: Word, now: float) -> None:
    node = next((node for node in transaction.nodes() if node.name == word.node), None)
    if node is None or (node.unreachable_message == word.told and node.offline_since is not None):
        return
    since, off = node.unreachable_since or now, node.offline_since or now
    transaction.put_node(replace(node, unreachable_since=since, unreachable_message=word.told, offline_since=off))
    if node.offline_since is None:
        data = {"misses": node.misses, "since": since, "message": word.told}
        transaction.event("node.offline", now, node=node.name, data=data)
