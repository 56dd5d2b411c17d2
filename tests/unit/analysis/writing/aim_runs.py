# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a repository of Aim: argv is the folder, how many steps, and `killed` for a process that dies in between."""

from __future__ import annotations

import os
import signal
import sys

os.environ.update(AIM_ANALYTICS="0", PINE_API_KEY="hunter2")

import aim


def main(folder: str, steps: int, how: str) -> None:
    own = {"system_tracking_interval": None, "log_system_params": True, "capture_terminal_logs": False}
    run = aim.Run(repo=folder, experiment="pine", **own)
    run.name = how
    run.description = "first try"
    run.add_tag("baseline")
    run["hparams"] = {"lr": 3e-4, "model": {"depth": 12, "sizes": [64, 32, 16]}, "amp": True, "note": None}
    for step in range(steps):
        value = float("nan") if step == 3 else float("inf") if step == 4 else 1 / (step + 1)
        run.track(value, name="loss", step=step, epoch=step // 10, context={"subset": "train"})
        if step % 5 == 0:
            run.track(step, name="acc", step=step, context={"subset": "val", "rank": 0})
    run.track(aim.Text("hello"), name="said", step=0)
    run.track(0.5, name="plain", step=7)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    run.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
