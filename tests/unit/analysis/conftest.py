# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the real programs wrote, and a command line that asks about them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from asked import Asked, jsonl
from testbed.programs import programs_of

HERE = Path(__file__).parent
Write = Callable[..., None]

INSTALLS = {"writers", "write", "stores", "write_store", "write_aim", "fuzzer"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs real programs installs them: on a slow machine that takes longer than a test may."""
    for item in items:
        if INSTALLS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(1500))


def environment(name: str, requirements: str, programs: str) -> Path:
    return programs_of(name, HERE / "writing" / requirements, programs)


def program(python: Path) -> Write:
    def run(program: str, *arguments: Any, code: int = 0) -> None:
        command = [str(python), str(HERE / "writing" / f"{program}.py"), *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert ended.returncode == code, ended.stderr

    return run


@pytest.fixture(scope="session")
def writers() -> Path:
    """The Python of an environment with W&B and TensorBoard."""
    return environment("writers", "requirements.txt", "W&B and TensorBoard")


@pytest.fixture(scope="session")
def write(writers: Path) -> Write:
    """`write("event_files", folder, 100, 0)` runs that program of writing/."""
    return program(writers)


@pytest.fixture(scope="session")
def stores() -> Path:
    """The Python of an environment with trackio and MLflow."""
    return environment("stores", "stores.txt", "trackio and MLflow")


@pytest.fixture(scope="session")
def write_store(stores: Path) -> Write:
    """`write_store("store_runs", "trackio", folder)` runs that program of writing/."""
    return program(stores)


@pytest.fixture(scope="session")
def write_aim() -> Write:
    """`write_aim("aim_runs", folder, 100, "closed")` runs that program of writing/."""
    return program(environment("aim", "aim.txt", "Aim"))


@pytest.fixture(scope="session")
def fuzzer() -> Path:
    """The Python of an environment with atheris."""
    return environment("fuzz", "fuzz.txt", "atheris")


@pytest.fixture(scope="session")
def wandb_runs(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run that finished, one that failed with 3 and one that was killed."""
    folder = tmp_path_factory.mktemp("wandb-runs")
    write("wandb_runs", folder, "finished", "failed")
    write("wandb_runs", folder, "killed", code=-9)
    return folder


@pytest.fixture(scope="session")
def event_files(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one event file of 300 points and values of every kind."""
    folder = tmp_path_factory.mktemp("events")
    write("event_files", folder / "exp1", 300, 0)
    return folder


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """`stoker("summary", ...)` asks `stoker runs summary ...` in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Asked(capsys)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with runs `a` and `b`: b is better, goes on longer, and has validation every 100 steps."""
    for name, steps, factor in (("a", 1001, 1.0), ("b", 2001, 0.5)):
        rows: list[Any] = [{"step": 1, "time": 1.7e9}]
        for step in range(1, steps):
            row = {"step": step, "train/loss": factor * (1 + 1000 / step), "lr": 0.001, "time": 1.7e9 + step}
            if step % 100 == 0:
                row |= {"val/acc": step / 4000 / factor, "val/loss": factor * abs(step - 700)}
            rows.append(row)
        jsonl(tmp_path / name / "metrics.jsonl", rows)
        config = {
            "lr": 0.001,
            "model": {"depth": 12 * int(1 / factor), "name": "x|y"},
            **({"only": None} if name == "b" else {}),
        }
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return tmp_path
