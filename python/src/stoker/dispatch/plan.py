"""The planner: from what is known to what is done. Pure: no clock, no I/O, no randomness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoker.dispatch import gang, membership
from stoker.dispatch.demand import Demand
from stoker.dispatch.leases import Lease
from stoker.dispatch.lines import Lines
from stoker.dispatch.model import Change, Plan, State
from stoker.dispatch.place import Placement, Places
from stoker.dispatch.renewals import Renewals, end_orders, resume_of, start_order
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
        draft.changes.extend(gang.late(state, now))
        for job in ordered:
            if state.live_attempt(job) is None and draft.wanted(job):
                draft.start(job)
    draft.tell()
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
        self.places = Places(state, now)
        self.ports = gang.ports_of(state)
        self.shut = membership.closed(state, sorted(self.inventory), now)
        self.lines = Lines(state)
        self.renewals = Renewals(state)
        self.named = _with_those_before(state)
        self.unasked = membership.unasked(state, now)
        self.orders: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.observe: dict[str, list[str]] = {}
        self.gpus: set[str] = set()
        self.parts: set[str] = set()
        self.changes: list[Change] = []
        self.waiting: dict[str, str] = {}

    def wanted(self, job: JobRow) -> bool:
        return self.named is None or job.id in self.named

    def follow(self, job: JobRow, attempt: AttemptRow) -> None:
        """An attempt that may be under way: ask about it; stop it, or order its start again, where that is due."""
        node = attempt.node
        self.places.add(job, node)
        self.lines.add(job, node)
        if not self.wanted(job) or (self.request.nodes is not None and node not in self.request.nodes):
            return
        if node not in self.inventory or node in self.unasked:
            what = "was removed" if node in self.inventory else "is not in the inventory"
            self.left_alone(job, attempt, f"its node {node} {what}")
            return
        self.observe.setdefault(node, []).append(job.id)
        if self.request.mode != "dispatch":
            return
        job = self.leaving(job, attempt)
        if job.stop_requested is not None or job.put_back is not None:
            self.orders[node].append(self._stop(job, attempt))
        elif attempt.confirmed_at is None and (lack := self.state.lacks_files(job) or self._lacks_resume(attempt)):
            self.waiting[job.id] = lack
        elif attempt.confirmed_at is None:
            lease = self.renewals.kept(job, attempt)
            named = gang.with_env(job, job.rank_env)
            self.orders[node].append(start_order(named, attempt.number, lease, resume_of(attempt.resume)))

    def _lacks_resume(self, attempt: AttemptRow) -> str | None:
        """Why a round of this machine cannot order a start again that goes on from a checkpoint."""
        wanted = attempt.resume
        if wanted is None or wanted["digest"] in self.state.kept or wanted.get("place") == self.state.place:
            return None
        return f"its checkpoint {wanted['name']} is not on this machine: dispatch where it was begun"

    def left_alone(self, job: JobRow, attempt: AttemptRow, why: str) -> None:
        """An attempt on a node that nobody asks: say why, and count until its lease has run out."""
        self.waiting[job.id] = why
        if self.request.mode != "dispatch":
            return
        self.renewals.count(job, attempt)
        if job.detail != why:
            self.changes.append(Change(job, {"detail": why, "updated_at": self.now}))

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
        if job.gang is not None:
            self.start_gang(job)
            return
        if job.not_before is not None and job.not_before > self.now:
            self.waiting[job.id] = f"waits {job.not_before - self.now:.0f} s for its next attempt"
            return
        refusal = (
            self.request.unpaid.get(job.id)
            or self.state.last_pull(job, self.now)
            or self.state.lacks_files(job)
            or self.lines.refusal(job)
        )
        if refusal is not None:
            self.wait(job, refusal)
            return
        placement = self.places.find(job, {**self.lines.closed(job, self.places.meant(job)), **self.shut})
        if placement.node is None:
            self.lines.close(job, placement.full)
            self.wait(job, str(placement.reason), placement)
            return
        self.places.add(job, placement.node)
        self.claim([job], [placement], [None])

    def start_gang(self, job: JobRow) -> None:
        """All ranks of a gang that waits in the store, at the turn of its first one, or none."""
        ranks = gang.ranks_of(job, self.state)
        if job.id in self.waiting or any(change.seen.id == job.id and change.claim for change in self.changes):
            return
        reason = gang.unready(ranks, self.state, self.now) or self.state.lacks_files(job)
        reason = reason or next((why for each in ranks if (why := self.request.unpaid.get(each.id))), None)
        reason = reason or self.lines.refusal(job, len(ranks))
        closed = {**self.lines.closed(job, self.places.meant(job)), **self.shut}
        found = Placement(reason=reason) if reason else gang.place_gang(ranks, self.places, closed)
        if isinstance(found, Placement):
            room = [name for name in found.full if name not in self.shut]
            if len(room) >= len(ranks):
                self.lines.close(job, room)
            for rank in ranks:
                if self.state.live_attempt(rank) is None:
                    self.wait(rank, str(found.reason), found if rank is job else None, len(ranks))
            return
        self.claim(ranks, found, gang.environments(ranks, found, self.state.nodes, self.ports))

    def claim(
        self, jobs: Sequence[JobRow], found: Sequence[Placement], envs: Sequence[Mapping[str, str] | None]
    ) -> None:
        """Claim the next attempt of a job, or of all ranks of a gang, on nodes that count it already."""
        try:
            leases = [self.renewals.begun(job, str(each.node)) for job, each in zip(jobs, found, strict=True)]
        except UsageError as problem:
            gang.undo(jobs, found, self.places)
            for job in jobs:
                self.wait(job, f"{', '.join(str(each.node) for each in found)}: {problem.message}")
            return
        for job, placement, env, lease in zip(jobs, found, envs, leases, strict=True):
            node = str(placement.node)
            change = _claim(job, placement, env, self.now, lease, self.state)
            self.changes.append(change)
            self.places.passing.placed(node)
            self.lines.add(job, node)
            self.observe.setdefault(node, []).append(job.id)
            resume = resume_of(change.attempt_values.get("resume"))
            self.orders[node].append(start_order(gang.with_env(job, env), int(change.attempt or 0), lease, resume))

    def wait(self, job: JobRow, reason: str, placement: Placement | None = None, needs: int = 1) -> None:
        """Leave a job in the store, for lack of a `placement` on so many nodes; why is written down at the end."""
        self.waiting[job.id] = reason
        if placement is None:
            return
        self.places.wait(job, placement, needs)
        meant, known = self.places.meant(job), self.state.known
        away = [name for name in meant if name in self.shut and membership.offline(known.get(name))]
        demand = Demand.of(job)
        for name in (*placement.ask, *(name for name in away if name not in self.unasked)):
            self.observe.setdefault(name, [])
            self.gpus.add(name)
            if demand.memory or demand.cpus or demand.disk:
                self.parts.add(name)

    def tell(self) -> None:
        """Write down of each job that waits in the store why, and how often it was passed."""
        for job in self.state.jobs:
            reason = self.waiting.get(job.id)
            if reason is None or self.state.live_attempt(job) is not None:
                continue
            values = self.places.passing.values(job)
            if job.detail != reason:
                values |= {"detail": reason, "updated_at": self.now}
            if values:
                self.changes.append(Change(job, values))

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
        parts = frozenset(self.parts)
        return Plan(orders, self.observe, frozenset(self.gpus), tuple(self.changes), self.waiting, wait_s, parts)

    def _stop(self, job: JobRow, attempt: AttemptRow) -> Mapping[str, Any]:
        # Naming the grace again would begin it again.
        grace = job.stop_grace_s if job.stop_ordered_at is None else None
        return {
            "order": "stop", "job": job.id, "uid": job.uid, "attempt": attempt.number, "grace_s": grace,
            "reason": "cancelled",
        }  # fmt: skip


def _with_those_before(state: State) -> frozenset[str] | None:
    """The jobs that a round is for, with the other ranks of their gangs and those that come before them; None: all.

    Before a job come those before it in its queue, and those that wait for room since before it was there.
    """
    if state.request.jobs is None:
        return None
    asked = [job for job in state.jobs if job.id in state.request.jobs]
    gangs = {job.gang for job in asked if job.gang is not None}
    named = {job.id: job for job in state.jobs if job in asked or job.gang in gangs}
    last: dict[str, Any] = {}
    for job in named.values():
        if job.queue is not None:
            last[job.queue] = max(last.get(job.queue, job.turn), job.turn)
    before = {job.id for job in state.jobs if job.queue in last and job.turn <= last[job.queue]}
    latest = max((job.turn for job in named.values()), default=None)
    if latest is not None:
        before |= {job.id for job in state.jobs if job.blocked_since is not None and job.turn < latest}
    return frozenset(state.request.jobs) | named.keys() | before


def _claim(
    job: JobRow, placement: Placement, env: Mapping[str, str] | None, now: float, lease: Lease | None, state: State
) -> Change:
    number, node = job.attempt + 1, placement.node
    values = {
        "state": "starting", "attempt": number, "node": node, "reason": None, "detail": None, "not_before": None,
        "started_at": None, "ended_at": None, "elapsed_s": None, "exit_code": None, "signal": None,
        "stop_ordered_at": None, "put_back": None, "updated_at": now, "rank_env": env, "passed": None,
        "blocked_since": None,
    }  # fmt: skip
    attempt: dict[str, Any] = {"node": node, "state": "starting", "claimed_at": now, "log_start": 0, "log_end": 0}
    if lease is not None:
        attempt["lease"] = lease.row()
    data: dict[str, Any] = {"from": job.state, "to": "starting", "placement": placement.told}
    if job.spec.get("checkpoints"):
        found = state.newest_checkpoint(job)
        data["resume"] = found.resume() if found is not None else None
        attempt["resume"] = {**found.resume(), "place": found.place} if found is not None else None
    return Change(job, values, number, attempt, claim=True, event="job.starting", data=data)
