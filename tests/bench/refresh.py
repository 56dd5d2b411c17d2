# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs on one node: what one look at all of them takes."""

from __future__ import annotations

from tests.bench.measure import Usage, interleaved
from tests.bench.place import Place
from tests.bench.table import Table

JOBS = 20


def refresh(place: Place, runs: int) -> Table:
    """The live list of 20 jobs on one node, next to asking by ssh for each job."""
    (node,) = place.use(1)
    asked, stoker = f"ssh true, {JOBS} times", f"stoker, warm: jobs --live, {JOBS} jobs"
    sessions: dict[str, int] = {}

    def counted(name: str, look: Usage, before: int) -> Usage:
        sessions[name] = node.log().count("Starting session") - before
        return look

    def seen() -> int:
        return node.log().count("Starting session")

    def ask_for_each() -> Usage:
        before = seen()
        looks = [place.ssh("true") for _ in range(JOBS)]
        return counted(asked, Usage(sum(u.wall_s for u in looks), sum(u.cpu_s for u in looks)), before)

    def ask_once() -> Usage:
        before = seen()
        return counted(stoker, place.stoker("jobs", "--live"), before)

    with place.fleet() as fleet:
        place.warm()
        place.start_on_all(fleet, JOBS)
        usages = interleaved({asked: ask_for_each, stoker: ask_once}, runs)
    table = Table("refresh", f"Refresh {JOBS} jobs on one node", (asked,))
    for name, usage in usages.items():
        table.add(name, usage, sessions=sessions[name])
    return table
