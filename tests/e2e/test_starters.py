# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainings that people begin with, each with its real library, as jobs on a real node.

That of Ultralytics is not among them: it needs torchvision, of which this machine has no build for CPUs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.cli import Cli
from testbed import PlainNode
from testbed.programs import programs_of


@pytest.fixture(scope="module")
def trainer() -> Path:
    """A Python with the libraries."""
    wanted = Path(__file__).with_name("starters.txt")
    return programs_of("starters", wanted, "PyTorch, JAX and Transformers", by_pip=True, timeout_s=1200)


def losses(folder: Path) -> dict[int, float]:
    """What metrics.jsonl says, by step."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {record["step"]: record["loss"] for record in records if "loss" in record}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("starter", "steps"), [("pytorch", 400), ("jax", 400), ("huggingface", 100)])
def test_a_training_runs_and_goes_on_from_its_checkpoint(
    stoker: Callable[..., Cli], node: PlainNode, trainer: Path, starter: str, steps: int
) -> None:
    cli = stoker(node)
    assert cli("init", "--template", starter).code == 0
    assert cli("workflow", "validate", "experiment.yml").code == 0
    ran = cli("workflow", "run", "experiment.yml", "-c", f"python={trainer}", "-c", f"steps={steps}", timeout_s=600)
    assert ran.code == 0, ran
    whole = losses(cli.folder)
    assert max(whole) == steps
    assert whole[max(whole)] < whole[min(whole)]
    older, newest = sorted((cli.folder / "checkpoints").iterdir(), key=lambda each: int(each.stem.rpartition("-")[2]))
    (cli.folder / "from").mkdir()
    older.rename(cli.folder / "from" / older.name)
    again = cli(
        "run", "--follow", "--snapshot", "-e", "STOKER_RESUME_FROM=from", "--", str(trainer), "train.py",
        "--steps", str(steps), timeout_s=600,
    )  # fmt: skip
    assert again.code == 0, again
    assert "from the start" not in again.out
    assert "from step 0" not in again.out
    told = {int(step): float(loss) for step, loss in re.findall(r"step (\d+) loss ([0-9.e-]+)", again.out)}
    assert told[steps] == pytest.approx(whole[steps], rel=0.02, abs=1e-4), newest
