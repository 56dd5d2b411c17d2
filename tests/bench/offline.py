# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call costs before it reaches any node: start-up, and lists from the store with 100 jobs."""

from __future__ import annotations

import sys
import time

from stoker import Fleet
from stoker.store import Store, open_store
from tests.bench.measure import Usage, interleaved
from tests.bench.place import STOKER, Place, queue
from tests.bench.table import Table

JOBS = 100
_STATES = ("succeeded", "failed", "running", "cancelled")


def start_up(place: Place, runs: int) -> Table:
    """Commands that ask nobody, by CPU."""
    place.use(1)
    with open_store() as store:
        fill(store)
    plain, ansible = "python -c pass", "python -c 'import ansible.cli'"
    with place.fleet() as fleet:
        usages = interleaved(
            {
                plain: lambda: place.meter.command([sys.executable, "-c", "pass"]),
                ansible: lambda: place.meter.command([sys.executable, "-c", "import ansible.cli"]),
                "stoker --version": lambda: place.meter.command([STOKER, "--version"]),
                f"stoker jobs, {JOBS} jobs in the store": lambda: place.stoker("jobs"),
                f"stoker jobs --json, {JOBS} jobs": lambda: place.stoker("jobs", "--json"),
                f"Fleet.jobs.list(), {JOBS} jobs, imported": lambda: _list(fleet),
            },
            runs,
        )
    table = Table("start-up", "Without any node", (plain, ansible), by="cpu_s")
    table.add_all(usages)
    return table


def _list(fleet: Fleet) -> Usage:
    wall, cpu = time.monotonic(), time.process_time()
    if len(fleet.jobs.list().jobs) != JOBS:
        raise RuntimeError("the list is not whole")
    return Usage(time.monotonic() - wall, time.process_time() - cpu)


def fill(store: Store, jobs: int = JOBS) -> None:
    """A store as it is after some work: jobs in all states, with what was observed of them."""
    now = time.time()
    template = vars(queue(store, ["python", "train.py"], "n1"))
    with store.write() as transaction:
        transaction.remove_job(template["id"])
        for number in range(jobs):
            state = _STATES[number % len(_STATES)]
            if state == "running" and number >= JOBS:
                state = "succeeded"  # a store of many jobs is one of many that are over
            times = {"started_at": now - 4000, "ended_at": None if state == "running" else now - 60,
                     "elapsed_s": 3940.0}  # fmt: skip
            over = {"exit_code": {"succeeded": 0, "failed": 1}.get(state),
                    "reason": "code" if state == "failed" else None}  # fmt: skip
            job = f"bench-{number}"
            own = {"id": job, "uid": job, "number": number + 10, "state": state, "attempt": 1, "node": "n1"}
            transaction.add_job({**template, **own, **times, **over})
            transaction.add_attempt(
                {
                    "job_id": job, "number": 1, "node": "n1", "state": state, "claimed_at": now - 4001,
                    "confirmed_at": now - 4000, "observed_at": now - 5, "log_start": 0, "log_end": 200_000,
                    "observation": _observation(job, state), **times, **over,
                }
            )  # fmt: skip


def _observation(job: str, state: str) -> dict[str, object]:
    series = [[line, 2.0 / line] for line in range(1, 201)]
    finding = {"line": 90, "offset": 9000, "name": "nccl", "severity": "error", "text": "NCCL WARN timeout"}
    return {
        "job": job, "attempt": 1, "state": state, "evidence": "it ended with code 0", "gpus": [], "log_size": 200_000,
        "last_line": "epoch 4 step 1999 loss 0.01", "findings": [finding] * 5, "finding_counts": {"nccl": 5},
        "metrics": {"loss": {"first": 2.0, "last": 0.01, "min": 0.01, "max": 2.0, "count": 200, "series": series}},
        "sample": None, "rung": "setsid", "left_behind": 0,
    }  # fmt: skip
