"""The planner: from what is known to what is done. Pure: no clock, no I/O, no randomness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.dispatch import membership
from stoker.dispatch.leases import Lease
from stoker.dispatch.lines import Lines
from stoker.dispatch.model import Change, Plan, State
from stoker.dispatch.place import Load, candidates, place
from stoker.dispatch.renewals import Renewals, end_orders, start_order
from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow

# Beyond this a node that holds its answer would hold up the others.
FEW_NODES = 4


def plan(state: State, now: float) -> Plan:
    """Decide one round. `now` is Unix seconds of the controller.

    Jobs come by priority, then in the order in which they were added or moved to. A job is started only by the change
    that claims its next attempt; a start that the node never confirmed is ordered again under the same number.
    """
    draft = _Draft(state, now)
    ordered = sorted(state.jobs, key=lambda job: job.turn)
    for job in ordered:
        attempt = state.live_attempt(job)
        if attempt is not None:
            draft.follow(job, attempt)
    if state.request.mode == "dispatch":
        for job in ordered:
            if state.live_attempt(job) is None and draft.wanted(job):
                draft.start(job)
    draft.ask_named_nodes()
    draft.keep_promises()
    return draft.finished()


class _Draft:
    """A plan while it is made."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.request = state.request
        self.now = now
        self.inventory = {node.name for node in state.nodes}
        self.load = Load()
        self.lines = Lines(state)
        self.renewals = Renewals(state)
        self.named = _with_those_before(state)
        self.unasked = membership.unasked(state, now)
        self.orders: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.observe: dict[str, list[str]] = {}
        self.gpus: set[str] = set()
        self.changes: list[Change] = []
        self.waiting: dict[str, str] = {}

    def wanted(self, job: JobRow) -> bool:
        return self.named is None or job.id in self.named

    def follow(self, job: JobRow, attempt: AttemptRow) -> None:
        """An attempt that may be under way: ask about it; stop it, or order its start again, where that is due."""
        node = attempt.node
        self.load.add(node, job)
        self.lines.add(job, node)
        if not self.wanted(job) or (self.request.nodes is not None and node not in self.request.nodes):
            return
        if node not in self.inventory:
            self.waiting[job.id] = f"its node {node} is not in the inventory"
            return
        if node in self.unasked:
            self.waiting[job.id] = f"its node {node} was removed"
            return
        self.observe.setdefault(node, []).append(job.id)
        if self.request.mode != "dispatch":
            return
        job = self.leaving(job, attempt)
        if job.stop_requested is not None or job.put_back is not None:
            self.orders[node].append(self._stop(job, attempt))
        elif attempt.confirmed_at is None and (lack := self.state.lacks_files(job)):
            self.waiting[job.id] = lack
        elif attempt.confirmed_at is None:
            self.orders[node].append(start_order(job, attempt.number, self.renewals.kept(job, attempt)))

    def leaving(self, job: JobRow, attempt: AttemptRow) -> JobRow:
        """The job, marked where its attempt has to leave its node and go on elsewhere."""
        why = membership.leaves(self.state.members.get(attempt.node), job, attempt, self.now)
        if why is None or job.put_back is not None:
            return job
        values = {"put_back": why, "updated_at": self.now}
        self.changes.append(Change(job, values, event="job.put_back", data={"reason": why}))
        return replace(job, put_back=why)

    def start(self, job: JobRow) -> None:
        """A job that waits in the store: claim its next attempt on a node, or say why not."""
        if job.not_before is not None and job.not_before > self.now:
            self.waiting[job.id] = f"waits {job.not_before - self.now:.0f} s for its next attempt"
            return
        refusal = self.state.lacks_files(job) or self.lines.refusal(job)
        if refusal is not None:
            self.wait(job, refusal)
            return
        named = candidates(job, self.state.nodes)
        shut = membership.closed(self.state, named, self.now)
        placement = place(job, self.state, self.load, {**self.lines.closed(job, named), **shut})
        away = [name for name in shut if name not in self.unasked and membership.offline(self.state.known.get(name))]
        for name in (*placement.ask, *(away if placement.node is None else ())):
            self.observe.setdefault(name, [])
            self.gpus.add(name)
        if placement.node is None:
            self.lines.close(job, placement.full)
            self.wait(job, str(placement.reason))
            return
        try:
            lease = self.renewals.begun(job, placement.node)
        except UsageError as problem:
            self.wait(job, f"{placement.node}: {problem.message}")
            return
        change = _claim(job, placement.node, self.now, lease)
        self.changes.append(change)
        self.load.add(placement.node, job)
        self.lines.add(job, placement.node)
        self.observe.setdefault(placement.node, []).append(job.id)
        self.orders[placement.node].append(start_order(job, int(change.attempt or 0), lease))

    def wait(self, job: JobRow, reason: str) -> None:
        """Leave a job in the store, and write down why."""
        self.waiting[job.id] = reason
        if job.detail != reason:
            self.changes.append(Change(job, {"detail": reason, "updated_at": self.now}))

    def ask_named_nodes(self) -> None:
        """Nodes that the request names, and all for an adoption, are asked even when the store has nothing there."""
        if self.request.probe:
            for name in membership.due(self.state, self.now):
                self.observe.setdefault(name, [])
        if self.request.mode == "dispatch" or self.request.jobs is not None:
            return
        named = self.request.nodes
        if named is None and self.request.mode == "adopt":
            named = tuple(sorted(self.inventory))
        for name in named or ():
            if name in self.unasked:
                continue
            self.observe.setdefault(name, [])
            if self.request.mode == "observe":
                self.gpus.add(name)

    def keep_promises(self) -> None:
        """Renew the leases on every node that is asked, and end there what jobs went on without."""
        if self.request.mode == "adopt":
            return
        left = list(end_orders(self.state, self.observe, self.named, self.unasked))
        for node, order in left:
            self.observe.setdefault(node, [])
            # First: it may hold what another job is started for.
            self.orders[node].insert(0, order)
        for node, order in self.renewals.orders(self.observe):
            self.orders[node].append(order)
        self.changes += self.renewals.changes

    def finished(self) -> Plan:
        wait_s = self.request.wait_s if len(self.observe) <= FEW_NODES else 0.0
        orders = {
            node: [{**order, "wait_s": wait_s} if order["order"] == "stop" else order for order in given]
            for node, given in self.orders.items()
        }
        return Plan(orders, self.observe, frozenset(self.gpus), tuple(self.changes), self.waiting, wait_s)

    def _stop(self, job: JobRow, attempt: AttemptRow) -> Mapping[str, Any]:
        # Naming the grace again would begin it again.
        grace = job.stop_grace_s if job.stop_ordered_at is None else None
        return {
            "order": "stop", "job": job.id, "uid": job.uid, "attempt": attempt.number, "grace_s": grace,
            "reason": "cancelled",
        }  # fmt: skip


def _with_those_before(state: State) -> frozenset[str] | None:
    """The jobs that a round is for, with those that come before one of them in its queue; None: all."""
    if state.request.jobs is None:
        return None
    named = {job.id: job for job in state.jobs if job.id in state.request.jobs}
    last: dict[str, Any] = {}
    for job in named.values():
        if job.queue is not None:
            last[job.queue] = max(last.get(job.queue, job.turn), job.turn)
    before = {job.id for job in state.jobs if job.queue in last and job.turn <= last[job.queue]}
    return frozenset(state.request.jobs) | before


def _claim(job: JobRow, node: str, now: float, lease: Lease | None) -> Change:
    number = job.attempt + 1
    values = {
        "state": "starting", "attempt": number, "node": node, "reason": None, "detail": None, "not_before": None,
        "started_at": None, "ended_at": None, "elapsed_s": None, "exit_code": None, "signal": None,
        "stop_ordered_at": None, "put_back": None, "updated_at": now,
    }  # fmt: skip
    attempt: dict[str, Any] = {"node": node, "state": "starting", "claimed_at": now, "log_start": 0, "log_end": 0}
    if lease is not None:
        attempt["lease"] = lease.row()
    return Change(
        job, values, number, attempt, claim=True, event="job.starting", data={"from": job.state, "to": "starting"}
    )
