# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is here is of use, whatever this machine was called when it came or was read."""

from __future__ import annotations

from typing import Any

import pytest
from made import job

from stoker.dispatch.model import State
from stoker.store import CheckpointRow


@pytest.mark.accepts("V18")
@pytest.mark.parametrize(("kept", "waits"), [("a", False), ("b", True)])
def test_a_changed_host_name_makes_no_checkpoint_unusable(kept: str, waits: bool) -> None:
    waiting = job(attempt=1)
    fields: dict[str, Any] = dict.fromkeys(CheckpointRow.__dataclass_fields__)
    fields.update(job_id=waiting.id, digest="a" * 64, name="out", place="old:/kept")
    here = {waiting.id: [CheckpointRow(**fields)]}
    state = State((waiting,), {}, (), checkpoints=here, place="new:/kept", kept=frozenset({kept * 64}))
    assert (state.lacks_files(waiting) is not None) == waits


@pytest.mark.accepts("V35")
@pytest.mark.parametrize(("read_here", "waits"), [("a", False), ("b", True)])
def test_a_changed_host_name_makes_no_data_unusable(read_here: str, waits: bool) -> None:
    waiting = job(spec={**job().spec, "dataset": {"digest": "a" * 64, "host": "old"}})
    state = State((waiting,), {}, (), place="new:/kept", data=frozenset({read_here * 64}))
    assert (state.lacks_files(waiting) is not None) == waits
