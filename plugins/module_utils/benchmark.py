# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a node is: floating point, memory, GPUs. The median of three, and how far they were apart."""

from __future__ import annotations

import json
import os
import statistics
import sys

from . import benchmark_kernels, gpus
from .statedir import Lock, NodeError

TIMEOUT_S = 180.0
# Three figures further apart than this say more about what else ran than about the machine, in percent.
STEADY_PCT = 10.0


def benchmark(state, request):
    """Measure; one at a time. Raises NodeError where another is under way, or the measuring program fails."""
    python = request.get("interpreter") or sys.executable
    lock = Lock(os.path.join(state.path, "benchmark.lock"))
    if not lock.acquire():
        raise NodeError(
            "conflict", "a benchmark is under way on this node: two would disturb each other", "ask again soon"
        )
    try:
        jobs = _running(state)
        argv = [python, "-I", benchmark_kernels.__file__]
        code, out, err = gpus.run_bounded(argv, request.get("timeout_s") or TIMEOUT_S, "the benchmark")
        lines = out.splitlines()
        if code != 0 or not lines:
            words = (err.strip().splitlines() or ["no words"])[-1][:300]
            raise NodeError("internal", "the benchmark by {0} ended with {1}: {2}".format(python, code, words))
        measures = [_judged(measure) for measure in json.loads(lines[-1])["measures"]]
        return {"benchmark": {"python": python, "jobs": sorted(set(jobs) | set(_running(state))), "measures": measures}}
    finally:
        lock.release()


def _running(state):
    """Jobs that may have been computing meanwhile."""
    return [job for job in state.jobs() for attempt in state.attempts(job) if not attempt.finished()]


def _judged(measure):
    values = measure["values"]
    if not values:
        return dict(measure, value=None, spread_pct=None, steady=None)
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / middle * 100.0
    return dict(measure, value=middle, spread_pct=round(spread, 2), steady=spread <= STEADY_PCT)
