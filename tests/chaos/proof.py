# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true afterwards: by what the jobs themselves wrote down, by the nodes' locks, and by the store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from stoker.dispatch.states import JOB_TRANSITIONS
from stoker.store import FINISHED_STATES, EventRow, JobRow, Store, open_store
from tests.chaos.ring import Ring
from tests.testbed import wait_until
from tests.testbed.node_side import NodeSide


@dataclass
class Proof:
    """What was counted, and every sentence that is not true."""

    counted: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def told(self) -> str:
        """Both, for people."""
        counts = [f"  {count:>4}  {name}" for name, count in self.counted.items()]
        verdict = self.faults or ["proved: every job ended once, none lost, none run twice at a time, all GPUs free"]
        return "\n".join([*counts, *verdict])


@dataclass(frozen=True)
class Run:
    """One run of a job's command. `end` None: it was cut off (killed, or its machine was)."""

    job: str
    attempt: int
    begin: float
    end: float | None
    boot: str
    gpus: str


def prove(ring: Ring, submitted: dict[str, int], ended: bool) -> Proof:
    """Look at everything once all dispatchers have ended."""
    proof = Proof()
    if not ended:
        proof.faults.append("not every job came to an end")
    runs = list(runs_of(ring.marks()))
    with open_store(ring.url) as store:
        rows = {row.id: row for row in store.jobs()}
        proof.faults += _lost(rows, submitted)
        proof.faults += doubled(runs)
        proof.faults += _untrue(store, rows, runs, submitted)
        events = store.events()
        proof.faults += inconsistent(rows, events)
        attempts = sum(len(store.attempts(job)) for job in rows)
        proof.counted = {
            "jobs": len(rows), "attempts": attempts, "commands that ran": len(runs),
            "changes of leader": sum(event.type == "dispatcher.leads" for event in events), "events": len(events),
            **{f"jobs {state}": count for state, count in sorted(Counter(r.state for r in rows.values()).items())},
        }  # fmt: skip
    proof.faults += _held(ring)
    return proof


def runs_of(marks: Sequence[str]) -> Iterator[Run]:
    """The runs that the jobs wrote down."""
    ends = {(job, number): float(at) for what, job, number, at, *_ in map(str.split, marks) if what == "end"}
    for what, job, number, at, *rest in map(str.split, marks):
        if what == "begin":
            yield Run(job, int(number), float(at), ends.get((job, number)), rest[0], rest[1])


def _lost(rows: dict[str, JobRow], submitted: dict[str, int]) -> list[str]:
    faults = [f"{job} is not in the store any more" for job in submitted if job not in rows]
    return faults + [f"{row.id} is {row.state}" for row in rows.values() if row.state not in FINISHED_STATES]


def doubled(runs: Sequence[Run]) -> list[str]:
    """What ran twice, or beside what it must not run beside."""
    by_job: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_job[run.job].append(run)
    faults = []
    for job, own in by_job.items():
        numbers = [run.attempt for run in own]
        if len(set(numbers)) != len(numbers):
            faults.append(f"{job}: an attempt ran twice ({sorted(numbers)})")
        ordered = sorted(own, key=lambda run: run.begin)
        for before, after in pairwise(ordered):
            # One that was cut off is over for certain where a later one begins only on proof: the numbers rise.
            if before.end is not None and after.begin < before.end:
                faults.append(f"{job}: attempts {before.attempt} and {after.attempt} ran at the same time")
            if after.attempt <= before.attempt:
                faults.append(f"{job}: attempt {after.attempt} began after attempt {before.attempt}")
    for one, other in pairwise(sorted((r for r in runs if r.gpus != "none"), key=lambda run: (run.gpus, run.begin))):
        if one.gpus == other.gpus and one.end is not None and other.begin < one.end:
            faults.append(f"{one.job} and {other.job} had GPU {one.gpus} at the same time")
    return faults


def _untrue(store: Store, rows: dict[str, JobRow], runs: Sequence[Run], submitted: dict[str, int]) -> list[str]:
    """The store says what happened: success only with an end, and as many attempts as began."""
    faults = []
    seen = {(run.job, run.attempt): run for run in runs}
    for row in rows.values():
        name = f"job-{submitted[row.id]}"
        own = [run for run in runs if run.job == name]
        numbers = {attempt.number: attempt for attempt in store.attempts(row.id)}
        faults += [f"{row.id}: attempt {r.attempt} ran unknown to the store" for r in own if r.attempt not in numbers]
        faults += [f"{row.id}: two live attempts" for _ in [0] if sum(attempt.live for attempt in numbers.values()) > 0]
        last = seen.get((name, row.attempt))
        if row.state == "succeeded" and (last is None or last.end is None):
            faults.append(f"{row.id} is said to have succeeded, and did not reach its end")
        if sum(attempt.state == "succeeded" for attempt in numbers.values()) > 1:
            faults.append(f"{row.id} succeeded twice")
    return faults


def inconsistent(rows: dict[str, JobRow], events: Sequence[EventRow]) -> list[str]:
    """Events tell a way through the table of states that ends where the job is."""
    faults = []
    for row in rows.values():
        own = [event for event in events if event.job_id == row.id]
        # What a node shows of an attempt that waited there has the same name, and tells the attempt's own state.
        claims = [e.attempt for e in own if e.type == "job.starting" and "attempt_state" not in e.data]
        if len(set(claims)) != len(claims):
            faults.append(f"{row.id}: an attempt was claimed twice: {claims}")
        state = "queued"
        for event in own:
            if event.data.get("to") is None:
                continue
            if event.data.get("from") != state:
                faults.append(f"{row.id}: event {event.seq} begins at {event.data.get('from')}, the job was {state}")
            after = str(event.data["to"])
            if after != state and after not in JOB_TRANSITIONS[state]:
                faults.append(f"{row.id}: event {event.seq} goes from {state} to {after}")
            state = after
        if state != row.state:
            faults.append(f"{row.id} is {row.state}, its events end at {state}")
        endings = [event.type for event in own if event.data.get("to") in FINISHED_STATES]
        if len(endings) != 1:
            faults.append(f"{row.id} ended {len(endings)} times: {endings}")
    return faults


def _held(ring: Ring) -> list[str]:
    faults = []
    for node in ring.nodes:
        side = NodeSide(node)

        def held(side: NodeSide = side) -> list[str]:
            return [job for gpu in side.ask("reconcile", gpus=True)["node"]["gpus"] for job in gpu["held_by"]]

        try:
            wait_until(lambda held=held: held() == [], "the GPU locks are free", 90)  # type: ignore[misc]
        except TimeoutError:
            faults.append(f"{node.name}: GPUs are held by {held()}")
    return faults
