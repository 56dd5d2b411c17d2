# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every node has in common: it is reached by ssh, with a key of its own that clients check."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .bed import Bed, MissingError, default_python, need_tools
from .gpus import FakeGpus

MARKER = "STOKER_TESTBED_NODE"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


class SshNode:
    """A node as its clients see it. ``folder`` holds everything of it on this machine, ``home`` is its user's ``~``
    as the node sees it, ``state_dir`` Stoker's folder in it, ``gpus`` its fake GPUs (or None)."""

    user: str
    address: str
    port: int
    home: Path

    def __init__(
        self,
        bed: Bed,
        name: str,
        *,
        gpus: FakeGpus | int | None = None,
        python: str | None = None,
        gpu_python: str | None = None,
        env: Mapping[str, str] | None = None,
        host_vars: Mapping[str, Any] | None = None,
    ) -> None:
        need_tools("sshd", "ssh", "ssh-keygen")
        self.bed = bed
        self.name = name
        self.folder = bed.new_folder("n")
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.log_file = self.folder / "sshd.log"
        self.known_hosts = self.folder / "known_hosts"
        self.python = python or default_python()
        self.host_vars = dict(host_vars or {})
        self.env = {MARKER: str(self.folder), "PATH": f"{self.bin}:{SYSTEM_PATH}", **(env or {})}
        self.gpus: FakeGpus | None = None
        shutil.copy(f"{bed.key}.pub", self.folder / "authorized_keys")
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / "host_key")]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        if gpus:
            self.gpus = FakeGpus.h100(gpus) if isinstance(gpus, int) else gpus
            self.gpus.install(self.bin, gpu_python or default_python())
        bed.adopt(self)

    @property
    def state_dir(self) -> Path:
        """Stoker's folder on the node, as the node sees it."""
        return self.home / ".stoker"

    def log(self) -> str:
        """What sshd wrote so far (LogLevel VERBOSE)."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def authentications(self) -> int:
        """How many logins sshd accepted so far. Sessions over one ControlMaster count once."""
        return self.log().count("Accepted publickey")

    def ssh_options(self) -> list[str]:
        """Options for ssh that make it use this bed's key and the node's real host key, and nothing of the user's."""
        return [
            *("-F", "none", "-i", str(self.bed.key)),
            *(word for option in self._client_options() for word in ("-o", option)),
        ]

    def ssh_command(self, *more_options: str, user: str | None = None) -> list[str]:
        """The start of a command line that runs its next words on the node, over a connection of its own. More
        options win over the node's."""
        address = f"{user or self.user}@{self.address}"
        return ["ssh", *more_options, *self.ssh_options(), "-o", "ControlPath=none", "-p", str(self.port), address]

    def ssh(
        self, command: str, *, stdin: str | None = None, timeout_s: float = 150.0, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the node over a new connection. The caller looks at ``returncode``; 255 is ssh's."""
        # Without input, /dev/null: ssh would otherwise read the test runner's own.
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        argv = [*self.ssh_command(user=user), command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, **feed)

    def inventory_entry(self) -> dict[str, Any]:
        """The host variables by which Ansible reaches the node; ``host_vars`` given at creation win."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.bed.key),
            "ansible_ssh_common_args": "-F none " + " ".join(f"-o {option}" for option in self._client_options()),
            "ansible_python_interpreter": self.python,
            "stoker_state_dir": str(self.state_dir),
            **self.host_vars,
        }

    def stop(self) -> None:
        """End everything that runs on the node; its files stay."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop, and remove the node's folder."""
        self.stop()
        shutil.rmtree(self.folder)
        self.bed.release(self)

    def write_known_hosts(self) -> None:
        """Write down the node's real host key for its present address and port."""
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        where = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        self.known_hosts.write_text(f"{where} {kind} {key}\n")

    def sshd_config(self, host_key: str, authorized_keys: str, *, pam: bool = False) -> str:
        """The text of a configuration for sshd with these paths as the node sees them."""
        session_env = " ".join(f'"{name}={value}"' for name, value in self.env.items())
        lines = [
            f"ListenAddress {self.address}:{self.port}",
            f"HostKey {host_key}",
            f"AuthorizedKeysFile {authorized_keys}",
            f"SetEnv {session_env}",
            f"Subsystem sftp {sftp_server()}",
            f"UsePAM {'yes' if pam else 'no'}",
            *("UseDNS no", "StrictModes no", "PidFile none", "LogLevel VERBOSE", "PrintMotd no"),
            *("PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"),
            *("MaxStartups 500", "MaxSessions 500"),
        ]
        return "\n".join(lines) + "\n"

    def greets(self) -> bool:
        """True when sshd answers a new connection with its greeting within 2 seconds."""
        try:
            with socket.create_connection((self.address, self.port), timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _client_options(self) -> list[str]:
        return [
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
        ]


def wait_until(true: Callable[[], bool], what: str, timeout_s: float, every_s: float = 0.01) -> None:
    """Ask until it is true, less often the longer it takes. Raises TimeoutError that names ``what`` was waited for."""
    began = time.monotonic()
    while not true():
        passed = time.monotonic() - began
        if passed > timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(max(every_s, min(passed / 10, 0.5)))


def sshd_program() -> str:
    """The absolute path of sshd, which refuses to run under another. As root, makes the folder it insists on."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise MissingError("sshd not installed (package openssh-server)")
    return found


def sftp_server() -> str:
    """The absolute path of the sftp server beside sshd."""
    for candidate in SFTP_SERVERS:
        if os.path.exists(candidate):
            return candidate
    raise MissingError("sftp-server not installed (package openssh-sftp-server)")
