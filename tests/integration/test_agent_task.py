# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agent tasks on a node: how the prompt gets there, and that limits hold with nobody else there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from testbed import PlainNode
from testbed.node_side import NodeSide

pytestmark = pytest.mark.accepts("C13")

# Reports a turn of 110 tokens for $0.01, again and again; the number of turns is the last word of its prompt.
AGENT = r"""
import json, os, sys, time
prompt = sys.stdin.read()
with open(os.environ["STOKER_PROMPT_FILE"]) as file:
    assert file.read() == prompt
told = {name: value for name, value in os.environ.items() if name.startswith("STOKER_MAX")}
print(json.dumps({"prompt": prompt, "argv": sys.argv[1:], "limits": told, "file": os.environ["STOKER_PROMPT_FILE"]}))
for turn in range(int(prompt.split()[-1])):
    print(json.dumps({"usage": {"input_tokens": 100, "output_tokens": 10}, "cost_usd": 0.01}), flush=True)
    time.sleep(0.1)
"""
PROMPT = "Say 'it' \u00fcber --all $HOME and stop after 2"


def spec(side: NodeSide, job: str, prompt: str = PROMPT, **more: Any) -> dict[str, Any]:
    script = Path(side.node.home, "agent.py")
    script.write_text(AGENT)
    script.chmod(0o644)
    agent = {"name": "writer", "prompt": prompt, **{name: more.pop(name) for name in tuple(more) if "max_" in name}}
    argv = ["/usr/bin/python3", str(script), "--from", "{prompt_file}"]
    return side.spec(job, argv=argv, split_output=True, agent=agent, **more)


def said(side: NodeSide, job: str) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(side.log(job, stream="stdout").split(b"\n")[0])
    return first


def test_it_gets_its_prompt_and_its_limits_and_the_transcript_stays(node: PlainNode) -> None:
    side = NodeSide(node)
    side.start_spec(spec(side, "a", max_turns=2, max_cost_usd=0.5))
    seen = side.wait("a")
    assert (seen["state"], seen["usage"]) == ("succeeded", {"turns": 2, "tokens": 220, "cost_usd": 0.02}), seen
    found = said(side, "a")
    assert found["prompt"] == PROMPT
    assert found["argv"] == ["--from", found["file"]]
    assert "Say" not in " ".join(found["argv"])
    assert found["limits"] == {"STOKER_MAX_TURNS": "2", "STOKER_MAX_COST_USD": "0.5"}
    assert Path(found["file"]).stat().st_mode & 0o777 == 0o600
    assert len(side.log("a", stream="stdout").splitlines()) == 3


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"max_turns": 3}, "turns, more than 3"),
        ({"max_tokens": 500}, "tokens, more than 500"),
        ({"max_cost_usd": 0.03}, "more than $0.03"),
    ],
)
def test_the_node_stops_what_goes_beyond_a_limit(node: PlainNode, limit: dict[str, Any], why: str) -> None:
    """Nobody asks meanwhile: the job is over, with the reason, when somebody does."""
    side = NodeSide(node)
    side.start_spec(spec(side, "a", "go on until 100000", **limit))
    pid = side.wait("a", lambda seen: bool(seen["pid"]))["pid"]
    seen = side.wait("a")
    assert (seen["state"], seen["reason"]) == ("failed", "limit"), seen
    assert why in seen["evidence"]
    assert why in seen["detail"]
    assert not Path(f"/proc/{pid}").exists()
    assert side.file("a", "stop.json")["reason"] == "limit"


def test_a_limit_outlives_its_supervisor(node: PlainNode) -> None:
    side = NodeSide(node)
    side.start_spec(spec(side, "a", "go on until 100000", max_turns=30))
    side.wait("a", lambda seen: seen["state"] == "running" and (seen["usage"] or {}).get("turns", 0) > 1)
    side.kill("a", "supervisor")
    seen = side.wait("a")
    assert (seen["state"], seen["reason"]) == ("failed", "limit"), seen


@pytest.mark.root
def test_as_another_user_it_gets_the_prompt_all_the_same(node: PlainNode) -> None:
    side = NodeSide(node)
    for folder in (node.bed.folder, node.folder, node.home):
        folder.chmod(0o711)
    side.start_spec(spec(side, "a", user="nobody", workdir="/", max_turns=5))
    seen = side.wait("a")
    assert (seen["state"], said(side, "a")["prompt"]) == ("succeeded", PROMPT), seen


def test_what_could_not_be_held_to_its_limits_does_not_start(node: PlainNode) -> None:
    side = NodeSide(node)
    side.start_spec({**spec(side, "a", max_turns=5), "split_output": False})
    seen = side.wait("a")
    assert (seen["state"], seen["reason"]) == ("failed", "start"), seen
    assert "split_output" in seen["error"]


def test_what_nobody_can_have_used_is_no_report(node: PlainNode) -> None:
    """A number beyond any sense neither counts nor harms: the limit holds against the others."""
    side = NodeSide(node)
    script = (
        "import json, time\n"
        "print('{\"usage\": {\"input_tokens\": 1' + '0' * 400 + '}, \"total_cost_usd\": 1e400}')\n"
        "while True:\n"
        "    print(json.dumps({'usage': {'input_tokens': 5}}), flush=True)\n"
        "    time.sleep(0.05)\n"
    )
    side.start_spec(dict(spec(side, "a", max_turns=3), argv=["/usr/bin/python3", "-c", script]))
    seen = side.wait("a")
    assert (seen["state"], seen["reason"], seen["usage"]["cost_usd"]) == ("failed", "limit", None), seen


def test_an_agent_that_reports_nothing_used_nothing_that_is_known(node: PlainNode) -> None:
    side = NodeSide(node)
    side.start_spec(dict(spec(side, "a", max_turns=3), argv=["/usr/bin/python3", "-c", "print('hello')"]))
    seen = side.wait("a")
    assert (seen["state"], seen["usage"]) == ("succeeded", {"turns": None, "tokens": None, "cost_usd": None}), seen
