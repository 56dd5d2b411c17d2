# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labelled curves, and a folder for a run that one of them is written to."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import curves
import measured as measuring
from asked import jsonl
from curves import Curve, Written
from measured import Measured


@pytest.fixture(scope="session")
def measured() -> Measured:
    """The figures of the seeds that no limit was tuned on."""
    return measuring.measure(measuring.HELD_OUT)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """`written(curve)` is a folder with the curve as JSON lines, and its settings beside it."""

    def write(curve: Curve) -> Path:
        folder = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        rows: dict[float, list[dict[str, Any]]] = defaultdict(list)
        for name, (steps, values) in curve.metrics.items():
            seen: dict[float, int] = defaultdict(int)
            for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                of_step, index = rows[step], seen[step]
                seen[step] += 1
                if len(of_step) <= index:
                    of_step.append({"step": step})
                of_step[index][name] = value
        if curve.seconds is not None:
            steps = curve.metrics["train/loss"][0] if "train/loss" in curve.metrics else None
            start = curves.NOW - curve.silent_s - float(curve.seconds[-1])
            if steps is not None and len(steps) == len(np.unique(steps)):
                for step, second in zip(steps.tolist(), curve.seconds.tolist(), strict=True):
                    rows[step][0]["time"] = start + second
        jsonl(folder / "metrics.jsonl", [row for step in sorted(rows) for row in rows[step]])
        (folder / "config.json").write_text(json.dumps(curve.config or {"none": True}))
        return folder

    return write
