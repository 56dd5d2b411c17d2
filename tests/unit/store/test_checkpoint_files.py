# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a checkpoint get their name once all of them are here, in place of ones that were damaged since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import tree
from stoker.store.checkpoint_files import CheckpointFiles


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
