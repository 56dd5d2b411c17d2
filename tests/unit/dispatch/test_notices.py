# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same message, and what only looks like it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import stoker
from stoker.dispatch.notices import told
from stoker.notify_settings import SUBJECTS
from stoker.store import EventRow


def event(kind: str, data: dict[str, Any], seq: int = 1) -> EventRow:
    return EventRow(seq=seq, at=1.0, type=kind, job_id=None, attempt=None, node=None, data=data)


@pytest.mark.accepts("C54")
@pytest.mark.parametrize("name", ["key", "workflow", "queue", "template", "dispatcher", "thread", "session", "part"])
def test_a_cooldown_is_of_what_the_event_is_about(name: str) -> None:
    kind = "workflow.failed"
    one, again, other = (told(event(kind, {name: what}, seq)) for seq, what in enumerate(["a", "a", "b"]))
    assert one.topic == again.topic
    assert one.topic != other.topic


def test_a_rule_may_name_each_subject_that_the_store_writes() -> None:
    sources = "".join(path.read_text() for path in Path(stoker.__file__).parent.rglob("*.py"))
    written = set(re.findall(r"\.event\(\s*f?\"([a-z]+)\.", sources))
    assert written <= set(SUBJECTS)
    assert {"session", "thread", "context"} <= written
