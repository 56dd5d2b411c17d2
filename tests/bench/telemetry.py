# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How all nodes are: a loop of ssh, one node after the other as a script has it, next to `stoker telemetry`."""

from __future__ import annotations

import json

from tests.bench.measure import Usage, interleaved
from tests.bench.place import Place
from tests.bench.table import Table

# The same figures, unread: two looks at the processors, memory, load, disks, network, GPUs.
_SCRIPT = (
    "cat /proc/stat; sleep 0.2; cat /proc/stat /proc/meminfo /proc/loadavg /proc/net/dev; df -P; "
    "nvidia-smi 2>/dev/null || true"
)


def telemetry(place: Place, count: int, runs: int) -> Table:
    """CPU, memory, disks, network and GPUs of all nodes once."""
    place.use(count)
    loop, at_once, warm = "ssh, a loop over the nodes", "ssh, all at once", "stoker, warm: telemetry"

    def one_by_one() -> Usage:
        looks = [place.ssh(_SCRIPT, [node]) for node in place.nodes]
        return Usage(sum(u.wall_s for u in looks), sum(u.cpu_s for u in looks))

    place.warm()
    _check(place, count)
    usages = interleaved(
        {loop: one_by_one, at_once: lambda: place.ssh(_SCRIPT), warm: lambda: place.stoker("telemetry")}, runs
    )
    table = Table(f"telemetry-{count}", f"Telemetry of {count} node{'s' if count > 1 else ''}", (loop, at_once))
    table.add_all(usages)
    return table


def _check(place: Place, count: int) -> None:
    """What is timed is a whole answer: a sample of each node with its memory."""
    answer = place.bed.folder / "telemetry.json"
    place.stoker("telemetry", "--json", stdout=answer)
    told = [json.loads(line)["value"] for line in answer.read_text().splitlines()]
    if sum(sample["memory_used"] is not None for sample in told) != count:
        raise RuntimeError(f"telemetry does not tell of {count} nodes: {told}")
