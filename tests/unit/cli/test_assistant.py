# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an assistant is offered and answered: the same operations, arguments and JSON as on a command line."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typed import Stoker

from stoker.cli.build import build
from stoker.cli.render import document
from stoker.config import Access
from stoker.fleet import Fleet, Namespace
from stoker.mcp import arguments, tools
from stoker.mcp.outputs import output_schema
from stoker.mcp.perform import perform
from stoker.operations.policy import ROLES
from stoker.operations.registry import Operation, operations
from stoker.store import callers

# What tells of the moment it was asked.
MOMENTS = {"asked_at", "age_s", "elapsed_s", "read_at", "checked_at", "stopped_s", "at"}
RUN = "\n".join(json.dumps({"step": step, "loss": 2.0 / (step + 1)}) for step in range(200)) + "\n"
RUN_BAD = RUN + "\n".join(json.dumps({"step": step, "loss": float("nan")}) for step in range(200, 230)) + "\n"
LONG_AGO = 1_700_000_000
UNKNOWN = "no-such-thing"
# Calls that change nothing: of all that only looks, and, for what changes something, what is refused.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("jobs", {}), ("jobs", {"limit": 1, "state": ["queued"]}), ("jobs", {"state": [UNKNOWN]}),
    ("job", {"job": "first"}), ("job", {"job": UNKNOWN}), ("wait", {"job": UNKNOWN}), ("stats", {}),
    ("stats", {"by": "node"}), ("compare", {"a": "first", "b": "second"}), ("logs", {"job": UNKNOWN}),
    ("logs", {"job": "first", "tail": 1, "all": True}), ("watch", {"job": UNKNOWN}), ("events", {}),
    ("events", {"since": 1, "type": ["job.submitted"]}), ("status", {"stored": True}), ("nodes", {"stored": True}),
    ("gpus", {"stored": True}), ("node list", {}), ("template list", {}), ("template show", {"template": UNKNOWN}),
    ("queue list", {}), ("queue list", {"queue": UNKNOWN}), ("workflow list", {}), ("dispatchers", {}),
    ("workflow status", {"workflow": UNKNOWN}), ("workflow validate", {"file": UNKNOWN}),
    ("runs list", {"path": "."}), ("runs summary", {"run": "good.jsonl"}), ("runs keys", {"run": "good.jsonl"}),
    ("runs config", {"run": "good.jsonl"}), ("runs history", {"run": "good.jsonl", "key": ["loss"], "rows": 5}),
    ("runs stats", {"run": "good.jsonl"}), ("runs stability", {"run": "good.jsonl", "window": 0.5}),
    ("runs check", {"run": "good.jsonl"}), ("runs check", {"run": "bad.jsonl"}), ("runs eta", {"run": "good.jsonl"}),
    ("runs compare", {"a": "good.jsonl", "b": "bad.jsonl"}), ("runs best", {"key": "loss", "path": "."}),
    ("runs query", {"query": "loss < 1", "path": "."}), ("runs summary", {"run": UNKNOWN}),
    ("runs chart", {"run": "good.jsonl", "key": ["loss"]}), ("runs why", {"a": "good.jsonl", "b": "bad.jsonl"}),
    ("runs cost", {"path": "."}), ("runs find", {"text": "good", "path": "."}), ("runs latest", {"path": "."}),
    ("config get", {"key": "launcher"}), ("config get", {"key": UNKNOWN}), ("config diff", {}), ("config check", {}),
    ("config set", {"key": "forks", "value": "9"}), ("notify list", {}), ("notify test", {"target": UNKNOWN}),
    ("inbox list", {}), ("inbox archive", {}),
    ("token list", {}), ("audit", {"outcome": [UNKNOWN]}), ("run", {}), ("retry", {"job": UNKNOWN}),
    ("run", {"argv": ["true"], "on": UNKNOWN}), ("signal", {"job": UNKNOWN, "name": "USR1"}),
    ("stop", {"jobs": [UNKNOWN]}),
    ("template run", {"template": UNKNOWN}), ("template delete", {"template": UNKNOWN}), ("queue add", {}),
    ("queue move", {"job": UNKNOWN, "first": True}), ("queue resume", {"queue": UNKNOWN}),
    ("node drain", {"node": UNKNOWN}),
    ("node resume", {"node": UNKNOWN}), ("node approve", {"node": UNKNOWN}), ("node remove", {"node": UNKNOWN}),
    ("workflow cancel", {"workflow": UNKNOWN}), ("workflow resume", {"workflow": UNKNOWN}),
    ("workflow submit", {"file": UNKNOWN}), ("sync push", {"on": UNKNOWN}), ("sync pull", {"on": UNKNOWN}),
    ("sync diff", {"on": UNKNOWN}), ("store restore", {"file": UNKNOWN}), ("token remove", {"name": UNKNOWN}),
    ("clean", {"older_than": "never"}), ("exec", {"node": UNKNOWN, "argv": ["true"]}),
    ("whereami", {}), ("memory list", {}), ("memory list", {"category": UNKNOWN}), ("memory search", {"text": "x"}),
    ("memory search", {"text": "!"}), ("thread list", {"all": True}), ("thread show", {"thread": UNKNOWN}),
    ("session list", {}), ("session inbox", {}), ("thread think", {"thread": UNKNOWN, "text": "x"}),
    ("memory forget", {"key": UNKNOWN}), ("session send", {"to": UNKNOWN, "text": "x"}),
    ("session ack", {"messages": [1]}),
    ("container start", {"node": UNKNOWN, "name": "c"}), ("service stop", {"node": UNKNOWN, "name": "s"}),
]  # fmt: skip


def command_line(operation: Operation, given: Mapping[str, Any]) -> list[str]:
    """The same call as it is typed."""
    words, after = operation.command.split(), list[str]()
    for name, parameter in operation.signature().parameters.items():
        value = given.get(name)
        option = f"--{name.replace('_', '-')}"
        if value is None or value is False:
            continue
        if arguments.stands_after_dashes(parameter):
            after = ["--", *value]
        elif parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            words += [str(item) for item in value] if isinstance(value, list) else [str(value)]
        elif value is True:
            words.append(option)
        else:
            words += [part for item in (value if isinstance(value, list) else [value]) for part in (option, str(item))]
    return [*words, "--json", *after]


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timeless(inner) for name, inner in value.items() if name not in MOMENTS}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def ask(command: str, given: Mapping[str, Any], role: str = "administer", **more: Any) -> dict[str, Any]:
    """What an assistant is answered."""
    request = {"operation": command, "arguments": dict(given), "who": "alice", "role": role, "via": "stdio", **more}
    return perform(request, lambda _text: None)


def of_api(operation: Operation, given: Mapping[str, Any]) -> Any:
    """What the Python API answers, as JSON."""
    from stoker.cli.kinds import is_stream
    from stoker.cli.render import failure
    from stoker.errors import StokerError

    args, kwargs = arguments.bind(operation, given)
    with Fleet() as fleet:
        try:
            value = getattr(getattr(fleet, operation.area), operation.method)(*args, **kwargs)
            if is_stream(value):
                return [document(operation.name, piece)["value"] for piece in value]
            return document(operation.name, value)
        except StokerError as problem:
            return failure(problem, operation.name)


@pytest.fixture
def seeded(stoker: Stoker) -> Stoker:
    """Two jobs in a queue, and two trainings."""
    for name in ("first", "second"):
        assert stoker("queue", "add", "--name", name, "--", "python", f"{name}.py").code == 0
    Path("good.jsonl").write_text(RUN)
    Path("bad.jsonl").write_text(RUN_BAD)
    for file in ("good.jsonl", "bad.jsonl"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    return stoker


@pytest.mark.accepts("C23", "R41", "R08", "R22")
def test_command_line_api_and_assistant_get_equal_json(seeded: Stoker) -> None:
    by_command = {operation.command: operation for operation in operations()}
    good = 0
    for command, given in CALLS:
        operation = by_command[command]
        typed = seeded(*command_line(operation, given))
        lines = [json.loads(line) for line in typed.out.splitlines()]
        answered = ask(command, given)
        structured = answered["structured"]
        if "values" in structured:
            assert timeless(structured["values"]) == timeless([line["value"] for line in lines]), command
            assert timeless(of_api(operation, given)) == timeless(structured["values"]), command
            continue
        (shown,) = lines
        assert timeless({name: structured[name] for name in shown}) == timeless(shown), (command, given)
        assert timeless(of_api(operation, given)) == timeless(shown), (command, given)
        assert answered["error"] is (not shown["ok"]), (command, given)
        assert typed.code == structured.get("exit_code", shown.get("error", {}).get("exit_code")), (command, given)
        good += shown["ok"]
        if shown["ok"]:
            jsonschema.validate(shown["value"], output_schema(operation))
        else:
            assert structured["next_action"] == shown["error"]["next_step"]
    assert good >= 25


@pytest.mark.accepts("C23", "R41")
def test_every_operation_is_a_command_a_method_and_of_one_tool() -> None:
    app = build(lambda _call: 0, None)
    spaces = {space.area: space for space in Namespace.__subclasses__()}
    offered = tools.tools("administer", Access())
    for operation in operations():
        found = app
        for word in operation.command.split():
            found = found[word]
        assert "json" in inspect.signature(found.default_command).parameters, operation.command
        assert operation.method in vars(spaces[operation.area]), operation.name
        (tool,) = [tool for tool in offered if tool.operation(operation.command) is operation]
        listed = tools.listed(tool)
        assert operation.command in listed.input_schema["properties"]["do"]["enum"]
        assert f"\n{operation.command}(" in (listed.description or "")
        named = set(operation.signature().parameters)
        assert named == set(arguments.input_schema(operation)["properties"]), "help has the types of all"
        if listed.name.partition("_")[0] in ("workflows", "services", "memory", "administration"):
            (line,) = [each for each in str(listed.description).split("\n") if each.startswith(f"{operation.command}(")]
            listed_names = set(re.findall(r"\w+", line.partition("(")[2].partition(")")[0]))
            assert named <= listed_names or "+job options" in line, line
        else:
            assert named <= set(listed.input_schema["properties"])
        assert listed.annotations is not None
        assert bool(listed.annotations.read_only_hint) is (operation.policy == "read")
        # The protocol presumes that what changes things destroys.
        assert listed.annotations.destructive_hint is not False or operation.destroys is False
        assert ("confirm" in listed.input_schema["properties"]) or operation.destroys is False


@pytest.mark.accepts("B15")
def test_all_tools_together_cost_less_than_6000_tokens() -> None:
    # 3.9 bytes a token: what the tokenizer that came with anthropic 0.38 makes of this listing.
    offered = [*(tools.listed(tool) for tool in tools.tools("administer", Access())), tools.helper()]
    listing = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in offered]
    assert len(json.dumps(listing, separators=(",", ":")).encode()) / 3.9 < 6000
    assert len(offered) <= 16


@pytest.mark.accepts("B15")
def test_usual_answers_are_short(seeded: Stoker) -> None:
    for command, given in [("jobs", {}), ("job", {"job": "first"}), ("status", {"stored": True}), ("queue list", {}),
                           ("runs summary", {"run": "good.jsonl"}), ("runs check", {"run": "bad.jsonl"})]:  # fmt: skip
        answered = ask(command, given)
        assert not answered["error"], answered
        assert len(answered["text"].encode()) / 4 < 500, command
        # A client may hand both to its model.
        structured = len(json.dumps(answered["structured"], separators=(",", ":")).encode()) / 3.9
        assert structured < 1500, (command, structured)


@pytest.mark.accepts("B15")
def test_a_long_list_is_read_on_by_its_cursor(seeded: Stoker) -> None:
    for number in range(43):
        assert seeded("queue", "add", "--name", f"j{number}", "--", "true").code == 0
    cursor, seen = None, list[str]()
    while True:
        answered = ask("jobs", {}, cursor=cursor)["structured"]
        seen += [job["id"] for job in answered["value"]["jobs"]]
        cursor = answered.get("next_cursor")
        if cursor is None:
            break
        assert len(answered["value"]["jobs"]) == 20
    assert len(seen) == len(set(seen)) == 45
    assert ask("jobs", {}, cursor="since_byte:3")["error"]
    assert ask("jobs", {}, cursor="x")["structured"]["next_action"]


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        ("logs", {"jb": "x"}, "logs takes no argument 'jb'. Did you mean 'job'?"),
        ("logs", {}, "logs needs the argument 'job'"),
        ("logs", {"job": 3}, "job has to be string"),
        ("logs", {"job": "x", "tail": "3"}, "tail has to be integer"),
        ("logs", {"job": "x", "follow": "yes"}, "follow has to be boolean"),
        ("logs", {"job": "x", "stream": "both"}, "stream has to be one of out, stdout, stderr"),
        ("run", {"argv": "rm -rf /"}, "argv has to be array"),
        ("run", {"argv": ["true"], "env": ["A=1"]}, "env has to be object"),
        ("stop", {"jobs": "x"}, "jobs has to be array"),
        ("run", {"script": 5}, "script has to be string"),
        ("run", {"argv": 5}, "argv has to be array"),
        ("events", {"since": 10**30}, "since has to be a number of less than 19 digits"),
        ("telemetry", {"every": float("nan")}, "every has to be a number"),
    ],
)
def test_an_argument_that_is_wrong_is_refused_with_a_next_step(
    stoker: Stoker, command: str, given: dict[str, Any], said: str
) -> None:
    answered = ask(command, given)
    assert answered["error"]
    assert said in answered["text"]
    assert "help" in answered["structured"]["next_action"]
    assert [call.outcome for call in stoker.session.store.calls.newest(5)] == ["error"]


def test_an_error_speaks_of_arguments_not_of_options(stoker: Stoker) -> None:
    assert stoker("queue", "add", "--name", "one", "--", "true").code == 0
    job = stoker.session.store.jobs()[0].id
    for command, given, said in [
        ("wait", {"job": job, "timeout": "soon"}, "timeout"), ("events", {"since": "x"}, "since"),
        ("logs", {"job": job, "tail": 1, "since_byte": 1}, "since_byte"), ("clean", {"older_than": "x"}, "older_than"),
    ]:  # fmt: skip
        answered = ask(command, given)
        assert said in answered["text"]
        assert "--" not in answered["text"], command


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("workflow validate", {"file": "a\0b"}), ("run", {"argv": ["true", "\0"]}), ("job", {"job": "\ud800"}),
        ("run", {"argv": ["true"], "env": {"A\0": "b"}}), ("run", {"argv": ["true"], "env": {"A": "\udfff"}}),
    ],
)  # fmt: skip
def test_a_text_that_nothing_can_hold_is_refused(stoker: Stoker, command: str, given: dict[str, Any]) -> None:
    answered = ask(command, given)
    assert "holds a character that no text" in answered["text"]
    assert answered["structured"]["next_action"]
    assert [call.outcome for call in stoker.session.store.calls.newest(5)] == ["error"]
    assert "1 to 128 characters" in ask("jobs", {}, key="\ud800")["text"]


def test_the_page_names_all_that_runs_commands() -> None:
    page = (Path(__file__).parents[3] / "docs" / "mcp.md").read_text()
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page.partition("**Commands.**")[2].partition("\n\n")[0]))
    everything = {operation.name: operation for operation in operations()}
    assert named <= set(everything)
    takes = {"argv", "script", "template", "prompts"}
    runs = {
        name for name, operation in everything.items()
        if operation.policy == "operate" and takes & set(operation.signature().parameters)
    }  # fmt: skip
    assert runs - {"templates.delete", "runs.init"} <= named


def test_what_deletes_says_so() -> None:
    """So that an assistant has to confirm it."""
    deletes = re.compile(r"\b(clean|clear|delete|destroy|drop|empty|forget|kill|prune|purge|remove|reset|restore|wipe)")
    for operation in operations():
        if deletes.search(operation.command):
            assert operation.destroys, operation.command
        switches = [name for name in operation.signature().parameters if deletes.match(name.replace("_", " "))]
        flagged = operation.destroys if isinstance(operation.destroys, tuple) else switches
        assert set(switches) <= set(flagged) or operation.destroys is True, operation.command
    assert {"workflow clear", "token remove", "queue clear"} <= {o.command for o in operations() if o.destroys is True}


@pytest.mark.accepts("C70")
def test_a_role_may_what_it_may_and_a_denial_is_written_down(stoker: Stoker) -> None:
    matrix = {
        "read": {"jobs": True, "run": False, "token list": False},
        "operate": {"jobs": True, "run": True, "token list": False},
        "administer": {"jobs": True, "run": True, "token list": True},
        "nobody": {"jobs": False, "run": False, "token list": False},
    }
    for role, rights in matrix.items():
        words = {operation.command for tool in tools.tools(role, Access()) for operation in tool.operations}
        for command, may in rights.items():
            answered = ask(command, {}, role)
            assert ("may not do" in answered["text"]) is not may, (role, command)
            assert (command in words) is may
    denied = [call.operation for call in stoker.session.store.calls.newest(50, outcomes=["denied"])]
    assert sorted(denied) == sorted(3 * ["access.list_tokens"] + 2 * ["jobs.run"] + ["jobs.list"])
    assert "spend" in ROLES


@pytest.mark.accepts("C70")
def test_rules_of_stoker_yml_hold_for_the_command_line_and_for_assistants(stoker: Stoker) -> None:
    Path("stoker.yml").write_text(
        "access:\n  cli: operate\n  allow: {read: [jobs.stop]}\n"
        "  deny: {operate: ['templates.*'], administer: [store.check]}\n"
    )
    for command, given in (("template list", {}), ("token list", {}), ("store backup", {"file": "b.db"})):
        operation = next(found for found in operations() if found.command == command)
        typed = stoker(*command_line(operation, given))
        assert typed.code == 1
        assert "the role 'operate' may not do" in typed.err
        assert ("a rule of stoker.yml" in typed.err) is (command == "template list")
        assert "may not do" in ask(command, given, "operate")["text"]
    assert stoker("jobs").code == 0
    assert "may not do" not in ask("stop", {"jobs": ["x"]}, "read")["text"]
    assert "may not do" in ask("store check", {}, "administer")["text"]
    calls = stoker.session.store.calls.newest(50, outcomes=["denied"])
    assert {call.via for call in calls} == {"cli", "stdio"}
    assert len(calls) == 7


@pytest.mark.accepts("B15")
def test_a_call_with_a_key_happens_once(stoker: Stoker) -> None:
    given = {"argv": ["true"], "name": "once"}
    first = ask("queue add", given, key="k1")["structured"]
    again = ask("queue add", given, key="k1")["structured"]
    assert again["repeated"] is True
    assert again["value"] == first["value"]
    assert len(stoker.session.store.jobs()) == 1
    other = ask("queue add", {**given, "name": "twice"}, key="k1")
    assert other["error"]
    assert "used for another call" in other["text"]
    # A key is its owner's own, and one of a call that did nothing can be used again.
    assert not ask("queue add", given, key="k1", who="bob")["error"]
    assert not ask("queue add", given, key="k1", via="http")["error"]
    assert ask("queue add", {}, key="k2")["error"]
    assert not ask("queue add", given, key="k2")["error"]
    assert len(stoker.session.store.jobs()) == 4


@pytest.mark.accepts("B15")
def test_a_call_whose_process_is_gone_is_not_said_to_be_running(seeded: Stoker) -> None:
    script = (
        "import os, sys\nfrom stoker.mcp.perform import perform\n"
        "request = {'operation': sys.argv[1], 'arguments': {}, 'who': 'alice', 'role': 'operate', 'via': 'stdio',"
        " 'key': 'k'}\n"
        "import stoker.mcp.answers as answers\n"
        "answers.of_operation = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "perform(request, print)\n"
    )
    store = seeded.session.store
    for command in ("jobs", "dispatch"):
        killed = subprocess.run([sys.executable, "-c", script, command], timeout=120, check=False)
        assert killed.returncode == -9
        assert store.calls.newest(1)[0].outcome == "running"
        listed = json.loads(seeded("audit", "--limit", "1", "--json").out)["value"]["calls"]
        assert listed[0]["outcome"] == "error"
        assert "ended without an answer" in listed[0]["detail"]
        again = ask(command, {}, key="k")
        # What only looks can be asked anew; of what changes something it is not known what it did.
        assert again["error"] is (command == "dispatch"), again
        assert ("not known" in again["text"]) is (command == "dispatch")
        store.calls.forget_key(store.calls.of_key("stdio", "alice", "k").seq)


def test_a_call_that_runs_is_left_alone(stoker: Stoker) -> None:
    for process in (callers.this_process(), "elsewhere a-boot pid:[1] 1 1"):
        stoker.session.store.calls.begin(
            via="http", who="x", role="read", operation="jobs.wait", arguments={}, outcome="running", process=process
        )
        stoker.session.store.calls.settle()
        assert stoker.session.store.calls.newest(1)[0].outcome == "running"
    host, _boot, space, number, began = callers.this_process().split(" ")
    assert callers.is_gone(f"{host} another-boot {space} {number} {began}")
    assert callers.is_gone(callers.this_process() + "1")


@pytest.mark.accepts("B15")
def test_a_confirmed_call_that_is_sent_again_is_answered_with_what_was_said(seeded: Stoker) -> None:
    given, role = {"template": "t"}, "operate"
    assert not ask("template save", {"template": "t", "argv": ["true"]}, role)["error"]
    unknown = "confirm: that token is used"
    assert unknown in ask("template delete", given, role, key="k", unconfirmed=unknown)["text"]
    done = ask("template delete", given, role, key="k")
    again = ask("template delete", given, role, key="k", unconfirmed=unknown)["structured"]
    assert again["repeated"] is True
    assert again["value"] == done["structured"]["value"]
    assert ask("template delete", given, role, key="k", plan=True)["structured"]["repeated"] is True
    other = ask("template delete", {"template": "u"}, role, key="k", unconfirmed=unknown)
    assert "used for another call" in other["text"]


def test_what_is_kept_of_a_call_holds_no_values_of_its_environment(stoker: Stoker) -> None:
    ask("run", {"argv": ["curl", "-H", "Bearer hunter2"], "env": {"TOKEN": "hunter3"}, "on": "n1", "script": "hunter4"})
    (call,) = stoker.session.store.calls.newest(5)
    assert call.operation == "jobs.run"
    assert call.outcome == "error"
    assert call.arguments["env"] == {"names": ["TOKEN"]}
    assert "hunter" not in json.dumps(dict(call.arguments))


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("run", {"command": "curl -H hunter2", "argv": ["true"]}), ("run", {"argv": [["curl", "hunter2"]]}),
        ("run", {"argv": ["true"], "env": ["TOKEN=hunter2"]}), ("exec", {"node": "n1", "argv": "curl hunter2"}),
        ("run", {"argv": ["true"], "env": {"hunter2=1": "x"}, "on": UNKNOWN}),
        ("run", {"prompt": "it is hunter2", "agent": UNKNOWN}),
        ("store copy", {"to": "postgresql://me:hunter2@127.0.0.1:1/x"}), ("run", {"hunter2 is it": 1}),
        ("service start", {"node": UNKNOWN, "name": "s", "argv": ["x"], "health": "http://u:hunter2@h/?q=a@b"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["administer", "read"])
def test_nothing_secret_of_a_call_that_is_refused_is_kept(
    stoker: Stoker, role: str, command: str, given: dict[str, Any]
) -> None:
    assert ask(command, given, role)["error"]
    (call,) = stoker.session.store.calls.newest(5)
    assert call.outcome == ("denied" if role == "read" else "error")
    assert "hunter" not in json.dumps([call.arguments, call.detail])


def test_a_secret_that_is_answered_is_never_kept(stoker: Stoker, tmp_path: Path) -> None:
    refused = ask("token add", {"name": "alice"}, key="k1")
    assert "idempotency_key" in refused["text"]
    assert refused["structured"]["next_action"]
    assert stoker.session.store.tokens.list() == []
    secret = ask("token add", {"name": "alice"})["structured"]["value"]["secret"]
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))


def test_a_plan_says_what_would_happen_and_does_nothing(seeded: Stoker) -> None:
    answered = ask("stop", {"jobs": ["first"]}, plan=True)
    assert "Not done yet" in answered["text"]
    assert answered["structured"]["plan"]["arguments"] == {"jobs": ["first"]}
    assert all(job.stop_requested is None for job in seeded.session.store.jobs())
    dry = ask("clean", {"older_than": 0}, plan=True)["structured"]["plan"]
    assert dry["dry_run"]["dry_run"] is True
    by_command = {operation.command: operation for operation in operations()}
    assert tools.destroys(by_command["stop"], {})
    assert not tools.destroys(by_command["clean"], {"dry_run": True})
    assert tools.destroys(by_command["sync push"], {"delete": True})
    assert not tools.destroys(by_command["sync push"], {"delete": False})


def test_a_token_is_shown_once_and_only_its_digest_is_kept(stoker: Stoker, tmp_path: Path) -> None:
    made = stoker("token", "add", "alice", "--role", "operate", "--expires", "1h")
    secret = made.out.strip()
    assert secret.startswith("stoker_")
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert secret not in stoker("token", "list").out
    assert stoker("token", "add", "alice").code == 2
    assert stoker("token", "add", "bob", "--role", "king").code == 2
    assert stoker("token", "add", "Bob!").code == 2
    assert stoker("token", "remove", "alise").err.count("Did you mean 'alice'?") == 1
    assert stoker("token", "remove", "alice").code == 0
    assert stoker.session.store.tokens.list() == []
