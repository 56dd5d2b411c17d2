# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers on one store: each job is claimed once, whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoker.store import open_store

CONTROLLER = """
import json, sys, time
from pathlib import Path
from stoker.dispatch import NodeInfo, RoundRequest, begin_round
from stoker.store import open_store
url, gate = sys.argv[1], Path(sys.argv[2])
with open_store(url) as store:
    nodes = [NodeInfo(f"n{index}") for index in range(4)]
    print("ready", flush=True)
    while not gate.exists():
        time.sleep(0.001)
    claimed = []
    for _ in range(50):
        store.add_job("own", {"argv": ["true"]}, target="n1")
        for name, request in begin_round(store, nodes, RoundRequest(), time.time()).items():
            for order in request["orders"]:
                claimed.append((order["spec"]["job"], order["attempt"], name))
print(json.dumps(sorted(set(claimed))))
"""


@pytest.mark.accepts("C06")
def test_two_controllers_add_and_dispatch_100_jobs_at_once(store_url: str, tmp_path: Path) -> None:
    open_store(store_url).close()
    gate = tmp_path / "go"
    command = [sys.executable, "-c", CONTROLLER, store_url, str(gate)]
    controllers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for controller in controllers:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "ready\n"
    gate.touch()
    said = [controller.communicate(timeout=120) for controller in controllers]
    assert [error for _, error in said] == ["", ""]
    with open_store(store_url) as store:
        jobs = store.jobs()
        assert len(jobs) == 100
        assert {(job.state, job.attempt, job.node) for job in jobs} == {("starting", 1, "n1")}
        assert all(len(store.attempts(job.id)) == 1 for job in jobs)
        claims = store.events(types=("job.starting",))
        assert len(claims) == len({event.job_id for event in claims}) == 100
