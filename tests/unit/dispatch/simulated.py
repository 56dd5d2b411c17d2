# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and a store as values, for a simulation of many rounds: what is decided is the real code's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from made import job as made_job

from stoker.dispatch import NodeResult
from stoker.dispatch.apply import apply_change
from stoker.dispatch.model import Change, NodeInfo, RoundRequest, State
from stoker.dispatch.nodes import heard
from stoker.dispatch.observations import Answer, judge
from stoker.dispatch.plan import plan
from stoker.dispatch.states import follows
from stoker.store import FINISHED_STATES, LIVE_STATES, AttemptRow, JobRow, NodeRow, QueueRow

OVER = ("succeeded", "failed", "cancelled", "lost")


@dataclass
class Process:
    """An attempt on a node."""

    spec: Mapping[str, Any]
    number: int
    state: str
    reason: str | None = None
    exit_code: int | None = None

    @property
    def live(self) -> bool:
        return self.state not in OVER


@dataclass
class SimulatedNode:
    """A node that keeps the rules of docs/architecture.md: a folder is made once, GPUs are given in order."""

    name: str
    gpus: int
    boot: int = 1
    processes: dict[tuple[str, int], Process] = field(default_factory=dict)

    def ask(self, orders: list[Mapping[str, Any]], jobs: list[str]) -> NodeResult:
        told = [self._carry_out(order) for order in orders]
        self.settle()
        named = {*jobs, *(order["job"] for order in told)}
        seen = [self._observation(key) for key in sorted(self.processes) if key[0] in named]
        facts = {"boot": {"boot_id": f"boot-{self.boot}"}, "gpus": [{"uuid": f"G{i}"} for i in range(self.gpus)]}
        reply = {"schema": "stoker.reply/1", "ok": True, "attempts": seen, "orders": told, "logs": {}, "node": facts}
        return NodeResult(reply=reply, request={"observe": {"jobs": jobs}})

    def settle(self) -> None:
        """Give free GPUs to those that wait, first come first served."""
        for process in self.processes.values():
            # One that asks for more than there is waits for ever, and holds nobody up.
            if process.state == "queued" and process.spec["gpus"] <= self.gpus:
                if process.spec["gpus"] > self.gpus - self.used:
                    return
                process.state = "running"

    @property
    def used(self) -> int:
        return sum(p.spec["gpus"] for p in self.processes.values() if p.state == "running")

    def end(self, key: tuple[str, int], code: int) -> None:
        process = self.processes[key]
        process.state, process.exit_code = ("failed", code) if code else ("succeeded", 0)
        process.reason = "code" if code else None

    def reboot(self) -> None:
        self.boot += 1
        for process in self.processes.values():
            if process.live:
                process.state, process.reason = "lost", "reboot"

    def _carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        started = order["order"] == "start"
        job, number = (order["spec"]["job"] if started else order["job"]), int(order["attempt"])
        known, error = self.processes.get((job, number)), None
        if started and known is None:
            others = [p for (other, _), p in self.processes.items() if other == job]
            if any(p.number > number for p in others):
                error = {"code": "stale_attempt", "message": "superseded", "next": None}
            elif any(p.live for p in others):
                error = {"code": "conflict", "message": "still alive", "next": None}
            else:
                self.processes[job, number] = Process(order["spec"], number, "queued")
        elif not started and known is None:
            error = {"code": "unknown_job", "message": "no such attempt", "next": None}
        elif not started and known is not None and known.live:
            known.state = "cancelled"
        return {"order": order["order"], "job": job, "attempt": number, "ok": error is None, "changed": error is None,
                "error": error}  # fmt: skip

    def _observation(self, key: tuple[str, int]) -> dict[str, Any]:
        process = self.processes[key]
        return {
            "schema": "stoker.observation/1", "job": key[0], "uid": process.spec["uid"], "attempt": key[1],
            "state": process.state, "reason": process.reason, "exit_code": process.exit_code,
            "boot_id": f"boot-{self.boot}", "evidence": "seen", "waiting": {"needs": process.spec["gpus"]},
        }  # fmt: skip


class Ledger:
    """Stands where a Transaction stands: rows in dictionaries, the same conditions."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRow] = {}
        self.attempts: dict[tuple[str, int], AttemptRow] = {}
        self.nodes: dict[str, NodeRow] = {}
        self.queues: dict[str, QueueRow] = {}
        self.events: list[tuple[str, str | None, int | None]] = []

    def change_job(self, seen: JobRow, values: Mapping[str, Any]) -> bool:
        now = self.jobs[seen.id]
        if (now.attempt, now.state) != (seen.attempt, seen.state):
            return False
        self.jobs[seen.id] = replace(now, **values)
        return True

    def add_attempt(self, values: Mapping[str, Any]) -> None:
        key = values["job_id"], values["number"]
        assert key not in self.attempts, "an attempt was claimed twice"
        self.attempts[key] = AttemptRow(**{**dict.fromkeys(AttemptRow.__dataclass_fields__), **values})

    def change_attempt(self, job_id: str, number: int, values: Mapping[str, Any]) -> None:
        before = self.attempts[job_id, number].state
        assert follows(before, values.get("state", before)), f"{job_id}/{number} went back from {before}"
        self.attempts[job_id, number] = replace(self.attempts[job_id, number], **values)

    def event(self, kind: str, _at: float, *, job: str | None = None, attempt: int | None = None, **_: Any) -> int:
        self.events.append((kind, job, attempt))
        return len(self.events)

    def queue(self, name: str) -> QueueRow | None:
        return self.queues.get(name)

    def put_queue(self, queue: QueueRow) -> None:
        self.queues[queue.name] = queue

    def add(self, number: int, **fields: Any) -> JobRow:
        row = made_job(f"j{number}-2222", number=number, **fields)
        self.jobs[row.id] = row
        return row

    def everything(self) -> Any:
        return dict(self.jobs), dict(self.attempts), list(self.events), dict(self.queues)

    # ---- rounds ----

    def planned(self, inventory: tuple[NodeInfo, ...], now: float) -> Any:
        live = [row for row in self.jobs.values() if row.state in LIVE_STATES]
        current = {row.id: self.attempts[row.id, row.attempt] for row in live if (row.id, row.attempt) in self.attempts}
        state = State(tuple(live), current, inventory, dict(self.nodes), RoundRequest(), queues=dict(self.queues))
        made = plan(state, now)
        self.apply(made.changes, now)
        return made

    def record(self, name: str, result: NodeResult, now: float) -> None:
        answer = Answer.read(name, result)
        self.nodes[name] = heard(self.nodes.get(name), name, answer.facts, now)
        for job_id in sorted(answer.jobs()):
            row = self.jobs.get(job_id)
            if row is not None:
                attempts = {number: found for (of, number), found in self.attempts.items() if of == job_id}
                self.apply(judge(row, attempts, answer, now), now)

    def apply(self, changes: Any, now: float) -> None:
        for change in changes:
            assert isinstance(change, Change)
            apply_change(self, change, now)  # type: ignore[arg-type]

    @property
    def unfinished(self) -> list[JobRow]:
        return [row for row in self.jobs.values() if row.state not in FINISHED_STATES]
