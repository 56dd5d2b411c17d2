# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for what is brought: what came before a connection broke is there, and an older node does not say."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.action import checkpoint, snapshot
from ansible_collections.stoker.fleet.plugins.module_utils import snapshots, tree
from ansible_collections.stoker.fleet.plugins.module_utils.project_files import PARTIAL_DIR

SIZE = 3_000_000


class Staging(snapshot.ActionModule):  # type: ignore[misc]
    """Brings to a node that is a folder here, with `free` bytes; None: one that does not say."""

    def __init__(self, state: Path, free: int | None) -> None:
        self._checkpoints = self._datasets = frozenset[str]()
        self._args = {"progress": None, "wait": False}
        self._task_vars = {"inventory_hostname": "n1"}
        self._connection = None
        self._state, self._free = SimpleNamespace(path=str(state)), free

    def asked(self, request: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        if request["op"] == "snapshot_done":
            return dict(snapshots.done(self._state, request))
        found = snapshots.look(self._state, request)
        said = {name: value for name, value in found.items() if name not in ("free", "partial")}
        return said if self._free is None else dict(found, free=self._free)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(snapshot.rsync_place, "reach", lambda _connection, folder: (os.fsencode(folder), None))
    folder = tmp_path / "taken" / "tree"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(os.urandom(SIZE))
    (tmp_path / "state").mkdir()
    return folder


def brought(project: Path, free: int | None, *, half: int = 0) -> tuple[dict[str, Any], Path]:
    """What became of it, where so many bytes came before; and its draft on the node."""
    digest, state = tree.digest(os.fsencode(project))[0], project.parent.parent / "state"
    action = Staging(state, free)
    draft = Path(action._look(digest, os.fsencode(project))["folder"])
    if half:
        (draft / os.fsdecode(PARTIAL_DIR)).mkdir()
        (draft / os.fsdecode(PARTIAL_DIR) / "big").write_bytes((project / "big").read_bytes()[:half])
    return action._stage(digest, os.fsencode(project)), draft


@pytest.mark.accepts("V35")
def test_a_node_that_does_not_say_what_is_free_is_given_it(project: Path) -> None:
    told, _ = brought(project, None)
    assert told["ok"], told


@pytest.mark.accepts("V35")
def test_what_broke_off_is_no_reason_to_refuse_the_rest(project: Path) -> None:
    told, _ = brought(project, SIZE // 2, half=SIZE // 3 * 2)
    assert told["ok"], told


@pytest.mark.accepts("V35")
def test_what_broke_off_goes_where_the_rest_does_not_fit(project: Path) -> None:
    told, draft = brought(project, SIZE // 4, half=SIZE // 3)
    assert "are free at" in told["message"]
    assert not list(draft.rglob("big")), "a half keeps the disk full"


class Fetching(checkpoint.ActionModule):  # type: ignore[misc]
    """Asks a node that has a checkpoint of SIZE bytes; `before`: of the version before that knew of no room."""

    def __init__(self, before: bool) -> None:
        self._task = SimpleNamespace(check_mode=False)
        self._before = before

    def ask(self, request: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        if self._before:
            if odd := sorted({"room", "after"} & set(request)):
                words = "; ".join(f"request.{name}: unknown field" for name in odd)
                return {"ok": False, "error": {"code": "bad_request", "message": words}}
        elif request["room"] < SIZE:
            return {"ok": True, "checkpoint": {"state": "large", "bytes": SIZE}}
        return {"ok": True, "checkpoint": {"state": "ready", "bytes": SIZE}}


def looked(folder: Path, *, before: bool) -> str:
    args = {"job": "a-1", "attempt": 1, "folder": str(folder), "alone": True, "mark": None, "after": 5.0, "ask": None}
    return str(Fetching(before)._look(args, {})["state"])


@pytest.mark.accepts("V17")
@pytest.mark.parametrize("before", [False, True])
def test_a_checkpoint_is_fetched_where_the_rest_of_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    free = checkpoint._ROOM + SIZE // 2
    monkeypatch.setattr(checkpoint, "_free", lambda folder: (free, folder))
    assert looked(tmp_path, before=before) == "large"
    (tmp_path / os.fsdecode(PARTIAL_DIR)).mkdir()
    (tmp_path / os.fsdecode(PARTIAL_DIR) / "big").write_bytes(bytes(SIZE // 3 * 2))
    assert looked(tmp_path, before=before) == "ready"
