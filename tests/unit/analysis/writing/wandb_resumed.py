# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A W&B run in two segments of one id: the second begins again at step 40, and another run's id begins alike."""

from __future__ import annotations

import sys

import wandb


def main(folder: str) -> None:
    for name, steps, factor in (("res", range(60), 1), ("res", range(40, 100), 2), ("res2", range(5), 3)):
        run = wandb.init(
            project="pine", mode="offline", dir=folder, id=name, resume="allow", settings=wandb.Settings(silent=True)
        )
        for step in steps:
            run.log({"loss": step * factor}, step=step)
        run.finish()


if __name__ == "__main__":
    main(sys.argv[1])
