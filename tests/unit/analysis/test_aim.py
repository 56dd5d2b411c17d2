# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories that the aim package wrote: closed, large, left behind by a process that was killed, and damaged."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asked import Asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.analysis import Run, read, runs_in

STEPS = 3000
Write = Callable[..., None]


@pytest.fixture(scope="session")
def repository(write_aim: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a run that was closed and one whose process was killed."""
    folder = tmp_path_factory.mktemp("aim")
    write_aim("aim_runs", folder, STEPS, "closed")
    write_aim("aim_runs", folder, 40, "killed", code=-9)
    return folder


@pytest.fixture(scope="session")
def small(write_aim: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with few points, to be damaged."""
    folder = tmp_path_factory.mktemp("small")
    write_aim("aim_runs", folder, 20, "closed")
    write_aim("aim_runs", folder, 20, "killed", code=-9)
    return folder


def runs(folder: Path) -> dict[str | None, Run]:
    return {found.info.name: read(found) for found in runs_in(folder)}


@pytest.mark.accepts("R35")
@pytest.mark.parametrize(("name", "steps"), [("closed", STEPS), ("killed", 40)])
def test_every_point_of_every_metric_is_read(name: str, steps: int, repository: Path) -> None:
    run = runs(repository)[name]
    loss, accuracy, plain = (run.metrics[key] for key in ("train/loss", "val/acc{rank=0}", "plain"))
    assert list(loss.steps) == list(range(steps))
    assert math.isnan(loss.values[3])
    assert loss.values[4] == math.inf
    assert [loss.values[step] for step in (0, 5, steps - 1)] == [1, 1 / 6, 1 / steps]
    assert [list(accuracy.steps), list(accuracy.values)] == [list(range(0, steps, 5))] * 2
    assert (list(plain.steps), list(plain.values)) == ([7], [0.5])
    assert loss.times is not None
    assert time.time() - 86400 < loss.times[0] <= loss.times[-1] < time.time() + 60
    assert set(run.metrics) == {"train/loss", "val/acc{rank=0}", "plain"}
    assert run.skipped == {"value that is no number (object of Aim)": 1}
    assert run.remarks == ()


@pytest.mark.accepts("R35")
def test_what_is_known_of_a_run(repository: Path, stoker: Asked) -> None:
    closed, killed = (runs(repository)[name].info for name in ("closed", "killed"))
    assert (closed.kind, closed.project, closed.notes, closed.tags) == ("aim", "pine", "first try", ("baseline",))
    model = {"depth": 12, "sizes": [64, 32, 16]}
    assert closed.config == {"hparams": {"lr": 3e-4, "model": model, "amp": True, "note": None}}
    assert closed.started_at is not None
    assert abs(closed.started_at - closed.updated_at) < 600
    assert closed.bytes > 10_000
    assert (closed.state.name, killed.state.name) == ("unknown", "unknown")
    assert "it ended" in closed.state.evidence
    assert "no end" in killed.state.evidence
    listed = stoker("list", repository)
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.count("aim") == 2
    # Aim notes the environment of the process, secrets and all.
    for command in ("list", "config", "notes", "summary"):
        shown = stoker(command, *([repository] if command == "list" else ["closed", "--folder", repository]), "--json")
        assert shown.code == 0
        assert "hunter2" not in shown.out
    assert stoker("best", "train/loss", repository / ".aim", "--json").value["runs"][0]["info"]["name"] == "closed"
    followed = stoker("watch", "killed", "--folder", repository, "--once", "-n", 1)
    assert (followed.code, "step 39" in followed.out) == (0, True), followed


@pytest.mark.accepts("R35")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_told_and_never_a_traceback(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    shutil.copytree(small, folder)
    parts = [part for name in ("0*", "MANIFEST*", "CURRENT") for part in sorted(folder.rglob(name)) if part.is_file()]
    path = data.draw(st.sampled_from([part for part in parts if part.stat().st_size]))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    for found in runs_in(folder):
        run = read(found)
        known = [loss for name, metric in run.metrics.items() if name == "train/loss" for loss in metric.values[5:]]
        assert all(0 < loss <= 1 / 6 for loss in known), "what is read was logged"
        json.dumps(run.info.config)
    shutil.rmtree(folder)


@pytest.mark.accepts("R35")
def test_a_database_without_one_of_its_tables_is_refused_in_words(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "copy")
    (first, *others) = (tmp_path / "copy/.aim").rglob("*.sst")
    first.unlink()
    for table in others:
        table.write_bytes(table.read_bytes()[:-30])
    assert others
    remarks = [remark for run in runs(tmp_path / "copy").values() for remark in run.remarks]
    assert any("does not end as a table does" in remark for remark in remarks)
    assert any(f"{first.name} is not there, so what it held is not read" in remark for remark in remarks)
