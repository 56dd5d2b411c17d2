# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline W&B runs of every kind, into the folder named: argv is the folder and which kinds."""

from __future__ import annotations

import math
import os
import sys

import wandb

STEPS = 60


def value(step: int) -> float:
    return float("nan") if step == 7 else float("inf") if step == 8 else 1 / (step + 1)


def log(run: object, step: int) -> None:
    row = {
        "train/loss": value(step),
        "nested": {"a": step, "deep": {"b": step * 2}},
        "ключ": step,
        "flag": True,
        "text": "abc",
        "nothing": None,
        "list": [1, 2],
    }
    if step % 10 == 0:
        row["val/acc"] = math.sqrt(step)
    if step == 9:
        row["hist"] = wandb.Histogram([1.0, 2.0, 3.0])
    run.log(row)  # type: ignore[attr-defined]


def start(folder: str, **options: object) -> object:
    return wandb.init(project="pine", mode="offline", dir=folder, settings=wandb.Settings(silent=True), **options)


def main(folder: str, kinds: list[str]) -> None:
    for kind in kinds:
        config = {"lr": 1e-3, "optimizer": {"name": "adam", "betas": [0.9, 0.99]}}
        run = start(
            folder, id=kind, name=f"a {kind} run", group="g1", tags=["one", "two"], notes="what a day", config=config
        )
        for step in range(STEPS):
            log(run, step)
        run.define_metric("ключ", summary="max")  # type: ignore[attr-defined]
        print(f"\x1b[31msaid by {kind}\x1b[0m\rover by {kind}")
        if kind == "killed":
            sys.stdout.flush()
            os.kill(os.getpid(), 9)
        if kind == "running":
            print("READY", flush=True)
            sys.stdin.read()
        run.finish(exit_code=3 if kind == "failed" else 0)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
