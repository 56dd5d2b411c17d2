# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of its own for a test: its API server, and kubeconfigs that lead there."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml

from .authority import Authority
from .controller import Fate
from .objects import Object
from .server import Fault, Request, Server

Login = Literal["token", "token-file", "certificate", "certificate-file", "none"]


class Double:
    """One cluster. ``world`` has its objects, ``requests`` what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.server = Server(folder / "server", self.authority)
        self.world = self.server.world
        self.url = self.server.url

    @property
    def requests(self) -> Sequence[Request]:
        return self.server.requests

    def add(self, *objects: Object) -> None:
        """Have these; Deployments and StatefulSets with their pods."""
        for said in objects:
            self.world.add(said)
            if said["kind"] in ("Deployment", "StatefulSet"):
                self.server.controller.adopt(said)

    def fate(self, name: str, fate: Fate) -> None:
        """What becomes of new pods of the Deployment or StatefulSet of this name."""
        self.server.controller.fates[name] = fate

    def forbid(self, verb: str, resource: str) -> None:
        """Nobody may do that."""
        self.server.forbidden.add((verb, resource))

    def fault(self, fault: Fault, where: str = "", times: int = 1) -> None:
        """The next questions (`GET /version`) that have this in them, a regular expression, meet the fault."""
        self.server.faults += [(fault, where)] * times

    def together(self, count: int) -> None:
        """No question is answered before so many are there at the same time."""
        self.server.together = threading.Barrier(count)

    def token(self, user: str = "alice") -> str:
        """A new token of a user."""
        token = secrets.token_urlsafe(32)
        self.server.tokens[token] = user
        return token

    def entry(
        self, name: str, login: Login = "token", *, trusts: Authority | None = None,
        user: Mapping[str, Any] | None = None, namespace: str | None = None, **cluster: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """A context for ``kubeconfig``. ``trusts``: another authority; ``user``: what is said of the user instead."""
        said = {"server": self.url, "certificate-authority-data": _base64((trusts or self.authority).pem), **cluster}
        where = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
        return {
            "clusters": {"name": name, "cluster": said},
            "users": {"name": name, "user": dict(user) if user is not None else self._login(name, login)},
            "contexts": {"name": name, "context": where},
        }

    def _login(self, name: str, login: Login) -> dict[str, Any]:
        if login == "token":
            return {"token": self.token()}
        if login == "token-file":
            (self.folder / f"{name}.token").write_text(self.token() + "\n")
            return {"tokenFile": f"{name}.token"}
        if login == "none":
            return {}
        certificate, key = self.authority.user("alice")
        if login == "certificate":
            return {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        (self.folder / f"{name}.crt").write_bytes(certificate)
        (self.folder / f"{name}.key").write_bytes(key)
        return {"client-certificate": f"{name}.crt", "client-key": f"{name}.key"}

    def close(self) -> None:
        self.server.close()


@contextmanager
def kubernetes_double(folder: Path) -> Iterator[Double]:
    """A cluster until the block ends; an objection of the server itself fails the test."""
    folder.mkdir(parents=True, exist_ok=True)
    double = Double(folder)
    try:
        yield double
    finally:
        double.close()
    assert not double.server.problems, double.server.problems


def kubeconfig(file: Path, *entries: Mapping[str, Any], current: str | None = None) -> Path:
    """A kubeconfig with these contexts."""
    said: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    for kind in ("clusters", "users", "contexts"):
        said[kind] = [entry[kind] for entry in entries if kind in entry]
    said["current-context"] = current or ""
    file.write_text(yaml.safe_dump(said))
    return file


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
