# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain nodes with a real Podman: a store of their own and an image made here, so that no registry is needed.

sshd runs in a mount namespace of its own, over an overlay of ``/etc`` that holds Podman's settings. Root only, also for
the rootless kind: there the one who logs in is a user that exists in that overlay alone.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from .bed import Bed, need_root, need_tools, run
from .plain import PlainNode
from .processes import Process, all_processes, descendants
from .ssh_node import sshd_program

IMAGE = "localhost/stoker-test:1"
# Of the hierarchies of a hybrid machine Podman takes the second version, which has no controllers there.
SPACE = """
set -e
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
mount -t overlay overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/work" /etc
# All Podmans of a user keep their locks there, and a new one clears it.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
shift
exec "$@"
"""
USER, UID = "stoker", 4711
# The image is a skeleton: its programs are this machine's, read-only.
SHARED = ("/usr", str(Path(os.path.realpath("/usr/bin/python3")).parent.parent))


class PodmanNode(PlainNode):
    """One node. ``rootless``: login as an ordinary user. Keywords as for PlainNode."""

    def __init__(self, bed: Bed, name: str, *, rootless: bool = False, **options: Any) -> None:
        need_root()
        need_tools("podman", "crun", "catatonit", "unshare", *(["newuidmap", "slirp4netns"] if rootless else []))
        if rootless:
            for name in ("python", "gpu_python"):  # root's own is closed to others
                options.setdefault(name, os.path.realpath("/usr/bin/python3"))
        super().__init__(bed, name, **options)
        self.rootless = rootless
        self.store = self.folder / "store"
        for folder in (self.store, self.folder / "etc", self.folder / "work", self.folder / "run"):
            folder.mkdir(mode=0o755)
        self._write_settings()
        if rootless:
            self._make_user()
        # A cloned name space would hide the store: the image is made once the node runs.
        self._has_image = False

    def server_command(self, config: Path) -> list[str]:
        sshd = [sshd_program(), "-D", "-f", str(config), "-E", str(self.log_file)]
        return ["unshare", "--mount", "sh", "-c", SPACE, "space", str(self.folder), *sshd]

    def wait_started(self, timeout_s: float = 150.0) -> None:
        super().wait_started(timeout_s)
        if not self._has_image:
            self._has_image = True
            archive = self.folder / "image.tar"
            archive.write_bytes(skeleton())
            archive.chmod(0o644)
            done = self.ssh(f"podman import -q {archive} {IMAGE}", timeout_s=180)
            if done.returncode:
                raise RuntimeError(f"podman import: {done.stderr}")

    def podman(self, *words: str) -> str:
        """What Podman of the node prints. Raises RuntimeError when it fails."""
        done = self.ssh(" ".join(["podman", *words]))
        if done.returncode:
            raise RuntimeError(f"podman {' '.join(words)}: {done.stderr}")
        return done.stdout

    def containers(self) -> list[str]:
        """The names of all containers of the node."""
        return self.podman("ps", "--all", "--format", "'{{.Names}}'").split()

    def cdi(self, uuids: list[str]) -> None:
        """Tell Podman of GPUs: each gives its container an environment variable that names it."""
        devices = [
            {"name": uuid, "containerEdits": {"env": [f"TEST_GPU_{index}={uuid}"]}} for index, uuid in enumerate(uuids)
        ]
        told = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}
        folder = self.folder / "etc/cdi"
        folder.mkdir(exist_ok=True)
        (folder / "nvidia.json").write_text(json.dumps(told))

    def processes(self) -> list[Process]:
        """What runs on the node, with what runs in its containers and the monitors of those."""
        table = all_processes()
        monitors = {
            pid
            for pid, item in table.items()
            if item.name == "conmon" and any(str(self.folder) in w for w in item.argv)
        }
        found = {item.pid: item for item in super().processes()}
        found |= {pid: table[pid] for pid in monitors} | descendants(monitors, table)
        return list(found.values())

    def close(self) -> None:
        """End it, and remove its folder. Its mounts go with the last process that was in its mount namespace."""
        if self._sshd is not None:
            self.ssh("podman rm --all --force --time 0", timeout_s=180)
        super().close()

    def _write_settings(self) -> None:
        place = self.folder / "etc/containers"
        place.mkdir()
        shared = sorted({f"{path}:{path}:ro" for path in (*SHARED, str(Path(self.python).parent.parent))})
        # Only what this machine allows: a container engine is usually free to raise limits.
        containers = [
            "[containers]",
            'default_ulimits = ["nofile=1024:20000", "nproc=32768:32768"]',
            'netns = "none"',
            f"volumes = {json.dumps(shared)}",
            "[engine]",
            'cgroup_manager = "cgroupfs"',
            'events_logger = "file"',
            f'tmp_dir = "{self.folder}/run/tmp"',
        ]
        (place / "containers.conf").write_text("\n".join(containers) + "\n")
        (place / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        driver = "vfs" if self.rootless else "overlay"
        lines = ["[storage]", f'driver = "{driver}"', f'runroot = "{self.folder}/run/store"']
        lines += [f'{name} = "{self.store}"' for name in ("graphroot", "rootless_storage_path")]
        (place / "storage.conf").write_text("\n".join(lines) + "\n")

    def _make_user(self) -> None:
        self.user = USER
        etc = self.folder / "etc"
        for name, line in (
            ("passwd", f"{USER}:x:{UID}:{UID}::{self.home}:/bin/bash"),
            ("group", f"{USER}:x:{UID}:"),
            ("shadow", f"{USER}:*:19000:0:99999:7:::"),
            ("subuid", f"{USER}:4800000:65536"),
            ("subgid", f"{USER}:4800000:65536"),
        ):
            known = Path("/etc", name)
            (etc / name).write_text((known.read_text() if known.exists() else "") + line + "\n")
        # The bed is closed to others; the names in it are not guessed.
        self.bed.folder.chmod(0o711)
        self.folder.chmod(0o711)
        (self.folder / "authorized_keys").chmod(0o644)
        runtime = self.folder / "run/user"
        runtime.mkdir(mode=0o700)
        self.env["XDG_RUNTIME_DIR"] = str(runtime)
        for place in (self.home, self.store, self.folder / "run"):
            run(["chown", "-R", f"{UID}:{UID}", str(place)])


def skeleton() -> bytes:
    """A tar of the links and empty folders that make this machine's /usr a root file system."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("usr", "etc", "root", "run", "proc", "sys", "dev"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(tmp)
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(link)
        passwd = b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1234::/tmp:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        archive.addfile(entry, io.BytesIO(passwd))
    return packed.getvalue()
