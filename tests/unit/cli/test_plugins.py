# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Built-in plugins on and off, and rules by role, plugin and node: the same for command line, API and assistants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typed import Stoker

from stoker.config import Access, AccessRule, load
from stoker.errors import StokerError
from stoker.fleet import Fleet
from stoker.mcp import tools
from stoker.mcp.perform import perform
from stoker.operations.policy import ROLES, allows
from stoker.operations.registry import AREAS, Operation, built_in, operations
from stoker.runner import Inventory, InventoryNode

# A command of each built-in plugin that changes nothing, as it is typed.
COMMANDS: dict[str, tuple[str, ...]] = {
    "jobs": ("jobs",), "agents": ("agent", "list"), "dead": ("dead", "list"), "templates": ("template", "list"),
    "events": ("events",), "nodes": ("nodes", "--stored"), "telemetry": ("alerts",),
    "sync": ("sync", "diff", "nowhere"), "checkpoints": ("checkpoint", "list", "nowhere"),
    "hub": ("data", "fetch", "hf:a/b", "--on", "nowhere"),
    "environments": ("environment", "nowhere"), "containers": ("container", "list", "nowhere"),
    "services": ("service", "status", "nowhere"), "runs": ("runs", "list"), "dispatch": ("dispatchers",),
    "queue": ("queue", "list"), "workflows": ("workflow", "list"), "store": ("store", "check"),
    "access": ("token", "list"), "skills": ("skill", "list"), "setup": ("init",),
    "memory": ("memory", "list"), "threads": ("thread", "list"), "sessions": ("session", "list"),
    "notify": ("notify", "list"), "inbox": ("inbox", "list"), "config": ("config", "check"),
    "vast": ("vast", "list"), "kubernetes": ("kube", "contexts"), "updater": ("update", "check", "--on", "nowhere"),
}  # fmt: skip


def ask(command: str, role: str = "administer", **given: Any) -> dict[str, Any]:
    """What an assistant is answered."""
    return perform(
        {"operation": command, "arguments": given, "who": "alice", "role": role, "via": "stdio"}, lambda _text: None
    )


def typed_operation(argv: tuple[str, ...]) -> Operation:
    words = (" ".join(argv[:2]), argv[0])
    return next(found for word in words for found in operations() if found.command == word)


def test_every_area_is_a_built_in_plugin() -> None:
    assert {operation.area for operation in built_in()} == set(AREAS) == {*COMMANDS, "plugins"}


@pytest.mark.accepts("C34", "C35")
@pytest.mark.parametrize("area", COMMANDS)
def test_a_built_in_plugin_that_is_off_is_nowhere_and_comes_back(stoker: Stoker, area: str) -> None:
    argv = COMMANDS[area]
    operation = typed_operation(argv)
    assert operation.area == area
    Path("stoker.yml").write_text(f"plugins:\n  {area}:\n    enabled: false\n")
    off = f"{operation.name}: the plugin {area} is off (stoker.yml:3: plugins.{area}.enabled)"
    refused = stoker(*argv)
    assert refused.code == 1
    assert off in refused.err
    assert f"the plugin {area} is off (stoker.yml:3" in stoker(argv[0], "--help").err
    listed = {one["name"]: one["state"] for one in stoker("plugins", "--json").json()["value"]["plugins"]}
    assert [name for name, state in listed.items() if state == "off"] == [area]
    words = set(re.findall(r"^│ ([a-z]\S*)", stoker("--help").out, re.MULTILINE))
    theirs = {operation.command.split()[0] for operation in built_in() if operation.area == area}
    assert not words & theirs
    assert "plugins" in words
    offered = tools.tools("administer", Access(), [area])
    assert not [o for tool in offered for o in tool.operations if o.area == area]
    assert off in ask(operation.command)["text"]
    with Fleet() as fleet, pytest.raises(StokerError, match=r"is off \(stoker.yml:3"):
        getattr(getattr(fleet, area), operation.method)()
    Path("stoker.yml").write_text(f"plugins:\n  {area}:\n    enabled: true\n")
    assert "is off" not in stoker(*argv).err


@pytest.mark.accepts("C70")
@pytest.mark.parametrize(
    ("rules", "rights"),
    [
        ((), {"queue.list": "rosa", "queue.add": "osa", "store.check": "rosa", "store.backup": "a"}),
        ((("deny", "operate", {"plugins": ("queue",)}),), {"queue.list": "rsa", "queue.add": "sa", "jobs.run": "osa"}),
        ((("allow", "read", {"plugins": ("queue",)}),), {"queue.add": "rosa", "jobs.run": "osa"}),
        ((("allow", "read", {"plugins": ("queue",)}), ("deny", "read", {"operations": ("*.clear",)})),
         {"queue.add": "rosa", "queue.clear": "osa"}),
        ((("deny", "administer", {}),), {"queue.list": "ros", "store.backup": ""}),
        ((("deny", "operate", {"nodes": "n1"}),), {"queue.add": "osa", "store.backup": "a"}),
        ((("allow", "read", {"nodes": "n1", "operations": ("jobs.run",)}),), {"jobs.run": "rosa", "queue.add": "osa"}),
        ((("deny", "operate", {}), ("allow", "operate", {"nodes": "n1"})), {"queue.list": "rsa"}),
    ],
)  # fmt: skip
def test_what_a_role_is_offered(rules: tuple[Any, ...], rights: dict[str, str]) -> None:
    access = Access(rules=tuple(AccessRule(effect, role, **more) for effect, role, more in rules))
    by_name = {operation.name: operation for operation in operations()}
    for name, letters in rights.items():
        may = "".join(role[0] for role in ROLES if allows(role, by_name[name], access))
        assert sorted(may) == sorted(letters), name
    assert not any(allows("nobody", operation, access) for operation in operations())


RULES = """
access:
  cli: operate
  rules:
    - {effect: deny, role: operate, nodes: "prod*:&gpus", operations: [jobs.*, nodes.execute, queue.*]}
    - {effect: allow, role: read, plugins: [nodes], operations: [nodes.drain, nodes.execute], nodes: lab}
"""
GROUPS = {"gpus": ("prod1", "lab1"), "lab": ("lab1", "lab2")}


@pytest.fixture
def ruled(stoker: Stoker) -> Stoker:
    """prod1 is shut to operators, the lab's nodes may be drained by readers."""
    names = ("prod1", "prod9", "lab1", "lab2")
    nodes = tuple(InventoryNode(name, ("all",), {}) for name in names)
    stoker.nodes._inventory = Inventory(Path("inventory.yml"), nodes, {"all": names, **GROUPS})
    Path("stoker.yml").write_text(RULES)
    return stoker


@pytest.mark.accepts("C70")
@pytest.mark.parametrize(
    ("command", "given", "role", "denied"),
    [
        ("queue add", {"argv": ["true"], "on": "prod1"}, "operate", "on prod1"),
        ("queue add", {"argv": ["true"], "on": "lab:prod1"}, "operate", "on prod1"),
        ("queue add", {"argv": ["true"], "on": "gpus"}, "operate", "on prod1"),
        ("queue add", {"argv": ["true"], "on": "prod9"}, "operate", None),
        ("queue add", {"argv": ["true"], "on": "lab"}, "operate", None),
        # What names no node may come to any.
        ("queue add", {"argv": ["true"]}, "operate", "on prod1"),
        ("queue add", {"argv": ["true"], "on": "nowhere"}, "operate", "on prod1"),
        ("jobs", {}, "operate", "on prod1"),
        ("stop", {"jobs": ["unheard-of"]}, "operate", None),
        ("queue add", {"argv": ["true"], "on": "prod1"}, "administer", None),
        ("token list", {}, "administer", None),
        ("node drain", {"node": "lab1"}, "read", None),
        ("node drain", {"node": "lab1:prod9"}, "read", "on prod9"),
        ("node drain", {"node": "prod9"}, "read", "on prod9"),
        ("exec", {"node": "lab1", "argv": ["true"], "all": True}, "read", "on prod1 and prod9"),
        ("run", {"argv": ["true"], "on": "lab1"}, "read", "(it is for 'operate')"),
        ("node drain", {"node": "lab1"}, "nobody", "(it is for 'operate')"),
    ],
)  # fmt: skip
def test_rules_of_nodes_hold_for_what_a_call_names(
    ruled: Stoker, command: str, given: dict[str, Any], role: str, denied: str | None
) -> None:
    text = ask(command, role, **given)["text"]
    calls = ruled.session.store.calls.newest(5, outcomes=["denied"])
    if denied is None:
        assert "may not do" not in text
        assert calls == []
    else:
        assert "may not do" in text
        assert denied in text.replace(", ", " and ")
        assert [(call.who, call.role, call.via) for call in calls] == [("alice", role, "stdio")]


@pytest.mark.accepts("C70")
def test_rules_of_nodes_hold_for_each_rank_and_for_files_of_jobs(ruled: Stoker) -> None:
    store = ruled.session.store
    gang = store.add_job("gang", {"argv": ["true"]}, ranks=2)
    with store.write() as transaction:
        for rank, node in zip(transaction.gang(gang.id), ("lab1", "prod1"), strict=True):
            assert transaction.change_job(rank, {"node": node})
    Path("stoker.yml").write_text(RULES.replace("operations: [jobs.*,", "operations: [jobs.*, runs.machine,"))
    there = f"{gang.id}-1"
    for command, given in (
        ("stop", {"jobs": [gang.id]}), ("wait", {"job": gang.id}), ("job", {"job": gang.id}),
        ("runs machine", {"run": there}), ("runs machine", {"run": f"{there}:metrics.jsonl"}),
    ):  # fmt: skip
        assert "on prod1" in ask(command, "operate", **given)["text"], (command, given)
    assert "may not do" not in ask("runs machine", "operate", run="unheard-of:f")["text"]


@pytest.mark.accepts("C70")
def test_rules_of_nodes_hold_for_jobs_and_on_the_command_line(ruled: Stoker) -> None:
    denied = ruled("queue", "add", "--on", "prod1", "--", "true")
    assert denied.code == 1
    assert "the role 'operate' may not do queue.add on prod1 (next: ask whoever keeps stoker.yml" in denied.err
    added = ruled("queue", "add", "--name", "here", "--on", "lab1", "--", "true")
    assert added.code == 0, added.err
    # It may be on any node until it is on one.
    assert "on prod1" in ruled("stop", "here").err
    assert [call.via for call in ruled.session.store.calls.newest(5, outcomes=["denied"])] == ["cli", "cli"]
    Path("stoker.yml").write_text(
        "access:\n  cli: operate\n  rules:\n    - {effect: deny, role: operate, nodes: pord1}\n"
    )
    wrong = ruled("queue", "add", "--on", "lab1", "--", "true")
    assert wrong.code == 2
    assert "stoker.yml:4: access.rules[0].nodes: no node or group 'pord1'" in wrong.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("access:\n  rules:\n    - {effect: deny, role: king}\n", "stoker.yml:3: access.rules[0].role: 'king' is not"),
        ("access:\n  rules:\n    - {role: read}\n", "stoker.yml:3: access.rules[0]: effect is missing"),
        ("access:\n  rules:\n    - {effect: deny, role: read, node: n1}\n", "rules[0].node: there is no such"),
        ("plugins:\n  queue: {enabled: 7}\n", "plugins.queue.enabled: 7 is not true or false"),
        ("skills: here\n", "skills: 'here' is not a list of folders"),
    ],
)  # fmt: skip
def test_wrong_rules_are_told_by_file_line_and_field(stoker: Stoker, text: str, said: str) -> None:
    Path("stoker.yml").write_text(text)
    with pytest.raises(StokerError) as told:
        load()
    assert said in str(told.value)
