"""The inventory file of rented nodes: written from the store, a source beside the user's, which stays as it is.

Its folder is one of this machine and this store: the hosts, their host keys as they were pinned, and the key that
Stoker logs in with.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker import pools
from stoker.errors import StokerError
from stoker.paths import private_folder, state_dir
from stoker.written import alone_in, replace_file

_HEAD = "# Written by Stoker from its store: the rented machines that are ready. What is changed here is lost.\n"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")
_HOST_KEY = re.compile(r"(?:ssh|ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class RentedNode:
    """A rented machine that answers ssh at `host`:`port` and shows `host_key` (`ssh-ed25519 AAAA...`).

    `takes_jobs`: a job of its `pool` may start there; otherwise it is only there for what is still to be fetched.
    """

    name: str
    pool: str
    host: str
    port: int
    host_key: str
    takes_jobs: bool = True

    def wrong(self) -> str | None:
        """What of it cannot be right: it came from the provider, or from the machine itself. None: nothing."""
        if not _NAME.fullmatch(self.name):
            return f"{self.name!r} is no name for a node"
        if not _HOST.fullmatch(self.host):
            return f"{self.host!r} is no address"
        if not 0 < self.port < 65536:
            return f"{self.port} is no port"
        return None if _HOST_KEY.fullmatch(self.host_key) else f"{self.host_key[:80]!r} is no host key"


@dataclass(frozen=True)
class RentedPlace:
    """Where the files of one store's rented nodes lie on this machine."""

    folder: Path

    @property
    def hosts(self) -> Path:
        """The inventory file."""
        return self.folder / "hosts.yml"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys, for ssh."""
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key that Stoker logs in with."""
        return self.folder / "id_ed25519"

    def ssh_words(self) -> list[str]:
        """The options by which ssh reaches a rented node, and only the one whose key was pinned."""
        options = (
            f"UserKnownHostsFile={_ssh_path(self.known_hosts)}", "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes",
        )  # fmt: skip
        return ["-F", "none", *(word for option in options for word in ("-o", option))]


def place_of(store_url: str) -> RentedPlace:
    """The place of the store with this (shown) URL. Makes nothing."""
    return RentedPlace(state_dir() / "rented" / hashlib.sha256(store_url.encode()).hexdigest()[:12])


def any_place() -> bool:
    """Whether this machine ever had rented nodes, of any store."""
    return (state_dir() / "rented").is_dir()


def write(place: RentedPlace, nodes: Sequence[RentedNode]) -> None:
    """Make the files say exactly this. Raises StokerError where they cannot be written, or a node cannot be right."""
    for node in nodes:
        if (why := node.wrong()) is not None:
            raise StokerError(f"the rented machine {node.name}: {why}", next_step="stoker vast list shows it")
    hosts = _HEAD + json.dumps(_content(place, nodes), indent=1, sort_keys=True) + "\n"
    keys = "".join(f"{_known_as(node)} {node.host_key}\n" for node in sorted(nodes, key=lambda node: node.name))
    try:
        with alone_in(private_folder(private_folder(place.folder.parent) / place.folder.name)):
            # First: a host is never there without its key.
            _put(place.known_hosts, keys)
            _put(place.hosts, hosts)
    except OSError as problem:
        raise StokerError(f"{place.folder} cannot be written: {problem.strerror or problem}") from problem


def _put(path: Path, text: str) -> None:
    """A file that says so already stays: what was read of the inventory is kept until a file of it changes."""
    data = text.encode()
    if not path.is_file() or path.read_bytes() != data:
        replace_file(path, data, mode=0o600)


def _content(place: RentedPlace, nodes: Sequence[RentedNode]) -> dict[str, Any]:
    hosts = {
        node.name: {
            "ansible_host": node.host,
            "ansible_port": node.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(place.key),
            "ansible_ssh_common_args": shlex.join(place.ssh_words()),
            # Nobody may be paid for a machine that works on for a controller that is gone.
            "stoker_lease": "move",
            pools.VARIABLE: node.pool if node.takes_jobs else "",
        }
        for node in nodes
    }
    groups: dict[str, dict[str, Any]] = {}
    for node in nodes:
        if node.takes_jobs:
            groups.setdefault(pools.group_of(node.pool), {"hosts": {}})["hosts"][node.name] = {}
    return {"all": {"hosts": hosts, **({"children": groups} if groups else {})}}


def _known_as(node: RentedNode) -> str:
    return node.host if node.port == 22 else f"[{node.host}]:{node.port}"


def _ssh_path(path: Path) -> str:
    """A path as ssh takes it in an option: in quotes, and % is no token."""
    return '"' + str(path).replace("%", "%%") + '"'
