# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain nodes: a real sshd each, on a free port of 127.0.0.1, with a home, a state folder and a PATH of their own.

No root needed. All nodes are the user that runs the tests; what keeps them apart is ``HOME`` and the marker
``STOKER_TESTBED_NODE`` that sshd sets in every session.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bed import Bed, Missing, default_python, need_tools
from .gpus import FakeGpus
from .processes import (
    Process,
    all_processes,
    descendants,
    environment,
    kill_until_gone,
    working_directory,
)

MARKER = "STOKER_TESTBED_NODE"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")

# Real nodes start a session in the home folder, but sshd goes to the one of passwd. Once per session only: a job's
# own bash reads this file too, and must stay in its working directory.
BASHRC = 'if [ -z "$STOKER_TESTBED_SESSION" ]; then export STOKER_TESTBED_SESSION=1; cd "$HOME" || exit 1; fi\n'


class PlainNode:
    """One node. ``folder`` holds everything of it; ``home`` is its ``~``; ``gpus`` its fake GPUs (or None)."""

    def __init__(
        self,
        bed: Bed,
        name: str,
        *,
        gpus: FakeGpus | int | None = None,
        python: str | None = None,
        env: Mapping[str, str] | None = None,
        host_vars: Mapping[str, Any] | None = None,
    ) -> None:
        need_tools("sshd", "ssh", "ssh-keygen")
        self.bed = bed
        self.name = name
        self.folder = bed.new_folder("n")
        self.home = self.folder / "home"
        self.state_dir = self.home / ".stoker"
        self.log_file = self.folder / "sshd.log"
        self.known_hosts = self.folder / "known_hosts"
        self.python = python or default_python()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.host_vars = dict(host_vars or {})
        self.port = free_port()
        self.gpus: FakeGpus | None = None
        self._sshd: subprocess.Popen[bytes] | None = None
        self._make_folder()
        self.env = {MARKER: str(self.folder), "HOME": str(self.home), "PATH": f"{self.folder / 'bin'}:{SYSTEM_PATH}"}
        self.env.update(env or {})
        if gpus:
            self.gpus = FakeGpus.h100(gpus) if isinstance(gpus, int) else gpus
            self.gpus.install(self.folder / "bin", default_python())
        bed.adopt(self)

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start sshd and wait until it answers. A node that is up stays as it is."""
        self.begin_start()
        self.wait_started()

    def begin_start(self) -> None:
        """Start sshd without waiting (``wait_started`` does): many nodes start at once."""
        if self._sshd is not None:
            return
        self._write_config()
        self._sshd = subprocess.Popen(
            [sshd_program(), "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": SYSTEM_PATH},
            cwd="/",
            start_new_session=True,
        )

    def wait_started(self, timeout_s: float = 10.0) -> None:
        """Wait until sshd greets. Raises RuntimeError with sshd's own log when it does not."""
        deadline = time.monotonic() + timeout_s
        while not self._greets():
            assert self._sshd is not None
            if self._sshd.poll() is not None and "already in use" in self.log():
                self._sshd = None  # someone took the port between the choice and the bind
                self.port = free_port()
                self.begin_start()
            elif self._sshd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd of {self.name} does not answer on port {self.port}: {self.log()}")
            time.sleep(0.005)

    def down(self) -> None:
        """Make the node unreachable: the listener and all connections end, jobs live on. ``start`` brings it back."""
        if self._sshd is None:
            return
        self._sshd.send_signal(signal.SIGSTOP)  # no new connection while the present ones are cut
        self.cut()
        self._sshd.kill()
        self._sshd.wait()
        self._sshd = None

    def cut(self) -> int:
        """Drop every present connection, as a network fault does; sshd goes on listening. Returns how many."""
        cut = len(self._connections())
        kill_until_gone(self._connections)
        return cut

    def restart(self) -> None:
        """Restart sshd on the same port with the same key. Jobs live on."""
        self.down()
        self.start()

    def stop(self) -> None:
        """Take the node down and kill everything that ran on it, by evidence in /proc. Its files stay."""
        self.down()
        kill_until_gone(self.processes)

    def close(self) -> None:
        """Stop, and remove the node's folder."""
        self.stop()
        shutil.rmtree(self.folder)
        self.bed.release(self)

    # -- looking ---------------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """What runs on the node: every process with the node's marker or HOME in its environment or its working
        directory inside the node's folder, and all descendants of those and of sshd; without sshd itself."""
        table = all_processes()
        listener = {self._sshd.pid} if self._sshd else set()
        marks = {f"{MARKER}={self.folder}".encode(), f"HOME={self.home}".encode()}
        marked = {pid for pid in table if self._inside(working_directory(pid)) or marks & set(environment(pid))}
        marked -= ancestors(os.getpid(), table)
        found = {pid: table[pid] for pid in marked} | descendants(marked | listener, table)
        daemons = {pid for pid in descendants(listener, table) if is_sshd(table[pid])}
        return [process for pid, process in sorted(found.items()) if pid not in listener | daemons]

    def log(self) -> str:
        """What sshd wrote so far (LogLevel VERBOSE)."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def authentications(self) -> int:
        """How many logins sshd accepted so far. Sessions over one ControlMaster count once."""
        return self.log().count("Accepted publickey")

    # -- reaching it -----------------------------------------------------------------------------------------------

    def ssh_options(self) -> list[str]:
        """Options for ssh that make it use this bed's key and the node's real host key, and nothing of the user's."""
        return [
            *("-F", "none", "-i", str(self.bed.key)),
            *(word for option in self._client_options() for word in ("-o", option)),
        ]

    def ssh(
        self, command: str, *, stdin: str | None = None, timeout_s: float = 20.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the node over a new connection. The caller looks at ``returncode``; 255 is ssh's."""
        argv = ["ssh", *self.ssh_options(), "-o", "ControlPath=none", "-p", str(self.port)]
        # Without input, /dev/null: ssh would otherwise read the test runner's own.
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            [*argv, f"{self.user}@127.0.0.1", command], capture_output=True, text=True, timeout=timeout_s, **feed
        )

    def inventory_entry(self) -> dict[str, Any]:
        """The host variables by which Ansible reaches the node; ``host_vars`` given at creation win."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.bed.key),
            "ansible_ssh_common_args": "-F none " + " ".join(f"-o {option}" for option in self._client_options()),
            "ansible_python_interpreter": self.python,
            "stoker_state_dir": str(self.state_dir),
            **self.host_vars,
        }

    # -- inner -----------------------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        for folder in (self.home, self.folder / "bin"):
            folder.mkdir(mode=0o700)
        (self.home / ".bashrc").write_text(BASHRC)
        shutil.copy(f"{self.bed.key}.pub", self.folder / "authorized_keys")
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.folder / "host_key")]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def _write_config(self) -> None:
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        session_env = " ".join(f'"{name}={value}"' for name, value in self.env.items())
        lines = [
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.folder / 'host_key'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"SetEnv {session_env}",
            f"Subsystem sftp {sftp_server()}",
            *("UsePAM no", "UseDNS no", "StrictModes no", "PidFile none", "LogLevel VERBOSE", "PrintMotd no"),
            *("PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"),
            *("MaxStartups 500", "MaxSessions 500"),
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def _client_options(self) -> list[str]:
        return [
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
        ]

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _connections(self) -> list[Process]:
        """The sshd processes that serve a connection: descendants of the listener that are sshd themselves."""
        if self._sshd is None:
            return []
        return [process for process in descendants([self._sshd.pid]).values() if is_sshd(process)]

    def _inside(self, folder: str) -> bool:
        return folder == str(self.folder) or folder.startswith(f"{self.folder}/")


def start_all(nodes: Sequence[PlainNode]) -> None:
    """Start many nodes at once and wait until each answers."""
    for node in nodes:
        node.begin_start()
    for node in nodes:
        node.wait_started()


def is_sshd(process: Process) -> bool:
    """True for OpenSSH's server processes; newer versions name the parts sshd-session and sshd-auth."""
    return process.name in ("sshd", "sshd-session", "sshd-auth")


def ancestors(pid: int, table: Mapping[int, Process]) -> set[int]:
    """The process and its parents up to PID 1: a test that stands inside a node's folder must not kill itself."""
    seen = set[int]()
    while pid in table and pid not in seen:
        seen.add(pid)
        pid = table[pid].ppid
    return seen


def sshd_program() -> str:
    """The absolute path of sshd, which refuses to run under another. As root, makes the folder it insists on."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Missing("sshd not installed (package openssh-server)")
    return found


def sftp_server() -> str:
    """The absolute path of the sftp server beside sshd."""
    for candidate in SFTP_SERVERS:
        if os.path.exists(candidate):
            return candidate
    raise Missing("sftp-server not installed (package openssh-sftp-server)")


def free_port() -> int:
    """A free port of 127.0.0.1 below the range that the kernel hands to clients, so that a restart finds it free."""
    while True:
        port = random.randint(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


__all__ = ["MARKER", "PlainNode", "free_port", "start_all"]
