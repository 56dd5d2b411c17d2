"""What the state of a rented machine means for the jobs on it: lost where the provider's word proves it, or drained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from stoker.dispatch.apply import apply_change
from stoker.dispatch.model import Change
from stoker.dispatch.provider import Word, take_word
from stoker.dispatch.states import MOST_MOVES
from stoker.rented.lifecycle import FETCH, LOSSES
from stoker.store.rows import LIVE_STATES

if TYPE_CHECKING:
    from stoker.operations.rented_look import Look
    from stoker.pool_settings import Pool
    from stoker.store import AlertRow, Store
    from stoker.store.instance_rows import InstanceRow

# How keys of these alerts begin; the instance follows.
KEY = "rented:"
# In these nothing runs on a machine. Of one that is offline, frozen or not listed that is not known.
_ENDED = ("stopped", "outbid", "exited", "failed", "gone")


def words(rows: Iterable[InstanceRow], look: Look, pools: Mapping[str, Pool]) -> list[Word]:
    """The provider's words that prove the end of what ran on machines, each with the time at which it was asked."""
    found = []
    for row in rows:
        if row.node is None:
            continue
        seen = look.seen(row)
        pool = pools.get(row.pool)
        moves = pool.max_respawns if pool is not None else MOST_MOVES
        if row.phase == "gone" and row.ended_at is not None:
            told = f"the provider says that its machine {row.provider_id} is gone: {row.evidence}"
            if row.problem in LOSSES and row.problem != "gone":
                told = f"the provider said that its machine was {row.problem}, and now that it is gone: {row.evidence}"
            found.append(Word(row.node, row.ended_at, told, True, moves))
        elif seen is not None and seen.phase in _ENDED and row.live:
            what = row.problem if row.problem in LOSSES else seen.phase
            told = f"the provider says that its machine {row.provider_id} is {what}: {seen.evidence}"
            found.append(Word(row.node, seen.at, told, False, moves))
    return found


def take(store: Store, rows: Sequence[InstanceRow], look: Look, pools: Mapping[str, Pool], now: float) -> list[Change]:
    """Write down what the provider's words prove of attempts that may be under way. Returns the losses."""
    newest = store.newest_attempts(job.id for job in store.jobs(states=LIVE_STATES) if job.attempt)
    live = {attempt.node for attempt in newest if attempt.live}
    concerned = [word for word in words(rows, look, pools) if word.node in live]
    made: list[Change] = []
    for word in concerned:
        with store.write() as transaction:
            made += take_word(transaction, word, now)
    return made


def results(store: Store, rows: Sequence[InstanceRow], pools: Mapping[str, Pool], now: float) -> None:
    """Write down that results are lost which lay on machines that are gone: nobody can fetch them any more."""
    gone = {row.node: row for row in rows if row.phase == "gone" and row.node is not None}
    for job in store.due.jobs() if gone else ():
        row = gone.get(str(job.node))
        # Of somebody who is fetching them just now it is known when he gives up.
        claimed = store.due.claim(job.id, now=now) if row is not None else None
        if row is None or claimed is None:
            continue
        how = row.problem if row.problem in LOSSES else "destroyed"
        why = f"lost: {row.node} is gone ({how}), and they were on it alone"
        pool = pools.get(row.pool)
        if row.problem == "exited" and row.wish != FETCH and pool is not None and not pool.fetch_after_exit:
            why += f"; with pools.{row.pool}.fetch_after_exit: true it would have been started once more for them"
        told = {**(claimed.results or {}), "problem": why, "lost": True}
        store.due.put(claimed, told, due=False, lost=why, now=now)


def drain(store: Store, row: InstanceRow, why: str, *, stop: bool, now: float) -> None:
    """Have the job of a machine end, with time to write a checkpoint; it goes on elsewhere, or is over (`stop`)."""
    with store.write() as transaction:
        for attempt in transaction.attempts_of_now(LIVE_STATES):
            job = transaction.job(attempt.job_id) if attempt.node == row.node and attempt.live else None
            if job is None or job.stop_requested is not None:
                continue
            if stop:
                store.request_stop(job.id, why, now=now, within=transaction)
            elif job.put_back is None:
                values = {"put_back": why, "updated_at": now}
                apply_change(transaction, Change(job, values, event="job.put_back", data={"reason": why}), now)


def fail(store: Store, job_id: str, why: str, now: float) -> None:
    """End a job that waits and can get no machine any more."""
    with store.write() as transaction:
        job = transaction.job(job_id)
        if job is None or job.finished or job.node is not None:
            return
        values = {"state": "failed", "reason": "start", "detail": why, "ended_at": now, "updated_at": now}
        data = {"from": job.state, "to": "failed", "reason": "start", "evidence": why}
        apply_change(transaction, Change(job, values, event="job.failed", data=data), now)


def tell(store: Store, alerts: Mapping[str, AlertRow], now: float) -> None:
    """Raise alerts, by instance, and clear those of which the reason is gone. One that stays is told once."""
    if not alerts and not any(alert.key.startswith(KEY) for alert in store.samples.alerts()):
        return
    with store.write() as transaction:
        raised = {alert.key: alert for alert in transaction.alerts() if alert.key.startswith(KEY)}
        for alert in alerts.values():
            if alert.key not in raised:
                transaction.raise_alert(alert)
        wanted = {alert.key for alert in alerts.values()}
        for key, alert in raised.items():
            if key not in wanted:
                transaction.clear_alert(alert, now, "it is settled")
