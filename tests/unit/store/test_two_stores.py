# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two stores of one process over one file, as two `Fleet`s are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stoker.store import open_store

_USED_BY_ANOTHER_PROCESS = "import sys; from stoker.store import open_store; open_store(sys.argv[1]).close()"


def test_opening_a_second_store_does_not_end_the_locks_of_the_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stoker.db'}"
    with open_store(url) as first:
        first.add_job("a", {"argv": ["true"]})
        with open_store(url) as second:
            first.jobs()
            subprocess.run([sys.executable, "-c", _USED_BY_ANOTHER_PROCESS, url], check=True)
            assert Path(f"{tmp_path / 'stoker.db'}-wal").exists()
            first.add_job("b", {"argv": ["true"]})
            second.add_job("c", {"argv": ["true"]})
        assert {job.name for job in first.jobs()} == {"a", "b", "c"}
