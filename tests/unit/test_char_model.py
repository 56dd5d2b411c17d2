# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the demo really learns, and a checkpoint really continues it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parents[2] / "examples/char_model/train.py"


def train(out: Path, *options: str, resume: Path | None = None) -> str:
    env = {**os.environ, **({"STOKER_RESUME_FROM": str(resume)} if resume else {})}
    command = [sys.executable, "-S", str(TRAIN), "--out", str(out), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True).stdout


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls(tmp_path: Path) -> None:
    said = train(tmp_path, "--steps", "50")
    first, *_, last = metrics(tmp_path)
    assert (first["step"], last["step"]) == (1, 50)
    assert last["loss"] < first["loss"] - 0.8
    assert last["val_loss"] < first["val_loss"] - 0.8
    assert f"step 50/50  loss {last['loss']:.3f}" in said


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, "--steps", "24")
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), "--out", str(parts), "--steps", "24"], stdout=subprocess.PIPE, text=True
    )
    try:
        while not (parts / "metrics.jsonl").exists() or len(metrics(parts)) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        while not (parts / "checkpoint.json").exists():
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    reached = json.loads((parts / "checkpoint.json").read_text())["step"]
    assert 10 <= reached < 24
    said = train(parts, "--steps", "24", resume=parts)
    assert f"from step {reached}\n" in said
    assert metrics(parts)[-1]["val_loss"] == metrics(whole)[-1]["val_loss"]
    assert json.loads((parts / "checkpoint.json").read_text()) == json.loads((whole / "checkpoint.json").read_text())
