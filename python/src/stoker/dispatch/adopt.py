"""Reading jobs back from the nodes: what a store that was lost, or never had them, can know again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from stoker.dispatch.model import RoundSummary
from stoker.dispatch.observations import Answer, attempt_values
from stoker.errors import UsageError
from stoker.store import JobRow, Store, Transaction
from stoker.store.store import checked_spec, refuse_secrets

Found = tuple[str, Mapping[str, Any]]  # node, observation


def adopt(store: Store, answers: Sequence[Answer], now: float, summary: RoundSummary) -> None:
    """Add the jobs and attempts of `answers` that the store lacks; one transaction per job.

    A job id that the store, or another node, has with another uid is reported as a conflict and left alone.
    """
    found: dict[str, list[Found]] = defaultdict(list)
    for answer in answers:
        for (job_id, _), observation in sorted(answer.seen.items()):
            found[job_id].append((answer.node, observation))
    for job_id, seen in sorted(found.items()):
        seen.sort(key=lambda item: int(item[1]["attempt"]))
        try:
            with store.write() as transaction:
                if _adopt(transaction, job_id, seen, now):
                    summary.adopted.append(job_id)
        except UsageError as problem:
            summary.conflicts[job_id] = problem.message


def _adopt(transaction: Transaction, job_id: str, seen: Sequence[Found], now: float) -> bool:
    """Whether anything was added. Raises UsageError with the reason why the job cannot be adopted."""
    nodes = ", ".join(sorted({node for node, _ in seen}))
    uids = {observation.get("uid") for _, observation in seen}
    known = transaction.job(job_id)
    if len(uids) > 1 or None in uids:
        raise UsageError(f"{nodes} have different jobs called {job_id}")
    if known is not None and known.uid not in uids:
        raise UsageError(f"the store has another job called {job_id}, not the one on {nodes}")
    if known is None:
        _add_job(transaction, job_id, seen, now)
        new = list(seen)
    else:
        new = [item for item in seen if transaction.attempt(job_id, int(item[1]["attempt"])) is None]
        _move_on(transaction, known, new, now)
    for node, observation in new:
        values = attempt_values(observation, now, now)
        transaction.add_attempt(
            {
                "job_id": job_id, "number": int(observation["attempt"]), "node": node, "log_start": 0, "log_end": 0,
                "claimed_at": values["queued_at"] or now, **values,
            }
        )  # fmt: skip
    return bool(new)


def _add_job(transaction: Transaction, job_id: str, seen: Sequence[Found], now: float) -> None:
    node, newest = seen[-1]
    spec = newest.get("spec")
    if not isinstance(spec, Mapping):
        raise UsageError(f"{node} did not tell what {job_id} runs")
    refuse_secrets(spec)
    spec = checked_spec(spec)
    if (spec["job"], spec["uid"]) != (job_id, newest["uid"]):
        raise UsageError(f"what {node} tells of {job_id} is the spec of another job")
    data = {"to": newest["state"], "evidence": newest.get("evidence")}
    number = transaction.event("job.adopted", now, job=job_id, attempt=int(newest["attempt"]), node=node, data=data)
    began = attempt_values(seen[0][1], now, now)["queued_at"]
    transaction.add_job(
        {
            "id": job_id, "uid": spec["uid"], "number": number, "name": spec.get("name") or job_id, "spec": spec,
            "target": node, "max_retries": 0, "retries_used": 0, "priority": 0, "created_at": began or now,
            **_newest(node, newest, now),
        }
    )  # fmt: skip


def _move_on(transaction: Transaction, known: JobRow, new: Sequence[Found], now: float) -> None:
    """Bring a known job up to a newer attempt than the store knows of (the store was restored from an older copy)."""
    newer = [item for item in new if int(item[1]["attempt"]) > known.attempt]
    if not newer:
        return
    node, newest = newer[-1]
    current = transaction.attempt(known.id, known.attempt)
    if current is not None and current.live and current.node != node:
        here = f"attempt {known.attempt} may be alive on {current.node}"
        raise UsageError(f"{node} has attempt {newest['attempt']} of {known.id}, while {here}")
    transaction.change_job(known, _newest(node, newest, now))
    data = {"from": known.state, "to": newest["state"], "evidence": newest.get("evidence")}
    transaction.event("job.adopted", now, job=known.id, attempt=int(newest["attempt"]), node=node, data=data)


def _newest(node: str, observation: Mapping[str, Any], now: float) -> dict[str, Any]:
    values = attempt_values(observation, now, now)
    taken = ("state", "reason", "detail", "started_at", "ended_at", "elapsed_s", "exit_code", "signal")
    return {
        "attempt": int(observation["attempt"]), "node": node, "not_before": None, "updated_at": now,
        **{name: values[name] for name in taken},
    }  # fmt: skip
