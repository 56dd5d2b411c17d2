# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Podman on an isolated node: containers, images and networks of the node's own, gone with it."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .bed import need_tools
from .isolated import IsolatedNode

STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/tmp/containers/storage"\n'
CONTAINERS = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""
# What a real driver's generator writes, with /dev/null in the place of the driver's devices.
GPUS = """
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: all
  containerEdits: &edits
    env: [NVIDIA_VISIBLE_DEVICES=void]
    deviceNodes: [{path: /dev/nvidia0, hostPath: /dev/null, type: c, major: 1, minor: 3}]
- name: "0"
  containerEdits: *edits
"""
APPLETS = (
    "sh",
    "sleep",
    "cat",
    "httpd",
    "wget",
    "touch",
    "rm",
    "ls",
    "env",
    "pwd",
    "true",
    "false",
    "id",
    "kill",
    "ps",
)
# A node's /sys has no control groups: mount those that this kernel has, as the machine around it does.
CGROUPS = """
set -e
cd /sys/fs/cgroup
if grep -qs cgroup2 /proc/1/mountinfo; then exit 0; fi
if [ "$(cut -d: -f2 /proc/self/cgroup | tr -d '\\n')" = "" ]; then mount -t cgroup2 none .; exit 0; fi
mount -t tmpfs -o mode=755 tmpfs .
cd /sys/fs/cgroup
cut -d: -f2 /proc/self/cgroup | grep -v -e ^name= -e '^$' | while read -r names; do
    mkdir "$names"; mount -t cgroup -o "$names" cgroup "$names"
done
"""


class PodmanEngine:
    """The engine of a node. ``node`` runs; what is made here ends and goes with it."""

    def __init__(self, node: IsolatedNode) -> None:
        need_tools("podman", "crun", "busybox")
        self.node = node
        self.set_up()

    def set_up(self) -> None:
        """Again after a reboot: /tmp and /run start empty."""
        self.shell(CGROUPS)
        # A client of this machine, whose server is not to be had in there: an engine that does not answer.
        self.shell("rm -f /usr/bin/docker /usr/local/bin/docker")
        for path, text in (
            ("/etc/containers/storage.conf", STORAGE),
            ("/etc/containers/containers.conf", CONTAINERS),
            ("/etc/cdi/nvidia.yaml", GPUS),
            ("/etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}'),
        ):
            self.shell(f"mkdir -p {Path(path).parent} && cat > {path}", stdin=text)

    def shell(self, command: str, *, stdin: str | None = None, timeout_s: float = 150) -> str:
        """What a command on the node printed; it must succeed."""
        done = self.node.ssh(command, stdin=stdin, timeout_s=timeout_s)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout

    def __call__(self, *argv: str, timeout_s: float = 150) -> str:
        """What ``podman ...`` printed."""
        return self.shell(shlex.join(["podman", *argv]), timeout_s=timeout_s).strip()

    def image(self, name: str, *changes: str, files: Mapping[str, str] | None = None) -> str:
        """Make an image of busybox alone, and these files; its id. ``changes`` as in ``podman import --change``."""
        options = [word for change in changes for word in ("--change", change)]
        command = shlex.join(["podman", "import", "-q", *options, "-", name])
        argv = [*self.node.ssh_command(), command]
        done = subprocess.run(argv, input=root_file_system(files or {}), capture_output=True, timeout=180)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


def root_file_system(files: Mapping[str, str]) -> bytes:
    """A tar of busybox, its commands and these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _folders(tar, ("bin", "tmp", "etc", "proc", "sys", "dev", "www"))
        tar.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _folders(tar: tarfile.TarFile, names: Sequence[str]) -> None:
    for name in names:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
