# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The twelve things that are asked of tasks, from the command line and on real nodes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli import Cli, until
from testbed import PlainNode

Stoker = Callable[..., Cli]
AGENT = r"""
import json, sys, time
prompt = sys.stdin.read()
print(json.dumps({"said": prompt.upper(), "argv": sys.argv[1:]}), flush=True)
for turn in range(int(prompt.split()[-1])):
    print(json.dumps({"usage": {"input_tokens": 100, "output_tokens": 10}}), flush=True)
    time.sleep(0.1)
"""


def good(cli: Cli, *argv: str) -> Any:
    end = argv.index("--") if "--" in argv else len(argv)
    said = cli(*argv[:end], "--json", *argv[end:])
    assert said.code == 0, said
    return said.json()


def ids(found: dict[str, Any]) -> list[str]:
    return [job["id"] for job in found["jobs"]]


@pytest.mark.accepts("C50")
def test_tasks(stoker: Stoker, nodes: Callable[..., list[PlainNode]]) -> None:
    """Submit, result, list, cancel, dead letters listed and retried, drain, on several nodes at once."""
    cli = stoker(*nodes(2))
    job = good(cli, "run", "-n", "submit", "--on", "n1", "--", "sh", "-c", "echo done; exit 3")["job"]["id"]
    result = cli("wait", job, "--json")
    assert (result.code, result.json()["job"]["state"], result.json()["job"]["exit_code"]) == (1, "failed", 3)
    dead = [
        good(cli, "run", "-n", name, "--on", "n1", "--retries", "1", "--retry-on", "9", "--", "sh", "-c", "exit 4")
        for name in ("d1", "d2", "d3")
    ]
    letters = [each["job"]["id"] for each in dead]
    for each in letters:
        assert cli("wait", each).code == 1
    long = good(cli, "run", "-n", "long", "--on", "n2", "--", "sleep", "600")["job"]["id"]
    # list: chosen and cut
    assert ids(good(cli, "jobs", "--limit", "2", "--skip", "1")) == letters[:0:-1]
    assert ids(good(cli, "jobs", "--name", "d1")) == [letters[0]]
    assert ids(good(cli, "jobs", "--on", "n2", "--since", "1h", "--state", "running")) == [long]
    assert cli("stop", long).out == f"{long} stopped\n"
    # dead letters
    page = good(cli, "dead", "list", "--limit", "1", "--skip", "1")
    assert (ids(page), page["total"]) == ([letters[1]], 3)
    shown = cli("dead", "list").out
    assert "exit record: exit 4" in shown, shown
    assert "n1" in shown
    (again,) = good(cli, "dead", "retry", letters[0])["jobs"]
    assert again["retry_of"] == letters[0]
    assert cli("wait", again["id"]).code == 1
    assert set(ids(good(cli, "dead", "list"))) == {again["id"], *letters[1:]}, "what was retried is answered"
    assert [new["retry_of"] for new in good(cli, "dead", "retry", "--all", "--name", "d2")["jobs"]] == [letters[1]]
    refused = cli("dead", "retry", job)
    assert (refused.code, f"{job} is failed, not dead" in refused.err) == (2, True), refused
    # several nodes at once, and a node that is to be free
    gang = good(cli, "run", "--nodes", "2", "--", "sh", "-c", "echo rank $RANK of $WORLD_SIZE")["job"]["id"]
    assert cli("wait", gang).code == 0
    assert cli("logs", f"{gang}-1").out == "rank 1 of 2\n"
    assert cli("node", "drain", "n1").code == 0
    waits = good(cli, "run", "--on", "n1", "--", "true")["job"]
    assert (waits["state"], waits["node"]) == ("queued", None)


@pytest.mark.accepts("C50", "C13")
def test_agents_and_workflows(stoker: Stoker, node: PlainNode) -> None:
    """Several prompts at once, one held to its limit; a workflow submitted, listed and shown."""
    cli = stoker(node)
    for name, text in (("tea.md", "write about tea 2"), ("rum.md", "write about rum 100000")):
        (cli.folder / name).write_text(text)
    refused = cli("agent", "run", "poet", "tea.md")
    assert (refused.code, "no agent may run here" in refused.err) == (2, True), refused
    Path(node.home, "poet.py").write_text(AGENT)
    settings = {"argv": [sys.executable, f"{node.home}/poet.py"], "flags": {"turns": "--max-turns"}, "max_turns": 5}
    (cli.folder / "stoker.yml").write_text(json.dumps({"agents": {"poet": settings}}))
    assert [agent["name"] for agent in good(cli, "agent", "list")["agents"]] == ["poet"]
    tea, rum = ids(good(cli, "agent", "run", "poet", "tea.md", "rum.md", "--retries", "3"))
    # Nobody makes rounds meanwhile.
    until(lambda: (Path(node.state_dir, "jobs", rum, "1", "exit.json")).exists(), "the node stopped what went too far")
    assert cli("wait", tea).code == 0
    stopped = cli("wait", rum)
    assert (stopped.code != 0, "its agent used" in stopped.out, "more than 5" in stopped.out) == (True, True, True)
    found = cli.job(rum)
    assert (found["reason"], found["attempt"], found["agent"]["max_turns"]) == ("limit", 1, 5), found
    assert found["usage"]["turns"] > 5
    assert "poet: 2 of 5 turns, 220 tokens" in cli("job", tea).out
    transcript = cli("logs", "--stream", "stdout", "--all", tea).out.splitlines()
    assert json.loads(transcript[0]) == {"said": "WRITE ABOUT TEA 2", "argv": ["--max-turns", "5"]}
    assert len(transcript) == 3
    (cli.folder / "w.yml").write_text(
        "name: poems\njobs:\n  poem: {agent: poet, prompt: 'about {{ matrix.what }} 1', matrix: {what: [ale, gin]}}\n"
    )
    name = good(cli, "workflow", "submit", "w.yml")["workflow"]["id"]
    assert cli("workflow", "watch", name).code == 0
    page = good(cli, "workflow", "list", "--state", "succeeded", "--name", "poems", "--limit", "1")
    assert ([row["id"] for row in page["workflows"]], page["total"]) == ([name], 1)
    shown = good(cli, "workflow", "status", name)["workflow"]
    assert [job["state"] for job in shown["jobs"]] == ["succeeded"] * 2
    cleared = cli("workflow", "clear", "--older-than", "0")
    assert (cleared.code, "1 removed; 0 that are over kept" in cleared.out) == (0, True), cleared
