# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""W&B's run files, written by W&B itself, and what is left of them when they are damaged. W&B is not installed here."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from asked import Asked, by_id, the_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers.wandb_file import read_wandb
from stoker.analysis import read, runs_in

STEPS = 60


@pytest.fixture(scope="module")
def file(wandb_runs: Path) -> Path:
    (path,) = wandb_runs.glob("wandb/offline-run-*-finished/*.wandb")
    return path


@pytest.mark.accepts("R01")
def test_runs_are_listed_with_their_names_and_how_they_ended(wandb_runs: Path, stoker: Asked) -> None:
    listed = {run["id"]: run for run in stoker("list", wandb_runs, "--json").value["runs"]}
    assert set(listed) == {"finished", "failed", "killed"}
    for name, run in listed.items():
        assert run["name"] == f"a {name} run"
        assert (run["project"], run["group"], run["tags"]) == ("pine", "g1", ["one", "two"])
        assert run["notes"] == "what a day"
    states = {name: (run["state"]["name"], run["state"]["exit_code"]) for name, run in listed.items()}
    assert states == {"finished": ("finished", 0), "failed": ("failed", 3), "killed": ("unfinished", None)}
    assert "no exit record" in listed["killed"]["state"]["evidence"]
    shown = stoker("list", wandb_runs).out
    assert "failed (3)" in shown
    assert "#one #two" in shown


@pytest.mark.accepts("R01")
def test_an_online_runs_folder_is_read_the_same(file: Path, tmp_path: Path, stoker: Asked) -> None:
    folder = tmp_path / "wandb/run-20260101_000000-finished"
    folder.mkdir(parents=True)
    shutil.copy(file, folder)
    (run,) = stoker("list", tmp_path, "--json").value["runs"]
    assert (run["id"], run["state"]["name"]) == ("finished", "finished")


@pytest.mark.accepts("R15")
def test_a_run_in_progress_shows_its_newest_step(writers: Path, tmp_path: Path, stoker: Asked) -> None:
    program = Path(__file__).parent / "writing/wandb_runs.py"
    command = [str(writers), str(program), str(tmp_path), "running"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.strip() == "READY" for line in process.stdout)
        try:
            end = time.monotonic() + 150
            while (said := stoker("summary", tmp_path, "--json").value)["last_step"] is None:
                assert time.monotonic() < end, "nothing was written"
                time.sleep(0.2)
        finally:
            process.communicate()
    assert said["info"]["state"]["name"] == "running"
    assert "has run-running.wandb open for writing" in said["info"]["state"]["evidence"]
    assert 0 <= said["last_step"] <= STEPS - 1
    assert stoker("summary", tmp_path, "--json").value["info"]["state"]["name"] == "finished"


@pytest.mark.accepts("R02")
def test_every_point_of_every_key_is_there_without_wandb(file: Path) -> None:
    assert importlib.util.find_spec("wandb") is None
    run = the_run(file.parent)
    loss = run.metrics["train/loss"]
    assert loss.steps.tolist() == list(range(STEPS))
    wanted = [1 / (step + 1) for step in range(STEPS)]
    assert math.isnan(loss.values[7])
    assert loss.values[8] == math.inf
    kept = [step for step in range(STEPS) if step not in (7, 8)]
    assert [loss.values[step] for step in kept] == [wanted[step] for step in kept]
    assert run.metrics["nested.a"].values.tolist() == list(range(STEPS))
    assert run.metrics["nested.deep.b"].values.tolist() == list(range(0, 2 * STEPS, 2))
    assert run.metrics["ключ"].values.tolist() == list(range(STEPS))
    assert run.metrics["val/acc"].steps.tolist() == list(range(0, STEPS, 10))
    assert run.metrics["val/acc"].values.tolist() == [math.sqrt(step) for step in range(0, STEPS, 10)]
    assert loss.times is not None
    assert (loss.times[1:] >= loss.times[:-1]).all()
    assert run.info.config == {"lr": 1e-3, "optimizer": {"name": "adam", "betas": [0.9, 0.99]}}
    assert run.directions == {"ключ": "max"}
    for kind in ("text", "true or false", "null", "list"):
        assert run.skipped[f"value that is no number ({kind})"] >= STEPS, kind
    assert set(run.metrics) == {"train/loss", "nested.a", "nested.deep.b", "ключ", "val/acc", "_runtime"}


@pytest.mark.accepts("R02")
def test_a_file_cut_anywhere_gives_what_it_holds_and_says_so(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    whole = read_wandb(str(file)).rows
    cut = tmp_path / "cut.wandb"
    before = 0
    for length in [*range(600), *range(600, len(data), 61)]:
        cut.write_bytes(data[:length])
        reading = read_wandb(str(cut))
        assert before <= reading.rows <= whole
        before = reading.rows
        if length < 7:
            assert reading.notes
        elif not reading.rows:
            assert any("no history" in note for note in reading.notes)
        if reading.skipped.get("incomplete last record"):
            assert any("still being written, or cut" in note for note in reading.notes)
    assert before >= whole - 1


@pytest.mark.accepts("R02", "R18")
def test_a_file_with_a_header_alone_says_what_is_left(file: Path, tmp_path: Path, stoker: Asked) -> None:
    folder = tmp_path / "wandb/offline-run-20260101_000000-abc"
    (folder / "files").mkdir(parents=True)
    (folder / "run-abc.wandb").write_bytes(file.read_bytes()[:7])
    (folder / "files/output.log").write_text("step 1 loss 0.5\n")
    said = stoker("summary", folder, "--json").value
    assert said["metrics"] == []
    remarks = " ".join(said["remarks"])
    assert "no history in it: it has a header alone" in remarks
    assert f"stoker runs summary {folder}/files/output.log" in remarks
    assert "what is not here is nowhere else" in remarks
    assert "loss 0.5" in stoker("summary", folder / "files/output.log").out


@pytest.mark.accepts("R18")
def test_missing_history_is_explained_by_what_kind_of_run_it_was(file: Path, tmp_path: Path) -> None:
    reading = read_wandb(str(file), parts=())
    online = tmp_path / "wandb/run-20260101_000000-abc"
    (online / "files").mkdir(parents=True)
    (online / "files/wandb-summary.json").write_text("{}")
    (online / "run-abc.wandb").write_bytes(file.read_bytes()[:700])
    run = the_run(online)
    assert not run.metrics
    assert run.info.id == reading.info["id"]
    remarks = " ".join(run.remarks)
    assert "stoker runs summary wandb:ENTITY/pine/finished" in remarks
    assert "nowhere else" not in remarks
    assert the_run(file.parent).remarks == ()


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.accepts("R02")
def test_flipped_bits_lose_no_more_than_their_block(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path / "damaged.wandb"
    damaged.write_bytes(content)
    reading = read_wandb(str(damaged))
    assert reading.skipped or reading.notes
    for series in reading.series.values():
        assert len(series.steps) == len(series.values) == len(series.times or series.values)


def test_any_bytes_after_the_header_are_no_traceback(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "noise.wandb"
    header = file.read_bytes()[:7]
    for noise in (b"\0" * 100_000, bytes(range(256)) * 300, b"\xff" * 40_000):
        path.write_bytes(header + noise)
        reading = read_wandb(str(path))
        assert reading.rows == 0
        assert reading.skipped


@pytest.mark.accepts("R17")
def test_segments_of_one_id_are_one_run_and_a_longer_id_is_another(write: object, tmp_path: Path) -> None:
    write("wandb_resumed", tmp_path)  # type: ignore[operator]
    runs = by_id(tmp_path)
    assert set(runs) == {"res", "res2"}
    assert len(runs["res"].info.segments) == 2
    run = read(runs["res"])
    assert run.metrics["loss"].steps.tolist() == list(range(100))
    assert run.metrics["loss"].values.tolist() == [*range(40), *(2 * step for step in range(40, 100))]
    assert any("segment 2 begins at step 40" in remark for remark in run.remarks)
    assert read(runs["res2"]).metrics["loss"].values.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.accepts("R17")
def test_an_id_is_taken_whole(wandb_runs: Path, stoker: Asked) -> None:
    said = stoker("summary", "fin", "--folder", wandb_runs)
    assert said.code == 2
    assert "Did you mean finished" in said.err
    assert stoker("summary", "finished", "--folder", wandb_runs).code == 0
    assert stoker("summary", "a failed run", "--folder", wandb_runs).out.startswith("a failed run  failed (3)")
    day = next(iter(runs_in(wandb_runs))).info.segments[0].split("offline-run-")[1][:8]
    assert stoker("summary", day, "--folder", wandb_runs).code == 2


@pytest.mark.accepts("R15")
def test_what_a_run_printed_is_shown_without_its_colours(wandb_runs: Path, stoker: Asked) -> None:
    shown = stoker("notes", "finished", "--folder", wandb_runs).out
    assert "> over by finished" in shown
    assert "\x1b" not in shown
    assert "what a day" in shown
