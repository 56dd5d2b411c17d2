# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many short jobs through a queue, and lists from a store that holds many jobs."""

from __future__ import annotations

import os

from stoker.store import Store, open_store
from tests.bench.measure import Usage, interleaved
from tests.bench.offline import fill
from tests.bench.place import Place
from tests.bench.table import Table

NODES = 4
# A queue that is never a limit: what is measured is the rounds.
QUEUE = "bench"


def throughput(place: Place, jobs: int, runs: int) -> Table:
    """`true`, many times: by ssh one after the other, and through a queue to the proof of each one's end."""
    place.use(NODES)
    ssh, queued, written = (
        f"ssh true, {jobs} times",
        f"stoker, warm: {jobs} jobs to their end",
        f"write {jobs} jobs down",
    )
    place.warm()
    with open_store() as store:
        store.queues.change(QUEUE, max_running=jobs)

        def write() -> None:
            _write(store, place, jobs)

        def through() -> Usage:
            write()
            usage = place.stoker("queue", "start", QUEUE)
            if left := store.queues.entries(QUEUE):
                raise RuntimeError(f"{len(left)} jobs are left in the queue: {left[0].detail}")
            return usage

        def by_ssh() -> Usage:
            looks = [place.ssh("true", [place.nodes[number % NODES]]) for number in range(jobs)]
            return Usage(sum(u.wall_s for u in looks), sum(u.cpu_s for u in looks))

        def only_write() -> Usage:
            usage = place.meter.call(write)
            for row in store.queues.entries(QUEUE):
                store.request_stop(row.id)
            return usage

        usages = interleaved({ssh: by_ssh, written: only_write, queued: through}, runs)
    table = Table("queue", f"{jobs} jobs on {NODES} nodes", (ssh,))
    for name, usage in usages.items():
        table.add(name, usage, per_s=jobs / usage.wall_s)
    return table


def _write(store: Store, place: Place, jobs: int) -> None:
    for number in range(jobs):
        store.add_job("bench", {"argv": ["true"]}, place.nodes[number % NODES].name, queue=QUEUE)


def listing(place: Place, many: int, runs: int) -> Table:
    """The list of the newest jobs, and all that run, with 100 and with many jobs in the store."""
    contenders = {}
    for count in (100, many):
        place.use(1)
        with open_store() as store:
            fill(store, count)
        url = place.cold["STOKER_STORE_URL"]
        contenders[f"stoker jobs, {count} jobs in the store"] = lambda url=url: _list(place, url, "jobs")
        running = ("jobs", "--state", "running", "--limit", "20")
        contenders[f"stoker jobs --state running, {count} jobs"] = lambda url=url, w=running: _list(place, url, *w)
    usages = interleaved(contenders, runs)
    table = Table("listing", f"Lists, up to {many} jobs", (next(iter(contenders)),), by="cpu_s")
    table.add_all(usages)
    return table


def _list(place: Place, url: str, *words: str) -> Usage:
    os.environ["STOKER_STORE_URL"] = url
    return place.stoker(*words)
