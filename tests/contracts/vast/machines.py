# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's machine as an instance has it: a real sshd of the test bed, with its disk, its keys and its start script."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed import PlainNode
from testbed.plain import BASHRC, free_port


class Machine:
    """``node`` belongs to one instance at a time. It is down until an instance boots."""

    def __init__(self, node: PlainNode) -> None:
        self.node = node
        self._scripts: list[subprocess.Popen[bytes]] = []
        self.halt()
        self.authorize([])

    @property
    def log(self) -> Path:
        """What the start script said."""
        return self.node.folder / "onstart.log"

    def fresh(self) -> None:
        """A new container from its image: an empty disk, and a host key that nobody knows."""
        self.halt()
        shutil.rmtree(self.node.home)
        self.node.home.mkdir(mode=0o700)
        (self.node.home / ".bashrc").write_text(BASHRC)
        self.log.unlink(missing_ok=True)
        self.new_host_key()

    def new_host_key(self) -> None:
        key = self.node.folder / "host_key"
        for file in (key, key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=180)

    def new_port(self) -> int:
        """The port of the next start: another one each time."""
        self.node.port = free_port()
        return self.node.port

    def listen(self) -> int:
        """Start sshd; the port that it took."""
        self.node.start()
        return self.node.port

    def deaf(self) -> None:
        """Nothing listens any more; what runs lives on."""
        self.node.down()

    def run(self, script: str, environment: Mapping[str, str]) -> None:
        """Run the start script as the container does, with the container's own environment."""
        file = self.node.home / "onstart.sh"
        file.write_text(script)
        with self.log.open("ab") as log:
            self._scripts.append(
                subprocess.Popen(
                    ["/bin/sh", str(file)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.node.home,
                    env={**self.node.env, **environment},
                    start_new_session=True,
                )
            )

    def authorize(self, keys: Iterable[str]) -> None:
        (self.node.folder / "authorized_keys").write_text("".join(f"{key.strip()}\n" for key in keys))

    def halt(self) -> None:
        """Everything that runs ends, as when a container is killed; the disk stays."""
        self.node.stop()
        for script in self._scripts:
            script.wait(timeout=180)
        self._scripts.clear()
