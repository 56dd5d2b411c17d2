# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent's transcript is counted as, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stoker.fleet.plugins.module_utils import agent_task
from ansible_collections.stoker.fleet.plugins.module_utils.statedir import Attempt, StateDir

pytestmark = pytest.mark.accepts("C13")


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    (tmp_path / "jobs" / "a" / "1").mkdir(parents=True)
    (tmp_path / "jobs" / "a" / "1" / "spec.json").write_text("{}")
    return StateDir(str(tmp_path), None).attempt("a", 1)


def say(attempt: Attempt, *said: Any, end: str = "\n") -> dict[str, Any]:
    """Append lines, and what is known then without where the count is."""
    with open(attempt.file("stdout.log"), "a", encoding="utf-8") as log:
        log.write("".join((one if isinstance(one, str) else json.dumps(one)) + end for one in said))
    return known(attempt)


def known(attempt: Attempt, **options: Any) -> dict[str, Any]:
    used = agent_task.usage(attempt, **options)
    return {name: used[name] for name in ("turns", "tokens", "cost_usd")}


def turn(tokens: int, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "turn",
        "usage": {"input_tokens": tokens - 1, "output_tokens": 1},
        **({"id": name} if name else {}),
        **more,
    }


def test_turns_tokens_and_cost_add_up_as_they_come(attempt: Attempt) -> None:
    assert known(attempt) == {"turns": None, "tokens": None, "cost_usd": None}, "nothing is reported so far"
    assert say(attempt, turn(10), "no JSON", [1], {"type": "note"}) == {"turns": 1, "tokens": 10, "cost_usd": None}
    assert say(attempt, turn(5, cost_usd=0.25), turn(5, cost_usd=0.5)) == {"turns": 3, "tokens": 20, "cost_usd": 0.75}
    nested = {"type": "message", "message": {"id": "m1", "usage": {"input_tokens": 7}}}
    assert say(attempt, nested) == {"turns": 4, "tokens": 27, "cost_usd": 0.75}


def test_one_id_told_of_again_is_one_turn(attempt: Attempt) -> None:
    assert say(attempt, turn(10, "m1"), turn(30, "m1"), turn(20, "m1")) == {"turns": 1, "tokens": 30, "cost_usd": None}
    assert say(attempt, turn(10, "m2"), turn(10), turn(10))["turns"] == 4


def test_a_result_tells_totals_and_takes_nothing_back(attempt: Attempt) -> None:
    say(attempt, turn(10), turn(10))
    total = {
        "type": "result",
        "num_turns": 5,
        "total_cost_usd": 0.5,
        "usage": {"input_tokens": 100, "output_tokens": 50},
    }
    assert say(attempt, total) == {"turns": 5, "tokens": 150, "cost_usd": 0.5}
    assert say(attempt, {"type": "result", "num_turns": 1, "total_cost_usd": 0.1}) == known(attempt)
    assert known(attempt) == {"turns": 5, "tokens": 150, "cost_usd": 0.5}


def test_half_a_line_waits_for_its_end(attempt: Attempt) -> None:
    text = json.dumps(turn(10))
    assert say(attempt, text[:20], end="")["turns"] is None
    assert say(attempt, text[20:], end="")["turns"] is None
    assert known(attempt, finish=True)["turns"] == 1
    assert known(attempt, finish=True)["turns"] == 1


def test_what_no_sane_program_writes_counts_nothing(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_task, "_CHUNK_BYTES", 4096)
    odd = [
        '{"usage": {"input_tokens": -5, "output_tokens": true}, "cost_usd": NaN}',
        '{"usage": {"input_tokens": "9"}, "total_cost_usd": 1e999, "message": 3}',
        '{"usage": {"input_tokens": 1' + "0" * 400 + '}, "cost_usd": 1e300}',
        "[" * 2000, "\udc80".encode("utf-8", "surrogatepass").decode("latin-1"), '"' + "x" * 20000, turn(10),
    ]  # fmt: skip
    assert say(attempt, *odd) == {"turns": 4, "tokens": 10, "cost_usd": None}


def test_beyond_says_which_limit() -> None:
    used = {"turns": 3, "tokens": 1500, "cost_usd": None}
    spec: dict[str, Any] = {"agent": {"name": "a", "max_turns": 3, "max_tokens": 1500, "max_cost_usd": 0.1}}
    assert agent_task.beyond(spec, used) is None, "what may be used may be used up; an unknown cost is not beyond"
    assert agent_task.beyond(spec, {**used, "turns": 4}) == "its agent used 4 turns, more than 3"
    assert agent_task.beyond(spec, {**used, "tokens": 1501}) == "its agent used 1,501 tokens, more than 1,500"
    assert agent_task.beyond(spec, {**used, "cost_usd": 0.125}) == "its agent used $0.125, more than $0.1"
