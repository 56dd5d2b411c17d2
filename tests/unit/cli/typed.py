# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command line typed in a test, and a terminal that remembers what it was given."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest
from played import PlayedNodes

from stoker.cli.main import main
from stoker.operations.session import Session


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Stoker:
    """Call it with a command line; `nodes` are the nodes played, `session` is one over the same store."""

    def __init__(self, nodes: PlayedNodes, session: Session, capture: pytest.CaptureFixture[str]) -> None:
        self.nodes, self.session, self._capture = nodes, session, capture

    def __call__(self, *argv: str) -> Said:
        self._capture.readouterr()
        code = main(argv)
        printed = self._capture.readouterr()
        return Said(code, printed.out, printed.err)


class Terminal(io.TextIOWrapper):
    """A terminal of 80 columns that remembers."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined, no-any-return]
