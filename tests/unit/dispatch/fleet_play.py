# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that is played in memory: the planner's rounds, and nodes that run what they are given in its order."""

from __future__ import annotations

import dataclasses
from typing import Any

from made import attempt, known, node

from stoker.config import Placement
from stoker.dispatch import RoundRequest
from stoker.dispatch.demand import gpus_of
from stoker.dispatch.model import State
from stoker.dispatch.plan import plan
from stoker.store import JobRow

STEP_S = 10.0


class Fleet:
    """Nodes with so many GPUs each, the jobs by id, and how many rounds each of them takes."""

    def __init__(self, gpus: dict[str, int], jobs: list[tuple[JobRow, int]], **rules: Any) -> None:
        self.gpus, self.rules = gpus, Placement(**rules)
        self.jobs = {job.id: job for job, _ in jobs}
        self.left = {job.id: length for job, length in jobs}
        self.lines: dict[str, list[str]] = {name: [] for name in gpus}
        self.began: list[str] = []
        self.passes: dict[str, int] = {}
        self.round = 0

    def play(self, *new: tuple[JobRow, int]) -> None:
        """One round, then a step of time on every node."""
        for job, length in new:
            self.jobs[job.id], self.left[job.id] = job, length
        self.round += 1
        for change in self._planned():
            job = self.jobs[change.seen.id]
            self.jobs[job.id] = dataclasses.replace(job, **change.values)
            if change.claim:
                self.lines[str(change.values["node"])].append(job.id)
        for name in self.gpus:
            self._step(name)

    def running(self, name: str) -> list[str]:
        """The jobs that have their GPUs: in order, and nobody passes on a node."""
        free, found = self.gpus[name], []
        held = [i for i in self.lines[name] if self.jobs[i].state == "running"]
        free -= sum(gpus_of(self.jobs[i]) for i in held)
        for job in (i for i in self.lines[name] if i not in held):
            need = gpus_of(self.jobs[job])
            if need > free:
                break
            free -= need
            found.append(job)
        assert free >= 0, "a node never gives more than it has"
        return held + found

    def _planned(self) -> list[Any]:
        waiting = tuple(self.jobs.values())
        attempts = {job.id: attempt(job, state=job.state) for job in waiting if job.node is not None}
        rows = {name: known(name, count) for name, count in self.gpus.items()}
        nodes = tuple(node(name, "all") for name in self.gpus)
        state = State(waiting, attempts, nodes, rows, RoundRequest(placement=self.rules))
        found = plan(state, self.round * STEP_S)
        for job, reason in found.waiting.items():
            assert reason, f"{job} waits and does not say why"
        return list(found.changes)

    def _step(self, name: str) -> None:
        for job in self.running(name):
            if self.jobs[job].state != "running":
                self.jobs[job] = dataclasses.replace(self.jobs[job], state="running")
                self.began.append(job)
            self.left[job] -= 1
            if self.left[job] <= 0:
                self.lines[name].remove(job)
                del self.jobs[job]
        for job in self.lines[name]:
            if self.jobs[job].state == "starting":
                self.jobs[job] = dataclasses.replace(self.jobs[job], state="queued")
