# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainings that people begin with, each with its real library, as jobs on a machine that is rented for it.

That of Ultralytics is not among them: it needs torchvision, of which this machine has no build for CPUs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from cli import Cli
from testbed.programs import programs_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")
SETTINGS = 'pools:\n  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 1, idle_s: 2}\n'


@pytest.fixture(scope="module")
def trainer() -> Path:
    """A Python with the libraries."""
    wanted = Path(__file__).with_name("starters.txt")
    return programs_of("starters", wanted, "PyTorch, JAX and Transformers", by_pip=True, timeout_s=1200)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("starter", "steps"), [("pytorch", 400), ("jax", 400), ("huggingface", 100)])
def test_a_training_runs_on_a_rented_machine_and_goes_on_from_its_checkpoint(
    renter: Cli, trainer: Path, starter: str, steps: int
) -> None:
    cli = renter
    assert cli("init", "--template", starter).code == 0
    file = cli.folder / "experiment.yml"
    file.write_text(re.sub("# on: .*", "on: pool:cheap", file.read_text()))
    ran = cli("workflow", "run", "experiment.yml", "-c", f"python={trainer}", "-c", f"steps={steps}", timeout_s=900)
    assert ran.code == 0, ran
    assert re.search(r"train +succeeded +vast-\d+", ran.out), ran.out
    figures = [json.loads(line) for line in (cli.folder / "metrics.jsonl").read_text().splitlines()]
    whole = {record["step"]: record["loss"] for record in figures if "loss" in record}
    assert max(whole) == steps
    assert whole[steps] < whole[min(whole)]
    # Once more from the middle, as a job that lost its machine would: it ends with the same figures.
    older, _ = sorted((cli.folder / "checkpoints").iterdir(), key=lambda each: int(each.stem.rpartition("-")[2]))
    again = cli(
        "run", "--on", "localhost", "--follow", "-e", f"STOKER_RESUME_FROM={older}", "--workdir", str(cli.folder),
        "--", str(trainer), "train.py", "--steps", str(steps), timeout_s=900,
    )  # fmt: skip
    assert again.code == 0, again
    assert not re.search("from the start|from step 0", again.out)
    told = {int(step): float(loss) for step, loss in re.findall(r"step (\d+) loss ([0-9.e-]+)", again.out)}
    assert min(told) > min(whole)
    assert told[steps] == pytest.approx(whole[steps], rel=0.02, abs=1e-4)
