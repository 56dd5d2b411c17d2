# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainings that people begin with, each with its real library, as jobs on a machine that is rented for it.

Of torchvision there is no build for CPUs here: testbed/torchvision_extension.py gives what Ultralytics needs of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from cli import Cli
from testbed import programs
from testbed.programs import programs_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="rented machines are logged in to as root")
SETTINGS = 'pools:\n  cheap: {price: 0.5, image: "pytorch/pytorch:2.4", max: 1, idle_s: 2}\n'


@pytest.fixture(scope="module")
def trainer() -> Path:
    """A Python with the libraries."""
    wanted, alone = (Path(__file__).with_name(name) for name in ("starters.txt", "starters-alone.txt"))
    replaced = {"torchvision/extension.py": Path(programs.__file__).with_name("torchvision_extension.py")}
    return programs_of(
        "starters", wanted, "PyTorch, JAX, Transformers and Ultralytics", by_pip=True, timeout_s=1200, alone=alone,
        replaced=replaced,
    )  # fmt: skip


# Boxes in a heap of them, of three sizes: those that stay are the same for a plain loop over pairs.
SUPPRESSED = """
import torch, torchvision
from torchvision.ops import box_iou, nms
torch.manual_seed(1)
corner = torch.rand(400, 2) * 100
boxes, scores = torch.cat([corner, corner + torch.randint(1, 4, (400, 1)) * 10], 1), torch.rand(400).round(decimals=2)
for most in (0.0, 0.3, 0.7):
    overlap, left = box_iou(boxes, boxes), []
    for each in scores.argsort(descending=True, stable=True).tolist():
        if all(overlap[each, better] <= most for better in left):
            left.append(each)
    assert nms(boxes, scores, most).tolist() == left and 0 < len(left) < 400
assert nms(boxes[:0], scores[:0], 0.5).tolist() == []
"""


def test_what_stands_in_for_torchvisions_operator_leaves_the_boxes_that_it_should(trainer: Path) -> None:
    said = subprocess.run([trainer, "-c", SUPPRESSED], capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.timeout(1800)
@pytest.mark.accepts("V33")
@pytest.mark.parametrize(
    ("starter", "count", "steps", "loss"),
    [
        ("pytorch", "step", 400, "loss"), ("jax", "step", 400, "loss"), ("huggingface", "step", 100, "loss"),
        ("ultralytics", "epoch", 3, "val/box_loss"),
    ],
)  # fmt: skip
def test_a_training_runs_on_a_rented_machine_and_goes_on_from_its_checkpoint(
    renter: Cli, trainer: Path, starter: str, count: str, steps: int, loss: str
) -> None:
    cli = renter
    assert cli("init", "--template", starter).code == 0
    file = cli.folder / "experiment.yml"
    file.write_text(re.sub("# on: .*", "on: pool:cheap", file.read_text()))
    ran = cli("workflow", "run", "experiment.yml", "-c", f"python={trainer}", "-c", f"{count}s={steps}", timeout_s=900)
    assert ran.code == 0, ran
    assert re.search(r"train +succeeded +vast-\d+", ran.out), ran.out
    figures = [json.loads(line) for line in (cli.folder / "metrics.jsonl").read_text().splitlines()]
    whole = {record["step"]: record[loss] for record in figures if loss in record}
    assert max(whole) == steps
    # A few epochs are too few for a detector to learn.
    assert whole[steps] < whole[min(whole)] or count == "epoch"
    # Once more from the middle, as a job that lost its machine would: it ends with the same figures.
    older, _ = sorted((cli.folder / "checkpoints").iterdir(), key=lambda each: int(each.stem.rpartition("-")[2]))
    again = cli(
        "run", "--on", "localhost", "--follow", "-e", f"STOKER_RESUME_FROM={older}", "--workdir", str(cli.folder),
        "--", str(trainer), "train.py", f"--{count}s", str(steps), timeout_s=900,
    )  # fmt: skip
    assert again.code == 0, again
    assert not re.search("from the start|from step 0", again.out)
    said = rf"{count} (\d+) (?:\S+ \S+ )*?{loss} ([0-9.e-]+)"
    told = {int(step): float(loss) for step, loss in re.findall(said, again.out)}
    assert min(told) > min(whole)
    assert told[steps] == pytest.approx(whole[steps], rel=0.02, abs=1e-4)
