# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a checkpoint get their name once all of them are here, in place of ones that were damaged since."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import tree
from stoker.store.checkpoint_files import CheckpointFiles
from stoker.store.snapshots import mark_of_store

BRINGS = """
import os, pathlib, sys, time
from ansible_collections.stoker.fleet.plugins.module_utils import tree
from stoker.store.checkpoint_files import CheckpointFiles
files, store, job = CheckpointFiles(pathlib.Path(sys.argv[1])), "sqlite:///a.db", "a-" + sys.argv[2]
begun, over = files.root.parent, files.root.parent / "over"
try:
    for step in range(30):
        with files.draft(store, job) as draft:
            (draft / "model.pt").write_text(str(step))
            (begun / f"{step}.{sys.argv[2]}").touch()
            while len(list(begun.glob(f"{step}.*"))) < 4 and not over.exists():
                time.sleep(0.001)
            files.name(draft, tree.digest(os.fsencode(draft))[0], store, job)
finally:
    over.touch() if step < 29 else None
"""


def brought(files: CheckpointFiles, job: str) -> str:
    with files.draft("sqlite:///a.db", job) as draft:
        assert draft is not None
        (draft / "model.pt").write_text("whole")
        digest = tree.digest(os.fsencode(draft))[0]
        files.name(draft, digest, "sqlite:///a.db", job)
    return digest


@pytest.mark.accepts("V17")
def test_one_that_was_damaged_here_is_replaced_by_the_next_that_comes(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path / "checkpoints")
    digest = brought(files, "a-1111")
    kept = files.tree(digest) / "model.pt"
    before = kept.stat().st_ino
    assert brought(files, "b-2222") == digest
    assert kept.stat().st_ino == before, "what is whole stays"
    kept.write_text("wrong")
    brought(files, "b-2222")
    assert kept.read_text() == "whole"
    files.release(digest, "sqlite:///a.db", "b-2222")
    assert kept.exists(), "the first job needs it still"
    files.release(digest, "sqlite:///a.db", "a-1111")
    assert list(files.here()) == []


@pytest.mark.accepts("V17")
def test_clearing_away_takes_no_draft_that_is_being_filled(tmp_path: Path) -> None:
    files, store = CheckpointFiles(tmp_path / "checkpoints"), "sqlite:///a.db"
    with files.draft(store, "a-1111") as draft:
        assert draft is not None
        (draft / "model.pt").write_text("half")
        os.utime(draft.parent, (0, 0))
        files.clear(store, [], 0.0)
        assert (draft / "model.pt").exists()
    files.clear(store, [], 0.0)
    assert not draft.parent.exists(), "nobody is at it any more"


@pytest.mark.accepts("V17")
def test_clearing_away_takes_none_that_a_job_has_just_been_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, store, alone = CheckpointFiles(tmp_path / "checkpoints"), "sqlite:///a.db", CheckpointFiles._alone
    digest = brought(files, "a-1111")
    os.utime(files.root / digest, (0, 0))

    @contextmanager
    def after_another(self: CheckpointFiles, digest: str) -> Iterator[None]:
        with alone(self, digest):
            (self.root / digest / "users" / f"{mark_of_store(store)}.b-2222").touch()
        with alone(self, digest):
            yield

    monkeypatch.setattr(CheckpointFiles, "_alone", after_another)
    assert files.clear(store, ["b-2222"], 0.0) == []
    assert (files.tree(digest) / "model.pt").exists()


@pytest.mark.accepts("V17")
def test_of_two_jobs_that_write_the_same_each_keeps_it(tmp_path: Path) -> None:
    """Four processes at the same moment, many times: whoever names it, all are noted as its users."""
    words = [sys.executable, "-c", BRINGS, str(tmp_path / "checkpoints")]
    running = [subprocess.Popen([*words, str(number)], stderr=subprocess.PIPE) for number in range(4)]
    try:
        told = [process.communicate(timeout=180)[1].decode() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0] * 4, told
    files = CheckpointFiles(tmp_path / "checkpoints")
    assert len(files.here()) == 30
    for digest in files.here():
        assert len(list((files.root / digest / "users").iterdir())) == 4, digest
