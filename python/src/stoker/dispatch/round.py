"""One round: what is asked of the nodes, and what is written down of their answers."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoker.dispatch import decisions
from stoker.dispatch.adopt import adopt
from stoker.dispatch.apply import apply_change
from stoker.dispatch.gang import ends
from stoker.dispatch.leases import Clock, read_clock
from stoker.dispatch.members import settle, write_down
from stoker.dispatch.membership import Rules, unasked
from stoker.dispatch.model import Change, NodeInfo, NodeResult, Plan, RoundRequest, RoundSummary, State, wishes
from stoker.dispatch.nodes import heard, misdescribed, missed, tells_more
from stoker.dispatch.observations import Answer, judge, left_behind
from stoker.dispatch.plan import plan
from stoker.dispatch.resuming import forget_lost, record_damage, resumable
from stoker.dispatch.score import SAMPLE_S, keys_of
from stoker.dispatch.telemetry import TREND_S, Limits, sample_of, trend
from stoker.dispatch.telemetry import judge as judge_sample
from stoker.dispatch.workflows import advance_workflows
from stoker.errors import NodeError, UsageError
from stoker.store import LIVE_STATES, JobRow, NodeRow, Store, Transaction

# What one node may send of logs in one round, before packing.
LOG_BYTES_PER_NODE = 4 * 1024 * 1024
_LEAST_LOG_BYTES = 16 * 1024
# For so many waiting jobs a round looks up where others ran with the same files.
SOUGHT = 20


def begin_round(
    store: Store, nodes: Sequence[NodeInfo], request: RoundRequest, now: float, *, dry_run: bool = False,
    clock: Clock | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Plan a round, claim what it starts, and return the request (stoker.request/1, op reconcile) for each node to ask.

    One transaction: when an order leaves, its attempt is in the store; two rounds at once never claim the same job.
    `dry_run` writes nothing. `clock`: this machine's, read here by default. Raises UsageError for a node that the
    inventory does not have, SupersededError when the dispatcher whose round this is leads no more, StokerError when the
    store fails.
    """
    missing = sorted(set(request.nodes or ()) - {node.name for node in nodes})
    if missing:
        raise UsageError(f"there is no node {missing[0]!r} in the inventory", next_step="stoker nodes lists them")
    with store.under(request.epoch).write() as transaction:
        if request.mode == "dispatch" and not dry_run:
            advance_workflows(store, transaction, now)
        known = (nodes, request, store, clock or read_clock(), now)
        state = _load(transaction, *known)
        if request.mode == "dispatch" and not dry_run and _record_left_alone(transaction, state, now):
            state = _load(transaction, *known)
        if request.mode == "dispatch" and not dry_run and forget_lost(store, transaction, state, now):
            state = _load(transaction, *known)
        decided = decisions.by_themselves(state, now)
        state = replace(state, members={**state.members, **{one.member.name: one.member for one in decided}})
        write_down(transaction, () if dry_run else decided, now)
        planned = plan(state, now)
        for change in () if dry_run else planned.changes:
            apply_change(transaction, change, now)
    reach = {key: end for key, (_, end) in store.log_copies.ranges().items()}
    numbers = {job.id: job.attempt for job in state.jobs}
    numbers.update({change.seen.id: change.attempt for change in planned.changes if change.attempt is not None})
    return {node: _request(node, planned, request, numbers, reach) for node in sorted(planned.observe)}


def _load(
    transaction: Transaction, nodes: Sequence[NodeInfo], request: RoundRequest, store: Store, clock: Clock | None,
    now: float,
) -> State:  # fmt: skip
    jobs = tuple(transaction.jobs(LIVE_STATES))
    waiting = [job for job in jobs if job.state == "queued" and job.node is None]
    wanted = [job for job in waiting if request.jobs is None or job.id in request.jobs]
    words = {key: text for job in wanted[:SOUGHT] for key, text in keys_of(job).items()}
    return State(
        jobs=jobs,
        attempts={attempt.job_id: attempt for attempt in transaction.attempts_of_now(LIVE_STATES)},
        nodes=tuple(nodes),
        known={node.name: node for node in transaction.nodes()},
        request=request,
        queues={queue.name: queue for queue in transaction.queues()},
        members={member.name: member for member in transaction.members()},
        snapshots=store.snapshots.here(),
        data=store.snapshots.data_here(),
        samples=transaction.recent_samples(now - SAMPLE_S) if waiting else {},
        ran_with=transaction.ran_with(words) if len(nodes) > 1 else {},
        clock=clock,
        left=tuple(transaction.attempts_to_end()),
        **resumable(store, transaction, jobs),
    )


def _request(
    node: str, planned: Plan, request: RoundRequest, numbers: Mapping[str, int], reach: Mapping[tuple[str, int], int]
) -> dict[str, Any]:
    jobs = list(planned.observe[node])
    observe: dict[str, Any] = {"jobs": jobs, "specs": False}
    if request.mode == "adopt" and request.jobs is None:
        observe = {"jobs": "all", "specs": True}
    if jobs and request.log_keep_bytes > 0:
        observe["log_from"] = {f"{job}/{numbers[job]}": reach.get((job, numbers[job]), 0) for job in jobs}
        share = max(_LEAST_LOG_BYTES, LOG_BYTES_PER_NODE // len(jobs))
        observe["log_limit"] = min(request.log_keep_bytes, share)
    return {
        "schema": "stoker.request/1", "op": "reconcile",
        "orders": [dict(order) for order in planned.orders.get(node, ())],
        "observe": observe, "gpus": node in planned.gpus, "wait": planned.wait_s,
        **({"parts": ["cpu", "memory", "disks"]} if node in planned.parts else {}), **wishes(request),
    }  # fmt: skip


def finish_round(
    store: Store, results: Mapping[str, NodeResult], now: float, *, request: RoundRequest | None = None,
    clock: Clock | None = None,
) -> RoundSummary:  # fmt: skip
    """Write down what came back from the nodes of a round, and return what it changed.

    One transaction for each job that changed; none once another dispatcher leads than the one whose round this is
    (SupersededError). A node whose answer cannot be used counts among the failed ones and does not hold up the others.
    `clock`: this machine's, read here by default. Raises StokerError when the store fails.
    """
    request = request or RoundRequest()
    store = store.under(request.epoch)
    summary, clock = RoundSummary(), clock or read_clock()
    answers = _answers(results, summary)
    informed = _record_nodes(store, results, answers, summary, request.membership, now, clock)
    if request.parts:
        record_samples(store, answers, Limits.of(request.telemetry), now)
    for answer in answers:
        # Before the jobs: when one is over, nobody asks for its log again.
        _record_logs(store, answer, request.log_keep_bytes, summary)
    if request.mode == "adopt":
        adopt(store, answers, now, summary)
    record_damage(store, answers, now)
    _record_jobs(store, answers, summary, now)
    settle(store, now)
    informed = _record_losses(store, summary, now, clock) or informed
    follow = request.mode == "dispatch" and _advance(store, now)
    if informed and request.mode == "dispatch":
        waiting = store.jobs(states=("queued",))
        summary.again = any(job.node is None and (job.not_before or 0.0) <= now for job in waiting)
    summary.again = summary.again or follow
    return summary


def _advance(store: Store, now: float) -> bool:
    """Whether workflows have new jobs. Most stores have none under way: then nothing is locked."""
    if not store.workflows.running():
        return False
    with store.write() as transaction:
        return advance_workflows(store, transaction, now)


def _answers(results: Mapping[str, NodeResult], summary: RoundSummary) -> list[Answer]:
    answers = []
    for node, result in sorted(results.items()):
        if result.unreachable is not None:
            summary.unreachable[node] = result.unreachable
        elif result.failed is not None or result.reply is None:
            summary.failed[node] = result.failed or "it gave no answer"
        elif not result.reply.get("ok"):
            error = result.reply.get("error") or {}
            summary.failed[node] = str(error.get("message") or "it refused without a reason")
        else:
            try:
                answers.append(Answer.read(node, result))
            except NodeError as problem:
                summary.failed[node] = problem.node_message
    return answers


def _record_nodes(
    store: Store,
    results: Mapping[str, NodeResult],
    answers: Sequence[Answer],
    summary: RoundSummary,
    rules: Rules,
    now: float,
    clock: Clock | None,
) -> bool:
    """Whether the planner knows more of some node than before."""
    informed = False
    with store.write() as transaction:
        known = {node.name: node for node in transaction.nodes()}
        rows = [heard(known.get(answer.node), answer.node, answer.facts, now, clock) for answer in answers]
        for name, message in (summary.unreachable | summary.failed).items():
            # Nobody tried to reach one whose variables are wrong.
            row = known.get(name)
            rows.append(
                misdescribed(row, name, message) if results[name].wrong else missed(row, name, message, now, rules)
            )
        for row in rows:
            before = known.get(row.name)
            transaction.put_node(row)
            _tell_node(transaction, before, row, now)
            informed = informed or tells_more(before, row)
    return informed


def record_samples(store: Store, answers: Sequence[Answer], limits: Limits, now: float) -> None:
    """Write down the samples that came, and what they begin and end of alerts, in one transaction."""
    samples = [sample for answer in answers if (sample := sample_of(answer.node, answer.facts, now)) is not None]
    if not samples:
        return
    with store.write() as transaction:
        raised = transaction.alerts()
        for sample in samples:
            transaction.add_sample(sample, limits.keep_s)
            moving = trend(transaction.samples_since(sample.node, now - TREND_S))
            told = judge_sample(sample, moving, [alert for alert in raised if alert.node == sample.node], limits)
            for alert in told.raised:
                transaction.raise_alert(alert)
            for alert, text in told.cleared:
                transaction.clear_alert(alert, now, text)


def _tell_node(transaction: Transaction, before: NodeRow | None, row: NodeRow, now: float) -> None:
    was = before.unreachable_since if before is not None else None
    if row.unreachable_since is not None and was is None:
        transaction.event("node.unreachable", now, node=row.name, data={"message": row.unreachable_message})
    elif row.unreachable_since is None and was is not None:
        transaction.event("node.reachable", now, node=row.name, data={"unreachable_s": now - was})
    off = before.offline_since if before is not None else None
    if row.offline_since is not None and off is None:
        data = {"misses": row.misses, "since": row.unreachable_since, "message": row.unreachable_message}
        transaction.event("node.offline", now, node=row.name, data=data)
    elif row.offline_since is None and off is not None:
        transaction.event("node.online", now, node=row.name, data={"offline_s": now - off})


def _record_jobs(store: Store, answers: Sequence[Answer], summary: RoundSummary, now: float) -> None:
    """Newer observations of the same state go in one transaction; every job that moves has one of its own."""
    concerned: dict[str, list[Answer]] = {}
    for answer in answers:
        for job_id in answer.jobs():
            concerned.setdefault(job_id, []).append(answer)
    moving = []
    with store.write() as transaction:
        for job_id, told in sorted(concerned.items()):
            changes = _judged(transaction, job_id, told, now)
            if any(change.event for change in changes):
                moving.append(job_id)
                continue
            for change in changes:
                apply_change(transaction, change, now)
    for job_id in moving:
        with store.write() as transaction:
            # Judged again: another controller may have been faster.
            for change in _judged(transaction, job_id, concerned[job_id], now):
                if apply_change(transaction, change, now) and change.event:
                    summary.changed.append(_told(change))


def _record_losses(store: Store, summary: RoundSummary, now: float, clock: Clock | None) -> bool:
    """Jobs whose node could not be asked just now, and whose lease has surely run out, go on without it."""
    silent = summary.unreachable | summary.failed
    moved = False
    for job in store.jobs(states=LIVE_STATES) if silent else ():
        if job.node not in silent:
            continue
        with store.write() as transaction:
            seen = transaction.job(job.id)
            attempt = transaction.attempt(job.id, seen.attempt) if seen is not None else None
            if seen is None or attempt is None or not attempt.live or attempt.node not in silent:
                continue  # another controller was faster
            change = left_behind(seen, attempt, clock, now)
            for each in _with_gang(transaction, seen, [change] if change is not None else [], now):
                if apply_change(transaction, each, now) and each.event:
                    summary.changed.append(_told(each))
                    moved = True
    return moved


def _record_left_alone(transaction: Transaction, state: State, now: float) -> bool:
    """Jobs on nodes that nobody asks any more, and whose lease has surely run out, go on without them."""
    asked, moved = {node.name for node in state.nodes} - unasked(state, now), False
    for job in state.jobs:
        attempt = state.live_attempt(job)
        # Read again: a rank of the same gang may have changed it.
        seen = transaction.job(job.id) if attempt is not None and attempt.node not in asked else None
        if seen is None or attempt is None:
            continue
        change = left_behind(seen, attempt, state.clock, now)
        for each in _with_gang(transaction, seen, [change] if change is not None else [], now):
            moved = apply_change(transaction, each, now) or moved
    return moved


def _judged(transaction: Transaction, job_id: str, answers: Sequence[Answer], now: float) -> list[Change]:
    job = transaction.job(job_id)
    if job is None:
        return []
    numbers = {job.attempt, *(number for answer in answers for number in answer.numbers(job_id))}
    rows = {number: transaction.attempt(job_id, number) for number in numbers if number > 0}
    attempts = {number: row for number, row in rows.items() if row is not None}
    changes = [change for answer in answers for change in judge(job, attempts, answer, now)]
    return _with_gang(transaction, job, changes, now)


def _with_gang(transaction: Transaction, job: JobRow, changes: list[Change], now: float) -> list[Change]:
    """The changes of a job, with what they mean for the other ranks of its gang."""
    return ends(changes, transaction.gang(job.gang), now) if job.gang is not None else changes


def _told(change: Change) -> dict[str, Any]:
    return {
        "job": change.seen.id, "attempt": change.attempt or change.seen.attempt, "node": change.seen.node,
        "event": change.event, "from": change.seen.state, "to": change.values.get("state", change.seen.state),
        "reason": change.data.get("reason"),
    }  # fmt: skip


def _record_logs(store: Store, answer: Answer, keep_bytes: int, summary: RoundSummary) -> None:
    for key, chunk in answer.logs.items():
        job_id, _, number = key.rpartition("/")
        try:
            data = zlib.decompress(base64.b64decode(chunk["data"], validate=True))
            offset = int(chunk["offset"])
        except (binascii.Error, zlib.error, KeyError, TypeError, ValueError) as problem:
            summary.failed[answer.node] = f"the log it sent of {key} cannot be read: {problem}"
            continue
        if data:
            store.write_log_copy(job_id, int(number), offset, data, keep_bytes)
