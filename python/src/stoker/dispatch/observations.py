"""From what a node answered to what changes: pure rules, one job at a time.

Evidence moves an attempt, and only forward; silence moves nothing. An attempt whose number is not the job's own is
history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoker.dispatch.leases import Clock, lease_of, longest_s, surely_over
from stoker.dispatch.model import Change, NodeResult, State
from stoker.dispatch.states import ATTEMPT_TRANSITIONS, MOST_MOVES, after_end, follows
from stoker.errors import NodeError
from stoker.store import GANG_AGAIN, GANG_OVER, LIVE_STATES, AttemptRow, JobRow

# After these a further attempt follows.
AGAIN = frozenset({"job.retry", "job.moved", "job.requeued"})


@dataclass(frozen=True)
class Answer:
    """One node's reply, made ready for looking up. `asked` are the jobs it was asked about; None: not known which."""

    node: str
    seen: Mapping[tuple[str, int], Mapping[str, Any]]
    orders: Mapping[tuple[str, str, int], Mapping[str, Any]]
    facts: Mapping[str, Any]
    logs: Mapping[str, Mapping[str, Any]]
    asked: frozenset[str] | None

    @classmethod
    def read(cls, node: str, result: NodeResult) -> Answer:
        """Check a reply's schema. Raises NodeError for one that cannot be used."""
        from ansible_collections.stoker.fleet.plugins.module_utils.schemas import SchemaError, check_version

        reply = result.reply or {}
        try:
            observations = [dict(item) for item in reply.get("attempts") or ()]
            facts, logs = dict(reply.get("node") or {}), dict(reply.get("logs") or {})
            check_version(dict(reply), "stoker.reply", reader="this controller", sender=node)
            for observation in observations:
                check_version(observation, "stoker.observation", reader="this controller", sender=node)
                if observation.get("state") not in ATTEMPT_TRANSITIONS:
                    raise SchemaError("bad_request", f"an attempt is said to be {observation.get('state')!r}")
            seen = {(str(item["job"]), int(item["attempt"])): item for item in observations}
            orders = {_order_key(item): item for item in reply.get("orders") or () if item.get("attempt") is not None}
        except (SchemaError, KeyError, TypeError, ValueError, AttributeError) as problem:
            raise NodeError(node, f"its answer cannot be used: {problem}") from problem
        asked = ((result.request or {}).get("observe") or {}).get("jobs")
        return cls(
            node, seen, orders, facts, logs,
            frozenset(asked) if isinstance(asked, list | tuple) else None,
        )  # fmt: skip

    def jobs(self) -> set[str]:
        """Every job that the answer says something about, or that it was asked about."""
        return {job for job, _ in self.seen} | {job for _, job, _ in self.orders} | set(self.asked or ())

    def numbers(self, job_id: str) -> set[int]:
        """The attempts of one job that the answer says something about."""
        seen = {number for job, number in self.seen if job == job_id}
        return seen | {number for _, job, number in self.orders if job == job_id}


def _order_key(order: Mapping[str, Any]) -> tuple[str, str, int]:
    return str(order.get("order")), str(order.get("job")), int(order["attempt"])


def apply_observations(state: State, answers: Sequence[Answer], now: float) -> list[Change]:
    """All changes that `answers` bring to the jobs of `state`."""
    changes: list[Change] = []
    for job in state.jobs:
        attempt = state.attempts.get(job.id)
        attempts = {attempt.number: attempt} if attempt is not None else {}
        for answer in answers:
            changes.extend(judge(job, attempts, answer, now))
    return changes


def judge(job: JobRow, attempts: Mapping[int, AttemptRow], answer: Answer, now: float) -> list[Change]:
    """What one node's answer changes of one job, whose attempts are `attempts` by number. `now` is Unix seconds."""
    current = attempts.get(job.attempt)
    changes = list(_history(job, attempts, answer, now))
    if current is None or not current.live or current.node != answer.node:
        return changes
    change = _current(job, current, answer, now)
    return [*changes, change] if change is not None else changes


def _current(job: JobRow, attempt: AttemptRow, answer: Answer, now: float) -> Change | None:
    observation = _own(job, attempt.number, answer)
    stop = answer.orders.get(("stop", job.id, attempt.number))
    if observation is not None:
        return _observed(job, attempt, observation, stop, now)
    start = answer.orders.get(("start", job.id, attempt.number))
    if start is not None and (start.get("error") or {}).get("code") == "late_order":
        return None  # it was under way for too long, and is ordered again
    if start is not None and (start.get("error") or {}).get("code") == "bad_checkpoint":
        return _without_checkpoint(job, attempt, start, now)
    if start is not None and not start.get("ok"):
        return ended_unseen(job, attempt, "failed", "start", _words(answer.node, start), now)
    if stop is not None and (stop.get("error") or {}).get("code") == "unknown_job":
        return _nothing_to_stop(job, attempt, now)
    if start is not None:
        return Change(job, attempt=attempt.number, attempt_values={"confirmed_at": attempt.confirmed_at or now})
    if attempt.confirmed_at is None or answer.asked is None or job.id not in answer.asked:
        return None
    return _forgotten(job, attempt, answer, now)


def _own(job: JobRow, number: int, answer: Answer) -> Mapping[str, Any] | None:
    """The observation of this job's attempt; not that of another job which has the same id."""
    observation = answer.seen.get((job.id, number))
    return observation if observation is not None and observation.get("uid") in (None, job.uid) else None


def _observed(
    job: JobRow, attempt: AttemptRow, observation: Mapping[str, Any], stop: Mapping[str, Any] | None, now: float
) -> Change | None:
    state = str(observation["state"])
    if not follows(attempt.state, state):
        return None  # an answer that another controller's newer one has overtaken
    reason = _text(observation, "reason")
    values = attempt_values(observation, now, attempt.confirmed_at)
    job_values: dict[str, Any] = {
        "state": state, "reason": reason, "updated_at": now,
        "detail": _detail(observation, attempt.node) or _why_it_stops(job, state),
        **{name: values[name] for name in ("started_at", "ended_at", "elapsed_s", "exit_code", "signal")},
    }  # fmt: skip
    if stop is not None and stop.get("ok") and job.stop_ordered_at is None:
        job_values["stop_ordered_at"] = now
    event = f"job.{state}"
    if state not in LIVE_STATES:
        event, end = after_end(job, state, reason, now, exit_code=values["exit_code"], signal=values["signal"])
        job_values.update(end)
    if job_values["state"] == job.state and event not in AGAIN:
        return Change(job, job_values, attempt.number, values)
    data = {"from": job.state, "to": job_values["state"], "attempt_state": state, "reason": reason,
            "evidence": observation.get("evidence"), "exit_code": values["exit_code"]}  # fmt: skip
    return Change(job, job_values, attempt.number, values, event=event, data=data)


def ended_unseen(
    job: JobRow, attempt: AttemptRow, state: str, reason: str | None, detail: str, now: float, *,
    moves: int = MOST_MOVES,
) -> Change:  # fmt: skip
    """The end of an attempt that nothing was seen of. `moves`: see `after_end`."""
    event, end = after_end(job, state, reason, now, moves=moves)
    values = {"ended_at": now, "updated_at": now, "detail": detail, **end}
    of_attempt = {"state": state, "reason": reason, "detail": detail, "ended_at": now}
    data = {"from": job.state, "to": values["state"], "attempt_state": state, "reason": reason, "evidence": detail}
    return Change(job, values, attempt.number, of_attempt, event=event, data=data)


def _without_checkpoint(job: JobRow, attempt: AttemptRow, start: Mapping[str, Any], now: float) -> Change:
    """The checkpoint that it was to go on from is of no use: the next attempt takes the one before."""
    why = str((start.get("error") or {}).get("message") or "its checkpoint is damaged")
    return ended_unseen(replace(job, put_back=why), attempt, "cancelled", None, why, now)


def _nothing_to_stop(job: JobRow, attempt: AttemptRow, now: float) -> Change:
    if attempt.confirmed_at is None:
        return ended_unseen(job, attempt, "cancelled", None, f"stopped before it began on {attempt.node}", now)
    detail = f"stopped, but {attempt.node} has no folder of it any more: how it ended cannot be known"
    return ended_unseen(job, attempt, "lost", None, detail, now)


def _forgotten(job: JobRow, attempt: AttemptRow, answer: Answer, now: float) -> Change | None:
    """The node once knew the attempt and now has no folder of it. That alone proves nothing about its processes."""
    before = (attempt.observation or {}).get("boot_id")
    boot = (answer.facts.get("boot") or {}).get("boot_id")
    if before and boot and before != boot:
        detail = f"{answer.node} booted since, and has no folder of it any more"
        return ended_unseen(job, attempt, "lost", "reboot", detail, now)
    detail = f"{answer.node} has no folder of it any more: whether it still runs cannot be known"
    if job.detail == detail:
        return None
    return Change(job, {"detail": detail, "updated_at": now}, event="job.forgotten", data={"evidence": detail})


def _history(job: JobRow, attempts: Mapping[int, AttemptRow], answer: Answer, now: float) -> Iterator[Change]:
    """Late news of attempts that are over for the store: kept on their rows, the job stays as it is."""
    for number, row in attempts.items():
        if row.node != answer.node or (number == job.attempt and row.live):
            continue
        observation = _own(job, number, answer)
        if observation is None:
            if row.stop_due and _unknown(answer, job, number):
                yield Change(job, attempt=number, attempt_values={"stop_due": None})
            continue
        values = attempt_values(observation, now, row.confirmed_at)
        if not row.live:
            values = {name: values[name] for name in ("observation", "observed_at", "confirmed_at")}
        if row.stop_due and observation["state"] not in LIVE_STATES:
            values["stop_due"] = None
        known = (row.observation or {}).get("state") or row.state
        if observation["state"] != known:
            data = {"from": known, "to": observation["state"], "evidence": observation.get("evidence")}
            # The event is told of its own node, not of the one where the job went.
            values["node"] = row.node
            yield Change(job, attempt=number, attempt_values=values, event="attempt.late", data=data)
        elif "stop_due" in values:
            yield Change(job, attempt=number, attempt_values=values)


def _unknown(answer: Answer, job: JobRow, number: int) -> bool:
    stop = answer.orders.get(("stop", job.id, number)) or {}
    return (stop.get("error") or {}).get("code") == "unknown_job"


def left_behind(job: JobRow, attempt: AttemptRow, clock: Clock | None, now: float) -> Change | None:
    """The loss of an attempt on a node that could not be asked just now, when its lease has surely run out."""
    lease = lease_of(job, attempt)
    if lease is None or not surely_over(lease, job, clock):
        return None
    detail = (
        f"{attempt.node} cannot be asked, and nobody renewed the lease of {lease.seconds:.0f} s for more than "
        f"{longest_s(lease.seconds, job.spec):.0f} s: the node has ended it by then"
    )
    change = ended_unseen(job, attempt, "lost", "expired", detail, now)
    return replace(change, attempt_values={**change.attempt_values, "stop_due": True})


def given_up(job: JobRow, attempt: AttemptRow, message: str, now: float) -> Change:
    """The end that a user declares of a job whose node cannot be asked: nothing proves it, and no other one follows."""
    detail = f"given up: {attempt.node} cannot be asked ({message}), and what became of it there is not known"
    change = ended_unseen(job, attempt, "lost", None, detail, now)
    return replace(change, attempt_values={**change.attempt_values, "stop_due": True})


def attempt_values(observation: Mapping[str, Any], now: float, confirmed_at: float | None) -> dict[str, Any]:
    """The columns of an attempt's row for what was seen of it."""
    return {
        "state": observation["state"], "reason": _text(observation, "reason"),
        "detail": _text(observation, "detail") or _text(observation, "error"),
        "exit_code": _whole(observation, "exit_code"), "signal": _whole(observation, "signal"),
        "oom": observation.get("oom") if isinstance(observation.get("oom"), bool) else None,
        **{name: _number(observation, name) for name in ("queued_at", "started_at", "ended_at", "elapsed_s")},
        "observation": {name: value for name, value in observation.items() if name != "spec"},
        "observed_at": now, "confirmed_at": confirmed_at or now,
    }  # fmt: skip


def _detail(observation: Mapping[str, Any], node: str) -> str | None:
    waiting = observation.get("waiting")
    if observation["state"] == "queued" and isinstance(waiting, Mapping):
        held = ", ".join(str(job) for job in waiting.get("held_by") or ())
        needs = waiting.get("needs")
        what = f"waits on {node} for {'a GPU' if needs == 1 else f'{needs} GPUs'}"
        closed = "".join(f"; {why}" for why in waiting.get("closed") or ())
        return (f"{what}, held by {held}" if held else what) + closed
    return _text(observation, "detail") or _text(observation, "error")


def _why_it_stops(job: JobRow, state: str) -> str | None:
    """What was said of a rank that is to end because of another one: its node does not know."""
    return job.detail if job.stop_requested in (GANG_AGAIN, GANG_OVER) and state in LIVE_STATES else None


def _words(node: str, order: Mapping[str, Any]) -> str:
    error = order.get("error") or {}
    return f"{node} refused to start it: {error.get('message') or 'no reason told'}"


def _text(observation: Mapping[str, Any], name: str) -> str | None:
    value = observation.get(name)
    return value if isinstance(value, str) else None


def _number(observation: Mapping[str, Any], name: str) -> float | None:
    value = observation.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(observation: Mapping[str, Any], name: str) -> int | None:
    value = observation.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
