# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line over a real store, with nodes that are played."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "operations")]

from played import PlayedNodes  # noqa: E402
from typed import Stoker, Terminal  # noqa: E402

from stoker.operations.session import Session  # noqa: E402


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Stoker]:
    """`stoker(...)` in an empty folder, with a store of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("STOKER_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STOKER_STORE_URL", f"sqlite:///{tmp_path}/store.db")
    for name in ("STOKER_INVENTORY", "STOKER_CONFIG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    nodes = PlayedNodes("localhost", "n1", "n2")
    monkeypatch.setattr("stoker.runner.Runner", lambda *_, **__: nodes)
    session = Session()
    nodes.session, nodes.said = session, []
    yield Stoker(nodes, session, capsys)
    session.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One 80 columns wide, with colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()
