# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same message, and what only looks like it."""

from __future__ import annotations

import re
from dataclasses import replace
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
@pytest.mark.parametrize(
    "name", ["key", "workflow", "queue", "template", "dispatcher", "thread", "session", "part", "instance"]
)
def test_a_cooldown_is_of_what_the_event_is_about(name: str) -> None:
    kind = "workflow.failed"
    one, again, other = (told(event(kind, {name: what}, seq)) for seq, what in enumerate(["a", "a", "b"]))
    assert one.topic == again.topic
    assert one.topic != other.topic


def test_of_an_instance_its_own_name_and_what_is_wrong_is_told() -> None:
    data = {"instance": "0123456789ab", "pool": "cheap", "problem": "outbid", "evidence": "min_bid 0.3"}
    message = told(replace(event("instance.problem", data), job_id="train-9x4c", node="vast-101"))
    assert message.title == "instance 0123456789ab problem on vast-101"
    assert message.body.splitlines() == ["problem: outbid", "evidence: min_bid 0.3", "pool: cheap", "event 1"]
    assert message.mood == "failure"


def test_a_rule_may_name_each_subject_that_the_store_writes() -> None:
    sources = "".join(path.read_text() for path in Path(stoker.__file__).parent.rglob("*.py"))
    written = set(re.findall(r"\.event\(\s*f?\"([a-z]+)\.", sources))
    assert written <= set(SUBJECTS)
    assert {"session", "thread", "context"} <= written
