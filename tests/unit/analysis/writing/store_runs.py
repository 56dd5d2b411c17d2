# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in stores: argv is `trackio FOLDER` or `mlflow URI...`. The same points go into each."""

from __future__ import annotations

import os
import sys

os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_ALLOW_FILE_STORE="true", HF_HUB_OFFLINE="1"
)
SETTINGS = {"lr": 0.001, "layers": 12, "optimizer": "adam"}


def points(step: int) -> dict[str, float]:
    row = {
        "train/loss": 1 / (step + 1),
        "odd": float("nan") if step == 3 else float("inf") if step == 4 else step * 1.0,
    }
    return row | ({"val/acc": step / 20} if step % 5 == 0 else {})


def with_trackio(folder: str) -> None:
    os.environ["TRACKIO_DIR"] = folder
    import trackio

    for name in ("wide", "deep"):
        trackio.init(project="pine", name=name, group="g1", config=SETTINGS)
        for step in range(20):
            trackio.log(points(step) | {"text": "x"}, step=step)  # type: ignore[dict-item]
        trackio.finish()


def with_mlflow(uri: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("pine")
    mlflow.start_run(run_name="wide")
    mlflow.log_params(SETTINGS)
    mlflow.set_tags({"mlflow.note.content": "what a day", "mlflow.source.git.commit": "4f1c2aa", "size": "big"})
    for step in reversed(range(20)):
        mlflow.log_metrics(points(step), step=step)
    mlflow.end_run()
    mlflow.start_run(run_name="broken")
    mlflow.log_metric("train/loss", 2.0, step=1)
    mlflow.end_run(status="FAILED")
    with mlflow.start_run(run_name="gone") as gone:
        mlflow.log_metric("train/loss", 2.0, step=1)
    mlflow.delete_run(gone.info.run_id)
    mlflow.start_run(run_name="going")
    mlflow.log_metric("train/loss", 3.0, step=1)
    os._exit(0)  # nobody tells MLflow that it ended


if __name__ == "__main__":
    {"trackio": with_trackio, "mlflow": with_mlflow}[sys.argv[1]](sys.argv[2])
