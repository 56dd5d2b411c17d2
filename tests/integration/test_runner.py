# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks and inventories through Ansible, against real sshd nodes. The warm launcher has its own tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from testbed import PlainNode

from stoker.errors import NotFound, StokerError
from stoker.runner import Event, Runner
from stoker.runner.environment import control_dir

RAW = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: {command}\n"


@pytest.fixture
def runner(node: PlainNode, inventory: Callable[..., Path]) -> Runner:
    return Runner(inventory([node]), launcher=False)


@pytest.fixture
def playbook(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a playbook and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "play.yml"
        path.write_text(text)
        return path

    return write


def raw(command: str) -> str:
    return RAW.format(command=json.dumps(command))


def one_host(tmp_path: Path, **variables: object) -> Path:
    path = tmp_path / "one.yml"
    path.write_text(json.dumps({"all": {"hosts": {"n9": variables}}}))
    return path


def test_a_run_gives_its_results_and_tells_of_its_steps(runner: Runner, playbook: Callable[[str], Path]) -> None:
    events: list[Event] = []
    result = runner.play(playbook(raw("echo {{ word }}")), extra_vars={"word": "hi"}, on_event=events.append)
    assert (result.rc, result.unreachable, result.failed) == (0, {}, {})
    (task,) = result.results
    assert (task.host, task.status, task.action) == ("n1", "ok", "ansible.builtin.raw")
    assert task.res["stdout"].strip() == "hi"
    assert [e.kind for e in events] == ["play", "task", "result"]
    assert result.of_task("raw")["n1"] is task


def test_a_result_of_a_megabyte_comes_whole(runner: Runner, playbook: Callable[[str], Path]) -> None:
    result = runner.play(playbook(raw("head -c 1000000 /dev/zero | tr '\\\\0' x")), extra_vars={})
    assert len(result.results[0].res["stdout"]) == 1_000_000


def test_nothing_stays_on_disk(
    runner: Runner, playbook: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "tmp"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    runner.play(playbook(raw("true")), extra_vars={})

    def fail(_event: Event) -> None:
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        runner.play(playbook(raw("true")), extra_vars={}, on_event=fail)
    assert list(spool.iterdir()) == []


def test_no_command_line_shows_an_extra_variable(runner: Runner, playbook: Callable[[str], Path]) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        runner.play(playbook(raw("sleep 0.3")), extra_vars={"token": "hunter2-in-the-clear"})
    finally:
        stop.set()
        watcher.join()
    assert any("play.yml" in line for line in seen)
    assert not any("hunter2-in-the-clear" in line for line in seen)


@pytest.mark.accepts("D31")
def test_the_second_run_needs_no_new_login(runner: Runner, node: PlainNode, playbook: Callable[[str], Path]) -> None:
    before = node.authentications()
    for _ in range(2):
        assert runner.play(playbook(raw("true")), extra_vars={}).rc == 0
    assert node.authentications() == before + 1
    folder = control_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert any(path.is_socket() for path in folder.iterdir())


@pytest.mark.accepts("D31")
@pytest.mark.parametrize("how", ["killed", "cut", "restarted"])
def test_a_stale_control_socket_recovers_on_its_own(
    runner: Runner, node: PlainNode, playbook: Callable[[str], Path], how: str
) -> None:
    book = playbook(raw("true"))
    runner.play(book, extra_vars={})
    if how == "killed":
        for pid in masters():
            os.kill(pid, signal.SIGKILL)
    elif how == "cut":
        node.cut()
    else:
        node.restart()
    assert runner.play(book, extra_vars={}).unreachable == {}


def masters() -> list[int]:
    """The ssh processes that hold this run's control sockets."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if text.startswith(b"ssh: " + os.fsencode(control_dir())):
            found.append(int(path.parent.name))
    return found


def test_an_unknown_host_key_is_refused_with_the_way_on(
    node: PlainNode, inventory: Callable[..., Path], playbook: Callable[[str], Path]
) -> None:
    node.known_hosts.write_text("")
    node.host_vars["ansible_ssh_common_args"] = f"-F none -o UserKnownHostsFile={node.known_hosts}"
    result = Runner(inventory([node]), launcher=False).play(playbook(raw("true")), extra_vars={})
    assert result.rc == 4
    assert result.unreachable == {"n1": "Host key verification failed"}
    assert "ssh-keyscan" in result.next_steps["n1"]
    assert node.authentications() == 0


def test_a_key_that_is_not_known_is_refused_with_the_way_on(
    node: PlainNode, inventory: Callable[..., Path], playbook: Callable[[str], Path], tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    node.host_vars["ansible_ssh_private_key_file"] = str(tmp_path / "other")
    result = Runner(inventory([node]), launcher=False).play(playbook(raw("true")), extra_vars={})
    assert result.unreachable == {"n1": "Permission denied (publickey)"}
    assert str(tmp_path / "other") in result.next_steps["n1"]


def test_a_closed_port_and_no_python_are_told_apart(
    runner: Runner, node: PlainNode, tmp_path: Path, inventory: Callable[..., Path], playbook: Callable[[str], Path]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        path = one_host(tmp_path, ansible_host="127.0.0.1", ansible_port=port)
        result = Runner(path, launcher=False).play(playbook(raw("true")), extra_vars={})
    assert result.unreachable == {"n9": "Connection refused"}
    assert f"port {port}" in result.next_steps["n9"]
    node.host_vars["ansible_python_interpreter"] = "/usr/bin/python9"
    ping = playbook("- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n")
    result = Runner(inventory([node]), launcher=False).play(ping, extra_vars={})
    assert result.failed == {"n1": "The module interpreter '/usr/bin/python9' was not found"}
    assert "ansible_python_interpreter" in result.next_steps["n1"]


def test_a_node_that_never_answers_times_out(tmp_path: Path, playbook: Callable[[str], Path]) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        path = one_host(tmp_path, ansible_host="127.0.0.1", ansible_port=mute.getsockname()[1])
        began = time.monotonic()
        result = Runner(path, launcher=False, connect_timeout_s=2).play(playbook(raw("true")), extra_vars={})
    assert "timed out" in result.unreachable["n9"]
    assert time.monotonic() - began < 240


def test_ignored_unreachable_hosts_are_reported_as_such(tmp_path: Path, playbook: Callable[[str], Path]) -> None:
    path = one_host(tmp_path, ansible_host="127.0.0.1", ansible_port=1)
    book = playbook(raw("true").replace("gather_facts: false", "gather_facts: false\n  ignore_unreachable: true"))
    result = Runner(path, launcher=False).play(book, extra_vars={})
    assert result.rc == 0
    assert result.results[0].ignored
    assert result.unreachable == {"n9": "Connection refused"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- hosts: all\n  tasks: [\n", "play.yml:"),
        ("- hosts: all\n  taskss: []\n", "play.yml:2"),
        ("- hosts: all\n  tasks:\n    - no.such.module:\n", "play.yml:3"),
    ],
)
def test_a_broken_playbook_names_file_and_line(
    runner: Runner, playbook: Callable[[str], Path], text: str, said: str
) -> None:
    with pytest.raises(StokerError, match=said) as caught:
        runner.play(playbook(text), extra_vars={})
    assert "\n" not in str(caught.value)
    assert "{" not in str(caught.value)


def test_missing_files_are_named(runner: Runner, tmp_path: Path, playbook: Callable[[str], Path]) -> None:
    with pytest.raises(NotFound, match=str(tmp_path / "no.yml")):
        runner.play(tmp_path / "no.yml", extra_vars={})
    with pytest.raises(NotFound, match="nowhere"):
        Runner(tmp_path / "nowhere.yml").play(playbook(raw("true")), extra_vars={})
    with pytest.raises(NotFound, match=r"stoker\.fleet\.nonesuch"):
        runner.play("stoker.fleet.nonesuch", extra_vars={})


def test_a_limit_that_leaves_nobody_is_said(runner: Runner, playbook: Callable[[str], Path]) -> None:
    with pytest.raises(StokerError, match="n77"):
        runner.play(playbook(raw("true")), extra_vars={}, limit="n77")


@pytest.mark.parametrize("how", ["cancel", "timeout", "interrupt"])
def test_a_run_that_is_stopped_leaves_no_process(
    runner: Runner, node: PlainNode, playbook: Callable[[str], Path], how: str
) -> None:
    book = playbook(raw("sleep 43210"))
    began = time.monotonic()

    def begun() -> bool:
        return any("sleep 43210" in " ".join(p.argv) for p in node.processes())

    if how == "interrupt":
        timer = threading.Timer(2.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            runner.play(book, extra_vars={})
        timer.join()
    else:
        with pytest.raises(StokerError, match="cancelled" if how == "cancel" else "within 2"):
            runner.play(
                book,
                extra_vars={},
                cancel=begun if how == "cancel" else None,
                timeout_s=2.5 if how == "timeout" else None,
            )
    assert time.monotonic() - began < 240
    assert not running_with(str(book))


def running_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def test_the_users_own_ansible_cfg_counts_but_not_against_host_keys(
    node: PlainNode, inventory: Callable[..., Path], playbook: Callable[[str], Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = "[defaults]\nforks = 7\nhost_key_checking = False\n[connection]\npipelining=no\n"
    (tmp_path / "ansible.cfg").write_text(settings)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)  # it would win over the folder's
    monkeypatch.chdir(tmp_path)
    book = playbook(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n"
        "        msg: \"{{ lookup('config', 'DEFAULT_FORKS') }} {{ lookup('config', 'HOST_KEY_CHECKING') }}"
        " {{ lookup('config', 'ANSIBLE_PIPELINING') }} {{ lookup('config', 'DEFAULT_GATHERING') }}\"\n"
    )
    result = Runner(inventory([node]), launcher=False).play(book, extra_vars={})
    assert result.results[0].res["msg"] == "7 True False explicit"


def test_an_inventory_is_read_once_and_again_when_it_changes(
    node: PlainNode, inventory: Callable[..., Path], tmp_path: Path
) -> None:
    path = inventory([node], groups={"gpu": ["n1"]})
    first = Runner(path, launcher=False).inventory()
    assert first.groups["gpu"] == ("n1",)
    assert first.node("n1").vars["ansible_port"] == node.port
    began = time.process_time()
    assert Runner(path, launcher=False).inventory() == first
    assert time.process_time() - began < 0.1
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "gpu.yml").write_text("stoker_keep: true\n")
    assert Runner(path, launcher=False).inventory().node("n1").vars["stoker_keep"] is True


def test_an_inventory_script_is_asked_each_time(tmp_path: Path) -> None:
    script = tmp_path / "inv.py"
    script.write_text(
        f"#!{sys.executable}\nimport json, pathlib\np = pathlib.Path({str(tmp_path / 'n')!r})\n"
        "n = int(p.read_text()) if p.exists() else 0\np.write_text(str(n + 1))\n"
        "print(json.dumps({'all': {'hosts': [f'h{n}']}, '_meta': {'hostvars': {}}}))\n"
    )
    script.chmod(0o755)
    names = [Runner(script, launcher=False).inventory().nodes[0].name for _ in range(2)]
    assert names == ["h0", "h1"]


def test_a_broken_inventory_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text("all:\n  hosts: [\n")
    with pytest.raises(StokerError, match=r"broken\.yml:\d+: Ansible cannot read this inventory: .*YAML") as caught:
        Runner(path, launcher=False).inventory()
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_killed_run_is_removed_by_the_next_one(
    runner: Runner, playbook: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, living = tmp_path / f"stoker-run-{dead.pid}-abc", tmp_path / f"stoker-run-{os.getpid()}-abc"
    left.mkdir()
    living.mkdir()
    runner.play(playbook("- hosts: all\n  gather_facts: false\n  tasks: []\n"), extra_vars={})
    assert [folder.name for folder in tmp_path.glob("stoker-run-*")] == [living.name]
