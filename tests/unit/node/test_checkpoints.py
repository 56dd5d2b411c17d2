# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files count as a complete checkpoint, on real files."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import checkpoints, tree
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import Attempt, StateDir

BEGAN = time.time() - 3600


def put(path: Path, text: str = "x", age_s: float = 60.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def look(top: Path, **more: Any) -> dict[str, Any]:
    return checkpoints.newest(str(top), more.pop("began", BEGAN), **more)


def test_a_file_or_folder_that_holds_still_is_one_with_the_digest_of_its_tree(tmp_path: Path) -> None:
    put(tmp_path / "out" / "model.pt", "weights")
    put(tmp_path / "out" / "sub" / "optimizer-step-300.pt", "state")
    (tmp_path / "out" / "last").symlink_to("model.pt")
    os.utime(tmp_path / "out" / "last", (BEGAN + 1,) * 2, follow_symlinks=False)
    found = look(tmp_path / "out")
    assert (found["state"], found["name"], found["files"], found["step"]) == ("ready", "out", 3, 300), found
    alone = tmp_path / "alone"
    alone.mkdir()
    tree.copy(os.fsencode(tmp_path / "out"), os.fsencode(alone / "out"))
    assert tree.digest(os.fsencode(alone))[0] == found["digest"], "what comes is compared by this"
    assert look(tmp_path / "out", mark=found["mark"])["state"] == "same"
    put(tmp_path / "out" / "model.pt", "heavier")
    assert look(tmp_path / "out", mark=found["mark"])["state"] == "ready"


def test_of_a_pattern_the_newest_that_is_whole_counts(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        put(tmp_path / f"step-{step}.pt", str(step), age_s=200 - step)
    (tmp_path / "step-last.pt").symlink_to("step-9.pt")
    put(tmp_path / "step-200.pt.tmp", "half")
    assert look(tmp_path / "step-*")["step"] == 100
    with put(tmp_path / "step-110.pt", "half").open("a"):
        found = look(tmp_path / "step-*")
        assert (found["step"], found["newer"]) == (100, f"step-110.pt is being written by process {os.getpid()}")
    assert look(tmp_path / "step-*")["step"] == 110, "nobody writes it any more"
    assert look(tmp_path / "step-*", began=time.time())["state"] == "none", "another run wrote these"


@pytest.mark.parametrize("over", [False, True])
def test_what_was_written_just_now_counts_when_its_job_is_over(tmp_path: Path, over: bool) -> None:
    wanted = "ready" if over else "unsteady"
    # A machine that is busy may need longer than it takes to settle, but not each time.
    tried = [
        look(put(tmp_path / "out" / str(number), age_s=0).parent, over=over) for number in range(100 if not over else 1)
    ]
    told = next((found for found in tried if found["state"] == wanted), None)
    assert told is not None, tried[-1]
    assert over or "was written to" in told["why"]


@pytest.mark.accepts("V17")
@pytest.mark.parametrize("over", [False, True])
def test_one_that_is_older_than_what_is_kept_never_takes_its_place(tmp_path: Path, over: bool) -> None:
    put(tmp_path / "best-10.pt", age_s=300)
    put(tmp_path / "last-30.pt", age_s=200)
    kept = look(tmp_path / "*.pt")
    assert kept["name"] == "last-30.pt"
    same = look(tmp_path / "*.pt", mark=kept["mark"], after=kept["written_at"])
    assert (same["state"], same["newer"]) == ("same", None), same
    # The program takes it away, and writes the next one just now.
    (tmp_path / "last-30.pt").unlink()
    put(tmp_path / "last-40.pt", age_s=100)
    with (tmp_path / "last-40.pt").open("a") as half:
        cut = time.time() - 150 if over else None
        found = look(tmp_path / "*.pt", mark=kept["mark"], after=kept["written_at"], over=over, cut=cut)
        assert (found["state"], found["name"]) == ("unsteady", "last-40.pt"), found
        half.close()
    assert look(tmp_path / "*.pt", after=kept["written_at"])["name"] == "last-40.pt"
    ahead = time.time() + 3600
    assert look(tmp_path / "*.pt", after=ahead)["name"] == "last-40.pt", "its clock was set back since"


def test_what_there_is_no_room_for_is_not_read(tmp_path: Path) -> None:
    put(tmp_path / "step-10.pt", "12345", age_s=70)
    assert look(tmp_path / "*.pt", room=5)["state"] == "ready"
    with put(tmp_path / "step-20.pt").open("wb") as file:
        file.truncate(1 << 42)  # all of it a hole: to read it takes an hour
    os.utime(tmp_path / "step-20.pt", (time.time() - 60,) * 2)
    found = look(tmp_path / "*.pt", room=5)
    assert (found["state"], found["name"], found["bytes"]) == ("large", "step-20.pt", 1 << 42), found


class Asked:
    """A backend whose job writes a checkpoint some time after it gets a signal, or none."""

    def __init__(self, writes: Path | None) -> None:
        self.writes = writes

    def signal(self, job: str, number: int, name: str) -> None:
        if self.writes is not None:
            threading.Timer(0.5, put, (self.writes, "new")).start()


@pytest.mark.parametrize(("answers", "step"), [(True, 20), (False, 10)])
def test_who_is_asked_writes_a_new_one_or_else_the_old_one_counts(tmp_path: Path, answers: bool, step: int) -> None:
    attempt = attempt_in(tmp_path)
    attempt.write("spec.json", {"checkpoints": {"path": str(tmp_path / "step-*.pt")}})
    attempt.write("state.json", {"started_at": BEGAN})
    put(tmp_path / "step-10.pt", age_s=600)
    request = {"job": "train-1", "attempt": 1, "ask": "USR1", "wait": 60.0 if answers else 0.5}
    state = StateDir(str(tmp_path / "state"))
    found = checkpoints.look(Asked(tmp_path / "step-20.pt" if answers else None), state, request)["checkpoint"]
    assert (found["state"], found["step"]) == ("ready", step), found


def attempt_in(folder: Path) -> Attempt:
    (folder / "state" / "jobs" / "train-1" / "1").mkdir(parents=True)
    return StateDir(str(folder / "state")).attempt("train-1", 1)


@pytest.mark.parametrize(
    ("record", "step"),
    [
        ({"code": 0}, 20), ({"code": 7}, 20), ({"code": None, "signal": 9}, 10), ({"code": 137}, 10),
        ({"code": 1, "oom": True}, 10), ({"code": None, "lost": "killed", "ended_at": None}, 10),
    ],
)  # fmt: skip
def test_what_was_written_just_before_its_job_was_killed_does_not_count(
    tmp_path: Path, record: dict[str, Any], step: int
) -> None:
    attempt = attempt_in(tmp_path)
    whole, half = (put(tmp_path / f"step-{number}.pt", age_s=600 + before) for number, before in ((10, 60), (20, 1)))
    with open(attempt.file("exit.json"), "w") as file:
        json.dump({"schema": "stoker.exit/1", "ended_at": time.time() - 600, **record}, file)
    put(Path(attempt.file("out.log")), age_s=600)
    found = look(tmp_path / "step-*", over=True, cut=checkpoints.cut_since(attempt))
    assert found["step"] == step, found
    assert (found["newer"] or "").endswith("may be cut off" if step == 10 else ""), found
    if step == 10:
        whole.unlink()
        alone = look(tmp_path / "step-*", over=True, cut=checkpoints.cut_since(attempt))
        assert (alone["state"], half.name in alone["why"]) == ("unsteady", True), alone


def test_after_a_crash_what_the_kernel_may_not_have_written_does_not_count(tmp_path: Path) -> None:
    attempt = attempt_in(tmp_path)
    with open(attempt.file("exit.json"), "w") as file:
        json.dump({"schema": "stoker.exit/1", "lost": "reboot", "ended_at": None}, file)
    put(Path(attempt.file("samples.jsonl")), age_s=600)
    for step, age_s in ((10, 660), (20, 620)):
        put(tmp_path / f"step-{step}.pt", age_s=age_s)
    assert look(tmp_path / "step-*", over=True, cut=checkpoints.cut_since(attempt))["step"] == 10


def test_files_by_which_programs_write_first_are_none_of_it(tmp_path: Path) -> None:
    put(tmp_path / "out" / "model.pt")
    whole = look(tmp_path / "out")["digest"]
    for name in ("model.pt.tmp", "tmp-checkpoint-7/model.pt", "model.part", ".git/config", ".stoker-partial/x"):
        put(tmp_path / "out" / name, age_s=0)
    assert look(tmp_path / "out")["digest"] == whole


def test_what_cannot_be_read_whole_does_not_count(tmp_path: Path) -> None:
    assert look(tmp_path / "nothing")["state"] == "none"
    put(tmp_path / "out" / "model.pt")
    os.mkfifo(tmp_path / "out" / "pipe")
    os.utime(tmp_path / "out" / "pipe", (BEGAN + 1,) * 2)
    found = look(tmp_path / "out")
    assert (found["state"], "neither a file nor a link" in found["why"]) == ("unsteady", True), found


@pytest.mark.parametrize(
    ("names", "step"),
    [
        (["step-300.pt"], 300), (["checkpoint-500/model.bin", "checkpoint-500/rng_0.pth"], 500),
        (["epoch=3-step=1200.ckpt"], 1200), (["300.pt"], 300), (["last.pt"], None), (["a-1.pt", "b-2.pt"], None),
    ],
)  # fmt: skip
def test_names_tell_the_step(names: list[str], step: int | None) -> None:
    assert checkpoints.step_of(names) == step
