# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Isolated nodes: own network, process, mount and host name spaces over an overlay of ``/``, sshd as PID 1.

They are like a rented container: no systemd, root only, own process numbers. Everything is mounted inside the node's
own mount namespace, so a crash leaves nothing on this machine. Root only.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bed import Bed, run
from .network import Network
from .processes import Process, all_processes, kill_until_gone
from .ssh_node import SYSTEM_PATH, SshNode, sshd_program, wait_until

# "$@" is: folder, host name, what runs as PID 1.
BOOT = """
set -e
folder=$1 name=$2; shift 2
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir="$folder/upper",workdir="$folder/work" "$folder/root"
cd "$folder/root"
hostname "$name"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
for place in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
mkdir -p run/sshd ".$folder/bin"
chmod 755 run run/sshd
mount --bind "$folder/bin" ".$folder/bin"
if [ -e "$folder/boot_id" ]; then mount --bind "$folder/boot_id" proc/sys/kernel/random/boot_id; fi
pivot_root . mnt
cd /
umount -l /mnt
exec "$@"
"""


class IsolatedNode(SshNode):
    """One node; root's home is ``/srv/root`` (empty at first). Keywords as for SshNode, and ``own_boot_id``: False
    leaves it the kernel's, as in containers, so that only PID 1's start time tells of a reboot."""

    def __init__(self, bed: Bed, network: Network, name: str, *, own_boot_id: bool = True, **options: Any) -> None:
        super().__init__(bed, name, **options)
        self.user, self.home, self.port = "root", Path("/srv/root"), 22
        self.own_boot_id = own_boot_id
        self.link = network.connect()
        self.address = self.link.address
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid_namespace = ""
        self.write_known_hosts()
        make_upper(self)
        (self.folder / "upper/etc/stoker_sshd_config").write_text(
            self.sshd_config("/etc/stoker_host_key", "/etc/stoker_authorized_keys")
        )

    def start(self) -> None:
        """Boot the node and wait until sshd answers."""
        self.begin_start()
        self.wait_started()

    def begin_start(self) -> None:
        """Boot without waiting: many nodes start at once."""
        if self._unshare is not None:
            return
        if self.own_boot_id:
            (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        spaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child"]
        boot = ["bash", "-c", BOOT, "boot", str(self.folder), self.name]
        sshd = [sshd_program(), "-D", "-e", "-f", "/etc/stoker_sshd_config"]
        with self.log_file.open("ab") as log:
            self._unshare = subprocess.Popen(
                ["nsenter", f"--net={self.link.namespace_path}", "unshare", *spaces, *boot, *sshd],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": SYSTEM_PATH},
                cwd="/",
                start_new_session=True,
            )

    def wait_started(self, timeout_s: float = 150.0) -> None:
        """Wait until sshd greets. Raises RuntimeError with the node's own words when the boot failed."""

        def up_or_dead() -> bool:
            return self.greets() or self._unshare is None or self._unshare.poll() is not None

        wait_until(up_or_dead, f"boot of {self.name}", timeout_s)
        assert self._unshare is not None
        if self._unshare.poll() is not None:
            raise RuntimeError(f"{self.name} did not boot: {self.log()}")
        self._pid_namespace = os.readlink(f"/proc/{self._unshare.pid}/ns/pid_for_children")

    def crash(self) -> None:
        """Power off without warning: every process of the node ends at once. Its disk stays, /tmp and /run do not."""
        if self._unshare is None:
            return
        self._unshare.kill()
        self._unshare.wait()
        kill_until_gone(self.processes)
        self._unshare = None

    def reboot(self) -> None:
        """Crash, and start again: PID 1 has another start time, the boot id is new (unless it is the kernel's)."""
        self.crash()
        self.start()

    def partition(self) -> None:
        """Pull the network cable: packets are lost both ways, the node lives on."""
        self.link.pull()

    def heal(self) -> None:
        """Put the cable back."""
        self.link.plug()

    def stop(self) -> None:
        """Same as a crash."""
        self.crash()

    def close(self) -> None:
        """Crash, and remove the node's files and its network."""
        super().close()
        self.link.close()

    def processes(self) -> list[Process]:
        """Every process of the node (by its pid namespace), PID 1 among them; pids as this machine sees them."""
        if not self._pid_namespace:
            return []  # it never booted, and what has just ended has no namespace either
        return [process for process in all_processes().values() if pid_namespace(process.pid) == self._pid_namespace]


def make_upper(node: SshNode) -> None:
    """Prepare the node's own layer: keys, configuration, a hosts file, and an empty home for root. Root's real home
    stays in sight, since Python may live there, but nobody logs in to it."""
    upper = node.folder / "upper"
    for folder in (upper / "etc", upper / "srv/root", node.folder / "work", node.folder / "root"):
        folder.mkdir(parents=True)
    (upper / "srv/root").chmod(0o700)
    (upper / "tmp").mkdir()
    (upper / "tmp").chmod(0o1777)
    run(["cp", str(node.folder / "host_key"), str(upper / "etc/stoker_host_key")])
    run(["cp", str(node.folder / "authorized_keys"), str(upper / "etc/stoker_authorized_keys")])
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    users = [[*user[:5], "/srv/root", "/bin/bash"] if user[0] == "root" else user for user in users]
    (upper / "etc/passwd").write_text("".join(":".join(user) + "\n" for user in users))
    (upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n{node.address} {node.name}\n")
    (upper / "etc/hostname").write_text(f"{node.name}\n")
    (upper / "etc/resolv.conf").write_text("")


def pid_namespace(pid: int) -> str:
    """The name of the process's pid namespace; empty when it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def start_isolated(nodes: Sequence[IsolatedNode]) -> None:
    """Boot many nodes at once and wait until each answers."""
    for node in nodes:
        node.begin_start()
    for node in nodes:
        node.wait_started()
