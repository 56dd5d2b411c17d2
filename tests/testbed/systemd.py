# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with systemd as PID 1: systemd-nspawn over an overlay of ``/``. Root only.

This machine's own units are out of sight; a node runs systemd, journald, logind, D-Bus and sshd. Besides root there is
the user ``stoker`` (uid 1900), who lingers: his own systemd instance runs without a login.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bed import Bed, need_tools
from .isolated import make_upper
from .leftovers import remove_cgroup
from .network import Network
from .processes import Process, descendants, kill_until_gone, send_signal
from .ssh_node import SYSTEM_PATH, SshNode, wait_until

USER, UID = "stoker", 1900

CGROUPS = Path("/sys/fs/cgroup/systemd")

# "$@" is: folder, host name, network namespace, cgroup (systemd-nspawn puts the node below the one that it is in). The
# cgroup v2 mount of a hybrid machine has no controllers, and systemd-nspawn would take the machine for a mixed one;
# away with it in this mount namespace only.
BOOT = """
set -e
folder=$1 name=$2 network=$3 cgroup=$4
mkdir -p "$cgroup"
echo $$ > "$cgroup/cgroup.procs"
mount --make-rprivate /
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
mount -t overlay overlay -o lowerdir=/,upperdir="$folder/upper",workdir="$folder/work" "$folder/root"
exec systemd-nspawn --quiet --boot --directory="$folder/root" --machine="$name" --register=no --keep-unit \
    --network-namespace-path="$network" --link-journal=no --console=pipe --bind="$folder/bin" \
    --bind="$folder/log:/var/log/stoker-sshd"
"""

LINKS = {
    "etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
    "etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/system/ssh.service",
    **{
        f"etc/systemd/system/{unit}": "/dev/null"
        for unit in (
            *("systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket"),
            *("systemd-udev-trigger.service", "systemd-firstboot.service", "getty.target", "systemd-resolved.service"),
            *("console-getty.service", "systemd-networkd.service", "systemd-timesyncd.service"),
        )
    },
}

# On cgroup v1 nobody tells systemd in a container that a cgroup is empty: without this a shutdown takes up to 120 s.
STOP_SOON = {
    "etc/systemd/system.conf.d": "[Manager]\nDefaultTimeoutStopSec=3s\n",
    "etc/systemd/user.conf.d": "[Manager]\nDefaultTimeoutStopSec=3s\n",
    "etc/systemd/system/user@.service.d": "[Service]\nTimeoutStopSec=3s\n",
}


class SystemdNode(SshNode):
    """One node. ``user``: "root", or "stoker" to log in as the lingering user, whose Python is the system's."""

    def __init__(self, bed: Bed, network: Network, name: str, *, user: str = "root", **options: Any) -> None:
        need_tools("systemd-nspawn")
        if not os.path.exists("/lib/systemd/systemd"):
            need_tools("systemd")
        system_python = {"python": "/usr/bin/python3"} if user != "root" else {}  # root's pyenv is closed to others
        super().__init__(bed, name, **{"gpu_python": "/usr/bin/python3", **system_python, **options})
        self.user, self.port = user, 22
        self.home = Path("/srv/root" if user == "root" else f"/home/{USER}")
        self.link = network.connect()
        self.address = self.link.address
        self._shell: subprocess.Popen[bytes] | None = None
        self._init: Process | None = None
        self._cgroup = CGROUPS / f"{bed.folder.name}-{self.folder.name}"
        (self.folder / "log").mkdir()
        self.log_file = self.folder / "log/sshd.log"
        self.write_known_hosts()
        make_upper(self)
        make_systemd_upper(self)

    def start(self) -> None:
        """Boot the node and wait until sshd answers and systemd has finished its start."""
        self.begin_start()
        self.wait_started()

    def begin_start(self) -> None:
        """Boot without waiting: many nodes start at once."""
        if self._shell is not None:
            return
        boot = ["bash", "-c", BOOT, "boot", str(self.folder), self.name, self.link.namespace_path, str(self._cgroup)]
        with (self.folder / "console.log").open("ab") as console:
            self._shell = subprocess.Popen(
                ["unshare", "--mount", *boot],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": SYSTEM_PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"},
                cwd="/",
                start_new_session=True,
            )

    def wait_started(self, timeout_s: float = 150.0) -> None:
        """Wait until systemd says that its start is over. Raises RuntimeError with the console when it died."""

        def up_or_dead() -> bool:
            assert self._shell is not None
            return self._shell.poll() is not None or (self._init_running() and self.greets())

        wait_until(up_or_dead, f"boot of {self.name}", timeout_s, every_s=0.05)
        assert self._shell is not None
        if self._shell.poll() is not None:
            raise RuntimeError(f"{self.name} did not boot: {self.console()}")
        self.ssh("systemctl is-system-running --wait", timeout_s=timeout_s)

    def console(self) -> str:
        """What the boots wrote to the console so far."""
        return (self.folder / "console.log").read_text(errors="replace")

    def crash(self) -> None:
        """Power off without warning: PID 1 of the node is killed, and with it everything. Its disk stays."""
        if self._shell is None:
            return
        # Killing systemd-nspawn instead would leave the node running.
        if self._init_running() and self._init is not None:
            send_signal(self._init, 9)
        else:
            kill_until_gone(lambda: descendants([self._pid()]).values())
        self._wait_off()

    def reboot(self) -> None:
        """An orderly ``systemctl reboot``: units are stopped, then the node starts again."""
        self._init_running()
        self.ssh("systemctl reboot", user="root")
        self._wait_off()
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
        remove_cgroup(self._cgroup)

    def processes(self) -> list[Process]:
        """Every process of the node, PID 1 among them; pids as this machine sees them."""
        if not self._init_running() or self._init is None:
            return []
        return [self._init, *descendants([self._init.pid]).values()]

    def _pid(self) -> int:
        assert self._shell is not None
        return self._shell.pid

    def _init_running(self) -> bool:
        """True once the node's PID 1 exists; remembers it."""
        if self._init is None or not self._init.alive():
            below = descendants([self._pid()]).values() if self._shell else []
            self._init = next((process for process in below if is_pid_1(process.pid)), None)
        return self._init is not None

    def _wait_off(self, timeout_s: float = 150.0) -> None:
        assert self._shell is not None
        self._shell.wait(timeout_s)
        self._shell = self._init = None


def make_systemd_upper(node: SshNode) -> None:
    """Add to the node's layer what systemd needs, and hide this machine's own units and services."""
    upper = node.folder / "upper"
    for place in ("etc/systemd/system", "etc/systemd/user", "etc/init.d", "etc/ssh/sshd_config.d"):
        (upper / place).mkdir(parents=True)
        os.setxattr(upper / place, "trusted.overlay.opaque", b"y")
    for link, target in LINKS.items():
        (upper / link).parent.mkdir(parents=True, exist_ok=True)
        (upper / link).symlink_to(target)
    (upper / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    for place, text in STOP_SOON.items():
        (upper / place).mkdir()
        (upper / place / "stop.conf").write_text(text)
    (upper / "etc/default").mkdir()
    (upper / "etc/default/ssh").write_text("SSHD_OPTS=-E/var/log/stoker-sshd/sshd.log\n")
    config = node.sshd_config("/etc/stoker_host_key", "/etc/stoker_authorized_keys", pam=True)
    (upper / "etc/ssh/sshd_config").write_text(config)
    add_user(upper)


def add_user(upper: Path) -> None:
    """Add the lingering user to the layer's own copies of passwd, group and shadow."""
    home = upper / "home" / USER
    home.mkdir(parents=True, mode=0o700)
    os.chown(home, UID, UID)
    with (upper / "etc/passwd").open("a") as passwd:
        passwd.write(f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash\n")
    (upper / "etc/group").write_text(f"{Path('/etc/group').read_text()}{USER}:x:{UID}:\n")
    (upper / "etc/shadow").write_text(f"{Path('/etc/shadow').read_text()}{USER}:*:19000:0:99999:7:::\n")
    (upper / "etc/shadow").chmod(0o600)
    linger = upper / "var/lib/systemd/linger"
    linger.mkdir(parents=True)
    (linger / USER).touch()


def is_pid_1(pid: int) -> bool:
    """True for a process that is number 1 of a pid namespace of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"


def start_systemd(nodes: Sequence[SystemdNode]) -> None:
    """Boot many nodes at once and wait until each is up."""
    for node in nodes:
        node.begin_start()
    for node in nodes:
        node.wait_started()
