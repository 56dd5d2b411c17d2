# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the command lines of this machine for a text that must not be in any."""

from __future__ import annotations

import threading
from pathlib import Path


class CommandLines:
    """Every command line of this machine that shows a text, watched from start to end."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.found: set[bytes] = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self.over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if self.text in line:
                    self.found.add(line)

    def __enter__(self) -> CommandLines:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
