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
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bed import Bed
from .processes import Process, all_processes, descendants, environment, kill_until_gone, working_directory
from .ssh_node import MARKER, SYSTEM_PATH, SshNode, sshd_program

# Real nodes start a session in the home folder, but sshd goes to the one of passwd. Once per session only: a job's
# own bash reads this file too, and must stay in its working directory.
BASHRC = 'if [ -z "$STOKER_TESTBED_SESSION" ]; then export STOKER_TESTBED_SESSION=1; cd "$HOME" || exit 1; fi\n'


class PlainNode(SshNode):
    """One node. Keywords as for SshNode: ``gpus`` (a number of H100, or a FakeGpus), ``python`` (interpreter),
    ``env`` (more environment of its sessions), ``host_vars`` (more host variables for the inventory)."""

    def __init__(self, bed: Bed, name: str, **options: Any) -> None:
        super().__init__(bed, name, **options)
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.address, self.port = "127.0.0.1", free_port()
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700)
        (self.home / ".bashrc").write_text(BASHRC)
        self.env = {"HOME": str(self.home), **self.env}
        self._sshd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start sshd and wait until it answers. A node that is up stays as it is."""
        self.begin_start()
        self.wait_started()

    def begin_start(self) -> None:
        """Start sshd without waiting (``wait_started`` does): many nodes start at once."""
        if self._sshd is not None:
            return
        self.write_known_hosts()
        config = self.folder / "sshd_config"
        config.write_text(self.sshd_config(str(self.folder / "host_key"), str(self.folder / "authorized_keys")))
        self._sshd = subprocess.Popen(
            self.server_command(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": SYSTEM_PATH},
            cwd="/",
            start_new_session=True,
        )

    def server_command(self, config: Path) -> list[str]:
        """The words that start the node's sshd, which must become it."""
        return [sshd_program(), "-D", "-f", str(config), "-E", str(self.log_file)]

    def wait_started(self, timeout_s: float = 150.0) -> None:
        """Wait until sshd greets. Raises RuntimeError with sshd's own log when it does not."""
        deadline = time.monotonic() + timeout_s
        while not self.greets():
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

    def processes(self) -> list[Process]:
        """What runs on the node, without sshd itself: every process with the node's marker or HOME in its environment
        or its working directory inside the node's folder, and all descendants of those and of sshd."""
        table = all_processes()
        listener = {self._sshd.pid} if self._sshd else set()
        marks = {f"{MARKER}={self.folder}".encode(), f"HOME={self.home}".encode()}
        marked = {pid for pid in table if self._inside(working_directory(pid)) or marks & set(environment(pid))}
        marked -= ancestors(os.getpid(), table)
        found = {pid: table[pid] for pid in marked} | descendants(marked | listener, table)
        daemons = {pid for pid in descendants(listener, table) if is_sshd(table[pid])}
        return [process for pid, process in sorted(found.items()) if pid not in listener | daemons]

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
