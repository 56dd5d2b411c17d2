# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session over a real store, with nodes that are played."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from played import PlayedNodes

from stoker.operations.session import Session


@pytest.fixture
def nodes_played() -> PlayedNodes:
    """Nodes n1 and n2, and this machine; none has a job."""
    return PlayedNodes("localhost", "n1", "n2")


@pytest.fixture
def session(tmp_path: Path, nodes_played: PlayedNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session whose runner is `nodes_played`, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STOKER_INVENTORY", raising=False)
    said: list[str] = []
    session = Session(store_url=f"sqlite:///{tmp_path}/store.db", say=said.append)
    session.runner = nodes_played  # type: ignore[assignment]
    nodes_played.session, nodes_played.said = session, said
    yield session
    session.close()
