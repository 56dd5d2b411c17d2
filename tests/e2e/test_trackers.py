# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job whose program tracks its run with the real W&B, offline, and the real MLflow, on a server of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli import Cli, until
from testbed import PlainNode
from testbed.programs import programs_of

Stoker = Callable[..., Cli]
WRITING = Path(__file__).parents[1] / "unit/analysis/writing"
KEY = "0123456789abcdef" * 2 + "fedcba98"
OFFLINE = """
import os, wandb
assert len(os.environ["WANDB_API_KEY"]) == 40
run = wandb.init(project="pine", mode="offline", id="p0m4x7bb")
run.log({"loss": 1.0})
run.finish()
"""
SERVED = """
import os, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run(run_name="wide"):
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow tracking server."""
    python = programs_of("stores", WRITING / "stores.txt", "trackio and MLflow")
    command = [python, WRITING / "mlflow_server.py", f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, (tmp_path / "server.log").read_text()
        yield address
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.accepts("V38")
def test_a_job_says_where_trackers_keep_its_runs(stoker: Stoker, node: PlainNode, server: str) -> None:
    wandb = programs_of("writers", WRITING / "requirements.txt", "W&B and TensorBoard")
    mlflow = programs_of("stores", WRITING / "stores.txt", "trackio and MLflow")
    cli, folder = stoker(node), node.home / "proj"
    folder.mkdir()
    (folder / "offline.py").write_text(OFFLINE)
    (folder / "served.py").write_text(SERVED)
    quiet = "MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true"
    script = f"{wandb} offline.py && {quiet} {mlflow} served.py {server}"
    options = ("--workdir", str(folder), "--secret", "WANDB_API_KEY", "--on", node.name)
    job = cli.run("sh", "-c", script, options=options, env={"WANDB_API_KEY": KEY})
    until(lambda: cli.job(job, "--live")["state"] not in ("queued", "starting", "running"), "its end", 240)
    told = cli.job(job)
    assert told["state"] == "succeeded", cli("logs", job).out
    offline, page = told["trackers"]
    (written,) = folder.glob("wandb/offline-run-*-p0m4x7bb")
    assert (offline["tracker"], offline["url"], page["tracker"], page["folder"]) == ("wandb", None, "mlflow", None)
    assert os.path.realpath(folder / offline["folder"]) == os.path.realpath(written)
    # The page is one that the server has, and can be asked about as it is.
    assert page["url"].startswith(f"{server}/#/experiments/0/runs/")
    shown = cli("job", job).out
    assert f"run       {page['url']}" in shown
    assert f"run       wandb, offline: wandb sync {folder}/wandb/{written.name} sends it" in shown
    asked = cli("runs", "stats", f"mlflow:{page['url']}", "--json").json()
    assert (asked["info"]["name"], asked["metrics"][0]["final"]) == ("wide", 0.2)
    # The tracker's key came from the secret: it is written down nowhere.
    files = [path for path in [*cli.folder.rglob("*"), *node.state_dir.rglob("*")] if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
