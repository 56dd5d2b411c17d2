# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The warm launcher: the same result as the plain program, and no process that outlives its reason."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest
from testbed import PlainNode

from stoker.runner import Runner, client
from stoker.runner.environment import ansible_program, launcher_dir, program
from stoker.runner.fingerprint import code_fingerprint

HOSTS = """here ansible_connection=local ansible_python_interpreter={python}
shut ansible_host=127.0.0.1 ansible_port=1
"""
PLAY = """- hosts: here
  gather_facts: false
  vars: {word: none}
  tasks:
    - ansible.builtin.debug: {msg: "{{ word }} {{ lookup('env', 'WORD') }} {{ lookup('file', 'beside.txt') }}"}
    - ansible.builtin.command: sh -c 'umask; ulimit -n; pwd; echo $WORD; cat /proc/self/cgroup'
      register: seen
    - ansible.builtin.debug: {var: seen.stdout_lines}
    - ansible.builtin.debug: {msg: "{{ lookup('config', 'DEFAULT_FORKS') }} {{ lookup('config', 'DEFAULT_TIMEOUT') }}"}
- hosts: "{{ also | default('here') }}"
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "true"
    - ansible.builtin.fail: {msg: no good}
      when: bad is defined
"""


TIMES = re.compile(r'"(start|end|delta)": "[0-9:. -]+"')


class Launched:
    """A plain program at a path of its own, which can be taken away: then only the launcher can have run it."""

    def __init__(self, folder: Path, name: str = "ansible-playbook") -> None:
        self.folder = folder
        self.plain = folder / "bin" / name
        self.plain.parent.mkdir()
        self.give()

    def give(self) -> None:
        """Put the plain program in its place."""
        self.plain.unlink(missing_ok=True)
        self.plain.symlink_to(ansible_program(self.plain.name))

    def take_away(self) -> None:
        """Put one in its place that has the same first line and does nothing but fail."""
        first = ansible_program(self.plain.name).read_text().splitlines()[0]
        self.plain.unlink()
        self.plain.write_text(f"{first}\nraise SystemExit('the plain program was run')\n")
        self.plain.chmod(0o755)

    @property
    def command(self) -> list[str]:
        folder, fingerprint = str(launcher_dir()), code_fingerprint()
        return [sys.executable, "-I", "-S", client.__file__, folder, fingerprint, str(self.plain)]

    @property
    def socket(self) -> Path:
        return launcher_dir() / client.launcher_key(str(self.plain), code_fingerprint())

    def run(self, *args: str) -> tuple[int, str, str]:
        done = subprocess.run([*self.command, *args], capture_output=True, text=True, timeout=180, check=False)
        return done.returncode, done.stdout, done.stderr

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return subprocess.Popen([*self.command, *args], stdin=null, stdout=null, stderr=null, start_new_session=True)

    def warm(self) -> None:
        """Have a launcher, and take the plain program away."""
        self.run("--version")
        wait_for(self.socket.exists, "a launcher")
        self.take_away()

    def pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", found)[0])

    def stop(self) -> None:
        try:
            pid = self.pid()
        except OSError:
            return
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not alive(pid), "the launcher's end")


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(text: str) -> list[int]:
    """Processes with `text` in their command line, other than this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def wait_for(true: Callable[[], bool], what: str, timeout_s: float = 150) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an inventory and a playbook; the environment in which a launcher may be used."""
    (tmp_path / "hosts").write_text(HOSTS.format(python=sys.executable))
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "beside.txt").write_text("beside")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORD", "a word")
    monkeypatch.setenv("STOKER_LAUNCHER_IDLE_S", "30")
    monkeypatch.delenv("STOKER_LAUNCHER", raising=False)
    return tmp_path


@pytest.fixture
def launched(work: Path) -> Iterator[Launched]:
    launched = Launched(work)
    yield launched
    launched.stop()


def sleeper(work: Path, seconds: int) -> str:
    (work / "sleep.yml").write_text(
        f"- hosts: here\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: sleep {seconds}\n"
    )
    return "sleep.yml"


def test_cold_and_warm_runs_are_the_same_to_the_byte(launched: Launched, work: Path) -> None:
    play = ["-i", "hosts", "play.yml"]
    runs = {
        "ok": play,
        "variables": [*play, "-e", "word=hello"],
        "failed": [*play, "-e", "bad=1"],
        "unreachable": [*play, "-e", "also=shut"],
        "verbose": [*play, "-vv"],
        "usage": ["--no-such-option"],
        "missing": ["-i", "hosts", "missing.yml"],
        "check": [*play, "--check", "--diff", "--limit", "here"],
    }
    cold = {name: launched.run(*args) for name, args in runs.items() if name == "ok"}
    wait_for(launched.socket.exists, "a launcher")
    plain = str(launched.plain)
    for name, args in runs.items():
        done = subprocess.run([plain, *args], capture_output=True, text=True, timeout=180, check=False)
        cold[name] = (done.returncode, done.stdout, done.stderr)
    launched.warm()
    warm = {name: launched.run(*args) for name, args in runs.items()}
    assert {name: rc for name, (rc, *_) in warm.items()} == {
        "ok": 0, "variables": 0, "failed": 2, "unreachable": 4, "verbose": 0, "usage": 2, "missing": 1, "check": 0,
    }  # fmt: skip
    assert without_times(warm) == without_times(cold)


def without_times(runs: dict[str, tuple[int, str, str]]) -> dict[str, tuple[int, str, str]]:
    """A command's own start, end and duration differ from run to run; nothing else may."""
    return {name: (rc, TIMES.sub("", out), TIMES.sub("", err)) for name, (rc, out, err) in runs.items()}


def test_a_setting_in_the_folders_ansible_cfg_counts(
    launched: Launched, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)  # it would win over the folder's
    launched.warm()
    first = launched.socket
    assert '"msg": "5 10"' in launched.run("-i", "hosts", "play.yml")[1]
    (work / "ansible.cfg").write_text("[defaults]\nforks = 3\ntimeout = 44\n")
    assert launched.socket != first
    launched.give()
    launched.warm()
    assert '"msg": "3 44"' in launched.run("-i", "hosts", "play.yml")[1]
    (work / "ansible.cfg").unlink()
    assert launched.socket == first


def test_what_a_run_inherits_is_the_callers(launched: Launched, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched.warm()
    old = os.umask(0o027)
    try:
        _rc, out, _err = launched.run("-i", "hosts", "play.yml")
    finally:
        os.umask(old)
    assert "0027" in out
    assert str(work) in out
    first = launched.socket
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert launched.socket != first


def test_many_at_once(launched: Launched) -> None:
    """Twenty callers that find no launcher start one; twenty that find it are all served by it."""
    args = ["-i", "hosts", "play.yml", "-e"]
    with ThreadPoolExecutor(20) as pool:
        versions = list(pool.map(lambda _: launched.run("--version")[0], range(6)))
        assert versions == [0] * 6
        wait_for(launched.socket.exists, "a launcher")
        assert len(running(f"stoker.runner.launcher {launched.socket}")) == 1
        launched.warm()
        results = list(pool.map(lambda n: launched.run(*args, f"word=number{n}x"), range(20)))
    assert [rc for rc, *_ in results] == [0] * 20
    for number, (_rc, out, err) in enumerate(results):
        assert f"number{number}x" in out, err
    wait_for(lambda: children(launched.pid()) == [], "the end of all children")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_child_outlives_its_client(launched: Launched, work: Path, how: int) -> None:
    name = sleeper(work, 43210 + how)
    launched.warm()
    process = launched.start("-i", "hosts", name)
    wait_for(lambda: bool(running(f"sleep {43210 + how}")), "the task's start")
    os.kill(process.pid, how)
    code = process.wait(timeout=180)
    assert code == {signal.SIGKILL: -9, signal.SIGTERM: -15, signal.SIGINT: 99}[how]
    wait_for(lambda: not running(f"sleep {43210 + how}"), "the task's end")
    wait_for(lambda: children(launched.pid()) == [], "the child's end")


def test_a_launcher_that_is_killed_stops_its_run_and_is_replaced(launched: Launched, work: Path) -> None:
    name = sleeper(work, 43333)
    launched.warm()
    process = launched.start("-i", "hosts", name)
    wait_for(lambda: bool(running("sleep 43333")), "the task's start")
    os.kill(launched.pid(), signal.SIGKILL)
    assert process.wait(timeout=180) == 250
    wait_for(lambda: not running("sleep 43333"), "the task's end")
    launched.give()
    assert launched.run("-i", "hosts", "play.yml")[0] == 0
    wait_for(lambda: bool(running(f"stoker.runner.launcher {launched.socket}")), "another launcher")
    launched.stop()


def test_a_launcher_told_to_end_lets_its_run_end_first(launched: Launched, work: Path) -> None:
    name = sleeper(work, 2)
    launched.warm()
    pid, process = launched.pid(), launched.start("-i", "hosts", name)
    wait_for(lambda: bool(running("sleep 2")), "the task's start")
    os.kill(pid, signal.SIGTERM)
    assert process.wait(timeout=180) == 0
    wait_for(lambda: not alive(pid), "the launcher's end")
    assert not launched.socket.exists()


def test_an_idle_launcher_ends(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LAUNCHER_IDLE_S", "3")  # it has to be seen before that
    launched.run("--version")
    wait_for(launched.socket.exists, "a launcher")
    pid = launched.pid()
    wait_for(lambda: not alive(pid), "the launcher's end", timeout_s=180)
    assert not launched.socket.exists()


@pytest.mark.slow
def test_a_launcher_of_other_code_ends(launched: Launched, tmp_path: Path) -> None:
    path = str(launcher_dir() / "old")
    command = [sys.executable, "-P", "-m", "stoker.runner.launcher", path, str(launched.plain), "of-other-code"]
    process = subprocess.Popen(command)
    wait_for(lambda: os.path.exists(path), "a launcher")
    assert process.wait(timeout=120) == 0
    assert not os.path.exists(path)


def test_the_switch_turns_it_off(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LAUNCHER", "off")
    assert launched.run("--version")[0] == 0
    assert not launched.socket.exists()
    assert not running(f"stoker.runner.launcher {launched.socket}")
    assert program("ansible-playbook", launcher=True) == [str(ansible_program("ansible-playbook"))]


def test_a_launcher_that_does_not_answer_is_done_without(launched: Launched) -> None:
    launched.run("--version")
    wait_for(launched.socket.exists, "a launcher")
    pid = launched.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert launched.run("-i", "hosts", "play.yml")[0] == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: children(pid) == [], "the launcher to find its client gone")


def test_a_socket_file_without_a_launcher_is_replaced(launched: Launched) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(launched.socket))
    launched.run("--version")

    def answered() -> bool:
        try:
            return launched.pid() > 0
        except OSError:
            return False

    wait_for(answered, "a launcher")


@pytest.mark.parametrize("warm", [False, True], ids=["plain", "warm"])
def test_a_password_is_asked_for_on_the_terminal(launched: Launched, work: Path, warm: bool) -> None:
    secret = work / "secret.yml"
    secret.write_text("word: from the vault\n")
    (work / "pass").write_text("open sesame")
    vault = [str(ansible_program("ansible-vault")), "encrypt", "--vault-password-file", "pass", "secret.yml"]
    subprocess.run(vault, check=True, capture_output=True)
    args = ["-i", "hosts", "play.yml", "--ask-vault-pass", "-e", "@secret.yml"]
    plain = [str(launched.plain)]
    if warm:
        launched.warm()
    command = [*(launched.command if warm else plain), *args]
    terminal = pexpect.spawn(shlex.join(command), timeout=120, encoding="utf-8")
    terminal.expect("Vault password: ")
    terminal.sendline("open sesame")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert "from the vault" in terminal.before
    assert "open sesame" not in terminal.before
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("warm", [False, True], ids=["plain", "warm"])
def test_control_c_on_the_terminal_interrupts(launched: Launched, work: Path, warm: bool) -> None:
    name = sleeper(work, 43555 + warm)
    plain = [str(launched.plain)]
    if warm:
        launched.warm()
    command = [*(launched.command if warm else plain), "-i", "hosts", name]
    terminal = pexpect.spawn(shlex.join(command), timeout=120, encoding="utf-8")
    wait_for(lambda: bool(running(f"sleep {43555 + warm}")), "the task's start")
    terminal.sendintr()
    terminal.expect("User interrupted execution")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 99
    wait_for(lambda: not running(f"sleep {43555 + warm}"), "the task's end")


def test_a_run_over_ssh_through_ansible_runner(work: Path, node: PlainNode, inventory: Callable[..., Path]) -> None:
    book = work / "over_ssh.yml"
    book.write_text("- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: echo {{ x }}\n")
    runner = Runner(inventory([node]), launcher=True)
    before = set(launcher_dir().glob("*"))
    first = runner.play(book, extra_vars={"x": "one"})
    wait_for(lambda: any(p.is_socket() for p in set(launcher_dir().glob("*")) - before), "a launcher")
    second = runner.play(book, extra_vars={"x": "two"})
    assert [r.results[0].res["stdout"].strip() for r in (first, second)] == ["one", "two"]
    assert node.authentications() == 1
    for path in set(launcher_dir().glob("*")) - before:
        for pid in running(f"stoker.runner.launcher {path} "):
            os.kill(pid, signal.SIGTERM)
