# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the chaos takes place: two plain nodes with GPUs, isolated ones where this is root, a store of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoker.store import open_store
from tests.testbed import Bed, IsolatedNode, Network, PlainNode, Postgres, start_all, start_isolated, write_inventory

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ring:
    """The nodes, and what a controller has to be told. `env` is the environment of every controller."""

    folder: Path
    plain: list[PlainNode]
    isolated: list[IsolatedNode]
    inventory: Path
    url: str
    env: dict[str, str]

    def marks(self) -> list[str]:
        """What the jobs wrote on all nodes, outside of the store and of Stoker's own folders."""
        files = [node.home / "marks" for node in self.plain]
        files += [node.folder / "upper/srv/root/marks" for node in self.isolated]
        return [line for file in files if file.exists() for line in file.read_text().splitlines()]

    @property
    def nodes(self) -> list[PlainNode | IsolatedNode]:
        """All of them."""
        return [*self.plain, *self.isolated]


@contextmanager
def ring(folder: Path, store: str, bed: Bed | None = None) -> Iterator[Ring]:
    """A ring, and nothing left of it afterwards. In a `bed` of the caller's, or one of its own."""
    if bed is None:
        with Bed() as own, ring(folder, store, own) as made:
            yield made
        return
    plain = [PlainNode(bed, f"n{number}", gpus=2) for number in (1, 2)]
    isolated = []
    if os.geteuid() == 0:
        network = Network(bed)
        # No control groups of Stoker's own: the node's are those of this machine, and would outlive it.
        options = {"host_vars": {"stoker_launch": ["subreaper"]}, "gpus": 1}
        isolated = [IsolatedNode(bed, network, "i1", **options)]
    start_all(plain)
    start_isolated(isolated)
    server = Postgres(bed) if store == "postgresql" else None
    if server is not None:
        server.start()
    url = server.new_database() if server is not None else f"sqlite:///{folder}/store.db"
    inventory = write_inventory(folder / "inventory.yml", [*plain, *isolated])
    env = {
        **os.environ, "STOKER_STORE_URL": url, "STOKER_INVENTORY": str(inventory),
        "ANSIBLE_CONFIG": str(_ROOT / ".ci/ansible.cfg"), "STOKER_LAUNCHER": "off",
    }  # fmt: skip
    open_store(url).close()
    try:
        yield Ring(folder, plain, isolated, inventory, url, env)
    finally:
        for part in (*plain, *isolated, *([server] if server is not None else [])):
            part.close()
