# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of the server's machine an assistant can name."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_assistant import RUN, ask
from typed import Stoker

from stoker.config import Access, Config, Mcp
from stoker.mcp.perform import perform

WORKFLOW = "name: w\njobs:\n  one: {argv: ['true']}\n"


@pytest.fixture
def outside(stoker: Stoker, tmp_path: Path) -> Path:
    """A folder beside the server's, with a run and a workflow; `link` in the server's leads there."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "run.jsonl").write_text(RUN)
    (folder / "w.yml").write_text(WORKFLOW)
    Path("link").symlink_to(folder)
    Path("good.jsonl").write_text(RUN)
    Path("id_work").write_text(RUN)
    Path(".env").write_text("TOKEN=hunter2\n")
    return folder


CASES: list[tuple[str, dict[str, Any]]] = [
    ("runs notes", {"run": "{out}/run.jsonl"}), ("runs notes", {"run": "link/run.jsonl"}),
    ("runs summary", {"run": "../outside/run.jsonl"}), ("runs summary", {"run": "run.jsonl", "folder": "{out}"}),
    ("runs summary", {"run": "../outside/run.jsonl", "folder": "sub"}), ("runs list", {"path": "~"}),
    ("runs compare", {"a": "good.jsonl", "b": "link/run.jsonl"}), ("runs query", {"query": "loss < 1", "path": "link"}),
    ("workflow validate", {"file": "{out}/w.yml"}), ("workflow validate", {"file": "/etc/shadow"}),
    ("workflow submit", {"file": "link/w.yml"}), ("agent run", {"which": "x", "prompts": ["/etc/hostname"]}),
    ("runs report", {"run": ["good.jsonl"], "out": "{out}/report.html"}),
    ("runs init", {"path": "{out}", "template": "keras"}), ("store backup", {"file": "{out}/b.db"}),
    ("sync push", {"on": "n1", "local": "{out}"}), ("sync push", {"on": "n1", "project": "{out}"}),
    ("sync pull", {"on": "n1", "local": "link"}), ("config diff", {"against": "{out}/w.yml"}),
    ("store copy", {"to": "sqlite:///{out}/c.db"}), ("store copy", {"to": "sqlite:///link/c.db"}),
    ("run", {"argv": ["true"], "snapshot": True, "project": "{out}", "on": "n1"}),
]  # fmt: skip


@pytest.mark.accepts("C70")
@pytest.mark.parametrize(("command", "given"), CASES)
def test_a_path_that_leads_elsewhere_is_refused(
    outside: Path, stoker: Stoker, command: str, given: dict[str, Any]
) -> None:
    def filled(value: Any) -> Any:
        return [filled(one) for one in value] if isinstance(value, list) else str(value).replace("{out}", str(outside))

    asked = {name: value if isinstance(value, bool) else filled(value) for name, value in given.items()}
    before = sorted(outside.iterdir())
    answered = ask(command, asked)
    assert "is not below what this server shows" in answered["text"], answered["text"]
    assert "access.paths" in answered["structured"]["next_action"]
    assert [call.outcome for call in stoker.session.store.calls.newest(5)] == ["error"]
    assert sorted(outside.iterdir()) == before
    if not command.startswith(("sync", "run", "agent", "store")):
        settings = Config(access=Access(paths=(str(outside),)))
        request = {"operation": command, "arguments": asked, "who": "a", "role": "administer", "via": "stdio"}
        allowed = perform(request, lambda _text: None, settings)
        assert ("not below" in allowed["text"]) is ("/etc/" in str(asked)), allowed["text"]


@pytest.mark.accepts("C70")
@pytest.mark.parametrize("path", ["~no-such-user/x", "a\0b"])
def test_what_is_no_path_is_told(outside: Path, path: str) -> None:
    for command, given in (("runs summary", {"run": path}), ("runs summary", {"run": "x", "folder": path})):
        assert ask(command, given)["error"]


@pytest.mark.accepts("C70")
def test_the_file_of_a_store_is_named_plainly(outside: Path) -> None:
    answered = ask("store copy", {"to": f"sqlite:///file:{outside}/c.db?uri=true"})
    assert "has nothing behind a ?" in answered["text"]
    assert not (outside / "c.db").exists()


def test_what_looks_like_a_secret_is_not_shown(outside: Path) -> None:
    for run in (".env", "id_work"):
        answered = ask("runs notes", {"run": run})
        assert "looks like a secret" in answered["text"]
        assert "hunter" not in str(answered)
    assert not ask("runs summary", {"run": "good.jsonl"})["error"]


def test_a_project_that_was_named_elsewhere_is_not_taken(outside: Path, stoker: Stoker) -> None:
    stoker("sync", "push", "no-such-node", "--project", str(outside))
    (outside / "deeper").mkdir()
    for given in ({"project": "outside"}, {}):
        answered = ask("sync push", {"on": "n1", **given})
        assert "is not below what this server shows" in answered["text"]


def test_no_assistant_writes_what_tells_the_server_what_to_do(outside: Path) -> None:
    for name in ("stoker.yml", "ansible.cfg", ".git/config", "group_vars/all.html"):
        answered = ask("runs report", {"run": ["good.jsonl"], "out": name})
        assert answered["error"]
        assert not Path(name).exists()
    assert "tells the server what to do" in ask("store backup", {"file": "stoker.yml"})["text"]


def test_no_assistant_writes_settings_of_another_name(outside: Path) -> None:
    Path("fleet.yml").write_text("access: {}\n")
    asked = {"operation": "store backup", "arguments": {"file": "fleet.yml"}, "config": "fleet.yml"}
    who = {"who": "a", "role": "administer", "via": "stdio"}
    assert "tells the server what to do" in perform({**asked, **who}, lambda _text: None)["text"]


def test_rules_hold_as_they_were_read_at_the_start(stoker: Stoker) -> None:
    request = {"operation": "token list", "arguments": {}, "who": "a", "role": "operate", "via": "stdio"}
    Path("stoker.yml").write_text("access: {allow: {operate: ['*']}}\n")
    assert "may not do" in perform(request, lambda _text: None, Config())["text"]
    assert not perform(request, lambda _text: None)["error"]


def test_the_folders_that_are_named_are_absolute(stoker: Stoker) -> None:
    Path("stoker.yml").write_text("access:\n  paths: [/srv/runs, ../x]\n")
    said = stoker("jobs")
    assert said.code == 2
    assert "stoker.yml:2: access.paths: '../x' is not an absolute folder" in said.err
    Path("stoker.yml").write_text("access:\n  paths: [/srv/runs]\n")
    assert stoker("jobs").code == 0


SECRETS: list[tuple[str, dict[str, Any]]] = [
    ("run", {"argv": ["env"]}), ("queue add", {"argv": ["env"]}), ("template run", {"template": "env"}),
    ("container create", {"node": "localhost", "name": "x", "image": "docker.io/library/busybox"}),
    ("service start", {"node": "localhost", "name": "x", "argv": ["env"], "health": "http://127.0.0.1:1/"}),
]  # fmt: skip


@pytest.mark.accepts("C70")
@pytest.mark.parametrize(("command", "given"), SECRETS)
def test_a_variable_of_the_server_goes_to_a_job_only_where_stoker_yml_says_so(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch, command: str, given: dict[str, Any]
) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2")
    stoker("template", "save", "env", "--secret", "TEAM_KEY", "--", "env")
    before = len(stoker.session.store.jobs())
    asked = given if command == "template run" else {**given, "secret": ["TEAM_KEY"]}
    answered = ask(command, asked, role="operate")
    assert answered["error"]
    assert "TEAM_KEY is none that assistants may hand to jobs" in answered["text"]
    assert "mcp: {secrets: [TEAM_KEY]}" in answered["structured"]["next_action"]
    assert len(stoker.session.store.jobs()) == before


@pytest.mark.accepts("C70")
def test_a_variable_that_stoker_yml_names_may_be_handed_on_also_by_a_workflow(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2")
    Path("w.yml").write_text("name: w\njobs:\n  one: {argv: [env], secret: [TEAM_KEY]}\n")
    asked = {"argv": ["env"], "secret": ["TEAM_KEY"]}
    for pattern, allowed in (("OTHER_*", False), ("TEAM_*", True)):
        settings = Config(mcp=Mcp(secrets=(pattern,)))
        for command, given in (("queue add", asked), ("workflow submit", {"file": "w.yml"})):
            request = {"operation": command, "arguments": given, "who": "a", "role": "operate", "via": "stdio"}
            answered = perform(request, lambda _text: None, settings)
            assert answered["error"] is not allowed, answered["text"]
            assert ("TEAM_KEY is none" in answered["text"]) is not allowed


@pytest.mark.accepts("C70")
def test_only_servers_that_stoker_yml_names_are_asked_for_an_assistant(stoker: Stoker) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(0)
        port = listening.getsockname()[1]
        server = f"mlflow:http://127.0.0.1:{port}"
        Path("sub/wandb").mkdir(parents=True)
        Path("sub/wandb/settings").write_text(f"[default]\nbase_url = http://127.0.0.1:{port}\n")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("runs list", {"path": server}), ("runs summary", {"run": f"{server}/#/experiments/1/runs/2"}),
            ("runs summary", {"run": "x", "folder": server}), ("runs compare", {"a": "x", "b": server}),
            ("runs summary", {"run": "wandb:a/b/c", "folder": "sub"}),
            ("runs report", {"run": [server], "out": "r.html"}),
        ]  # fmt: skip
        for command, given in calls:
            answered = ask(command, given, role="read" if "report" not in command else "operate")
            assert answered["error"], command
            assert "no server that assistants may have asked" in answered["text"], answered["text"]
            assert "mcp: {servers:" in answered["structured"]["next_action"]
        with pytest.raises(BlockingIOError):
            listening.accept()
    # The same call, allowed: nobody listens any more, and that is what it says.
    request = {"operation": "runs list", "arguments": {"path": server}, "who": "a", "role": "read", "via": "stdio"}
    answered = perform(request, lambda _text: None, Config(mcp=Mcp(servers=(f"127.0.0.1:{port}",))))
    assert "cannot be asked" in answered["text"], answered["text"]


@pytest.mark.accepts("C70")
def test_a_job_that_is_run_again_gets_no_variable_that_assistants_may_not_hand_on(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "hunter2")
    job = stoker.session.store.add_job("env", {"argv": ["env"], "secret_env": ["TEAM_KEY"]}).id
    assert stoker("stop", job).code == 0
    before = len(stoker.session.store.jobs())
    answered = ask("retry", {"job": job, "env": {"LD_PRELOAD": "x.so"}}, role="operate")
    assert "TEAM_KEY is none that assistants may hand to jobs" in answered["text"]
    assert len(stoker.session.store.jobs()) == before


@pytest.mark.accepts("C70")
@pytest.mark.parametrize("command", ["kube contexts", "kube nodes", "kube scale"])
def test_no_assistant_says_which_file_names_programs_to_run(stoker: Stoker, command: str) -> None:
    ran = Path("ran").absolute()
    Path("config").write_text(
        "contexts: [{name: c, context: {cluster: c, user: c}}]\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: c, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, "
        f"args: ['{ran}']}}}}}}]\n"
    )
    given = {"what": "deployment/x", "replicas": 1} if command == "kube scale" else {}
    request = {"operation": command, "arguments": {**given, "kubeconfig": "config"}, "who": "a", "role": "administer"}
    answered = perform({**request, "via": "stdio"}, lambda _text: None)
    assert "kubeconfig: no assistant says which file it is" in answered["text"], answered["text"]
    assert not ran.exists()
    # It is one that does run it, where it may be named.
    assert stoker("kube", "contexts", "--kubeconfig", "config").code == 1
    assert ran.exists()
