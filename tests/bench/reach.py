# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking all nodes what runs, and starting a job on each: ssh, plain Ansible, Stoker cold and warm."""

from __future__ import annotations

import json
from collections.abc import Callable

from stoker import Fleet
from stoker.store import open_store
from tests.bench.measure import Usage, interleaved
from tests.bench.place import LONG, Place, queue
from tests.bench.table import Table

SSH, ANSIBLE = "ssh, shared connection", "ansible, pipelining"
COLD, WARM, API = "stoker, cold", "stoker, warm", "Fleet, imported, warm"
# Long enough to be there when the next command of the same round comes; nothing waits for them.
_BRIEF = "30"


def look(place: Place, count: int, runs: int) -> Table:
    """Is it there, and what runs there: `true` by ssh, `ping` by Ansible, the live job list with one job a node."""
    place.use(count)
    with place.fleet() as fleet:
        place.warm()
        place.start_on_all(fleet)
        _check_list(place, count)
        usages = interleaved(
            {
                f"{SSH}: true": lambda: place.ssh("true"),
                f"{ANSIBLE}: ping": lambda: place.ansible("-m", "ping"),
                f"{COLD}: jobs --live": lambda: place.stoker("jobs", "--live", cold=True),
                f"{WARM}: jobs --live": lambda: place.stoker("jobs", "--live"),
                f"{API}: jobs.list(live=True)": lambda: place.meter.call(lambda: fleet.jobs.list(live=True)),
            },
            runs,
        )
    table = Table(f"look-{count}", f"Look at {_nodes(count)}", (f"{SSH}: true", f"{ANSIBLE}: ping"))
    table.add_all(usages)
    return table


def _check_list(place: Place, count: int) -> None:
    """What is timed is the true answer: every job runs, observed a moment ago."""
    answer = place.bed.folder / "answer.json"
    place.stoker("jobs", "--live", "--json", stdout=answer)
    text = answer.read_text()
    if json.loads(text)["ok"] is not True or text.count('"running"') < count:
        raise RuntimeError(f"the live list does not show {count} running jobs: {text[:500]}")


def start(place: Place, count: int, runs: int) -> Table:
    """From the wish to the proof that it runs, on each node."""
    place.use(count)
    with place.fleet() as fleet:
        place.warm()
        place.start_on_all(fleet)
        usages = interleaved(_starters(place, fleet), runs)
    what = "Submit to running, 1 node" if count == 1 else f"One round starts a job on each of {count} nodes"
    table = Table(f"start-{count}", what, (f"{SSH}: setsid &", f"{ANSIBLE}: async"))
    table.add_all(usages)
    return table


def _starters(place: Place, fleet: Fleet) -> dict[str, Callable[[], Usage]]:
    # Neither of the first two knows afterwards what became of the command; that is what they are compared for.
    plain: dict[str, Callable[[], Usage]] = {
        f"{SSH}: setsid &": lambda: place.ssh(f"setsid sleep {_BRIEF} >/dev/null 2>&1 </dev/null &"),
        f"{ANSIBLE}: async": lambda: place.ansible("-B", _BRIEF, "-P", "0", "-m", "command", "-a", f"sleep {_BRIEF}"),
    }
    if len(place.nodes) == 1:
        command = ["sleep", LONG]
        return plain | {
            f"{COLD}: run": lambda: _submitted(place, fleet, lambda: place.stoker(*_RUN, *command, cold=True)),
            f"{WARM}: run": lambda: _submitted(place, fleet, lambda: place.stoker(*_RUN, *command)),
            f"{API}: jobs.run": lambda: _submitted(
                place, fleet, lambda: place.meter.call(lambda: fleet.jobs.run(command, on="n1"))
            ),
        }
    return plain | {
        f"{COLD}: dispatch": lambda: _queued(place, fleet, lambda: place.stoker("dispatch", cold=True)),
        f"{WARM}: dispatch": lambda: _queued(place, fleet, lambda: place.stoker("dispatch")),
        f"{API}: dispatch.rounds": lambda: _queued(
            place, fleet, lambda: place.meter.call(lambda: list(fleet.dispatch.rounds()))
        ),
    }


_RUN = ("run", "--on", "n1", "--grace", "0s", "--")


def _submitted(place: Place, fleet: Fleet, submit: Callable[[], Usage]) -> Usage:
    usage = submit()
    newest = fleet.jobs.list(limit=1).jobs[0]
    if newest.state != "running":
        raise RuntimeError(f"{newest.id} is {newest.state} after it was submitted: {newest.detail}")
    fleet.jobs.stop(newest.id, grace=0)
    return usage


def _queued(place: Place, fleet: Fleet, round_: Callable[[], Usage]) -> Usage:
    """Write a job for each node down, which counts, too; then the round."""
    ids: list[str] = []

    def write() -> None:
        ids.extend(queue(store, ["sleep", LONG], node.name).id for node in place.nodes)

    with open_store() as store:
        wrote = place.meter.call(write)
    usage = round_()
    states = {job.id: job.state for job in fleet.jobs.list(limit=0).jobs}
    waiting = [job for job in ids if states[job] != "running"]
    if waiting:
        raise RuntimeError(f"{len(waiting)} of {len(ids)} jobs do not run after one round, {waiting[0]} among them")
    fleet.jobs.stop(*ids, grace=0)
    return Usage(wrote.wall_s + usage.wall_s, wrote.cpu_s + usage.cpu_s)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
