# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge of the bed's own with a network namespace per node, as real as cables: they can be pulled. Root only."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass

from .bed import Bed, need_root, need_tools, run


@dataclass
class Link:
    """One node's cable: namespace, address, and the end that hangs on the bridge."""

    namespace: str
    address: str
    cable: str

    @property
    def namespace_path(self) -> str:
        """Where the namespace can be entered."""
        return f"/run/netns/{self.namespace}"

    def pull(self) -> None:
        """Pull the cable: packets are lost both ways, nobody is told."""
        run(["ip", "link", "set", self.cable, "down"])

    def plug(self) -> None:
        """Put the cable back."""
        run(["ip", "link", "set", self.cable, "up"])

    def close(self) -> None:
        """Remove the cable and the namespace."""
        run(["ip", "link", "del", self.cable])  # with the namespace it would go too, but some time later
        run(["ip", "netns", "del", self.namespace])


class Network:
    """A bridge ``stkXXXX`` with a free 10.199.N.0/24, on which this machine has the address .1."""

    def __init__(self, bed: Bed) -> None:
        need_root()
        need_tools("ip", "nsenter", "unshare")
        self.bed = bed
        self.bridge = f"stk{os.urandom(3).hex()}"
        self._count = 0
        (bed.folder / "bridge").write_text(self.bridge)
        run(["ip", "link", "add", self.bridge, "type", "bridge"])
        # One bed at a time, of all that run here: what one found free another would take meanwhile.
        place = os.open(bed.folder.parent, os.O_RDONLY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            self.subnet = free_subnet()
            run(["ip", "addr", "add", f"{self.subnet}.1/24", "dev", self.bridge])
        finally:
            os.close(place)
        run(["ip", "link", "set", self.bridge, "up"])
        self.name = self.bridge
        bed.adopt(self)

    def connect(self) -> Link:
        """A new namespace with the next address (.11 and up), connected."""
        self._count += 1
        link = Link(f"{self.bridge}-{self._count}", f"{self.subnet}.{10 + self._count}", f"{self.bridge}v{self._count}")
        inside = ["ip", "-n", link.namespace]
        run(["ip", "netns", "add", link.namespace])
        run(["ip", "link", "add", link.cable, "type", "veth", "peer", "name", "eth0", "netns", link.namespace])
        run(["ip", "link", "set", link.cable, "master", self.bridge, "up"])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "addr", "add", f"{link.address}/24", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        return link

    def close(self) -> None:
        """Remove the bridge; every link has to be closed before."""
        run(["ip", "link", "del", self.bridge])
        self.bed.release(self)


def free_subnet() -> str:
    """The first three numbers of a 10.199.N.0/24 that no interface of this machine has."""
    interfaces = json.loads(run(["ip", "-j", "-4", "addr"]).stdout)
    taken = {address["local"].rpartition(".")[0] for entry in interfaces for address in entry.get("addr_info", [])}
    return next(net for number in range(1, 255) if (net := f"10.199.{number}") not in taken)
