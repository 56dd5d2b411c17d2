"""Leases and left attempts in a round: what is promised, and what is ended, on every node that is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.dispatch import leases
from stoker.dispatch.leases import Lease
from stoker.dispatch.model import Change, State
from stoker.store import AttemptRow, JobRow

Order = tuple[str, Mapping[str, Any]]  # node, order


class Renewals:
    """The leases of all attempts while a round is planned. `changes` are those of their rows."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._variables = {node.name: node.vars for node in state.nodes}
        self._kept: dict[str, Lease | None] = {}
        self.changes: list[Change] = []

    def begun(self, job: JobRow, node: str) -> Lease | None:
        """The lease of the attempt that starts on `node`; None with policy keep. Raises UsageError: `stoker_lease`."""
        wanted = leases.wanted(job, self._variables.get(node, {}))
        if wanted is None or wanted["policy"] != "move":
            return None
        return leases.begun(float(wanted["seconds"]), self._state.known.get(node), self._state.clock)

    def kept(self, job: JobRow, attempt: AttemptRow) -> Lease | None:
        """The lease of an attempt that may be under way, renewed where that is due; None with policy keep."""
        if job.id not in self._kept:
            before = leases.lease_of(job, attempt)
            after = before and leases.kept(before, attempt, self._state.known.get(attempt.node), self._state.clock)
            self._kept[job.id] = after
            if after is not None and after != before:
                self.changes.append(Change(job, attempt=attempt.number, attempt_values={"lease": after.row()}))
        return self._kept[job.id]

    def count(self, job: JobRow, attempt: AttemptRow) -> None:
        """Begin to count until the lease of an attempt has run out that nobody is promised anything for."""
        before = leases.lease_of(job, attempt)
        after = before and leases.kept(before, attempt, None, self._state.clock)
        if after is not None and after != before:
            self.changes.append(Change(job, attempt=attempt.number, attempt_values={"lease": after.row()}))

    def orders(self, asked: Mapping[str, Any]) -> Iterator[Order]:
        """What every node that is `asked` is told of the leases there, whatever the round is for."""
        for job in self._state.jobs:
            attempt = self._state.live_attempt(job)
            # Who was asked to stop is not kept; who never answered gets its lease with its start.
            if attempt is None or attempt.node not in asked or job.stop_requested or attempt.confirmed_at is None:
                continue
            lease = self.kept(job, attempt)
            if lease is not None and lease.until is not None:
                order = {"order": "lease", "job": job.id, "attempt": attempt.number, **lease.spec(), **lease.promise()}
                yield attempt.node, order


def resume_of(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The checkpoint of an attempt's row, as its spec says it."""
    return {name: kept[name] for name in ("digest", "name", "step", "job", "attempt")} if kept is not None else None


def start_order(
    job: JobRow, number: int, lease: Lease | None, resume: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """The order to start an attempt, until when it may begin, and which checkpoint it goes on from."""
    spec = job.spec if resume is None else {**job.spec, "resume": resume}
    if lease is None:
        return {"order": "start", "spec": spec, "attempt": number}
    spec = {**spec, "lease": lease.spec()}
    return {"order": "start", "spec": spec, "attempt": number, **lease.promise()}


def end_orders(
    state: State, asked: Mapping[str, Any], named: frozenset[str] | None, unasked: frozenset[str]
) -> Iterator[Order]:
    """End what is left of attempts that their jobs went on without, on every node that is asked.

    A round for everything (`named` None), or for one of these jobs, asks their nodes for that alone, but for those that
    nobody may ask.
    """
    inventory = {node.name for node in state.nodes}
    for attempt in state.left:
        chosen = state.request.nodes is None or attempt.node in state.request.nodes
        meant = chosen and attempt.node not in unasked and (named is None or attempt.job_id in named)
        if attempt.node in inventory and (meant or attempt.node in asked):
            yield (
                attempt.node,
                {"order": "stop", "job": attempt.job_id, "attempt": attempt.number, "grace_s": None,
                 "reason": "expired" if attempt.reason == "expired" else "cancelled"},
            )  # fmt: skip
