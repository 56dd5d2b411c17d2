"""Runs that lie on a server: W&B's, and MLflow's tracking server. Asked over HTTP, with none of their packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading
from stoker.analysis.servers.address import Address, named

__all__ = ["Address", "Server", "named", "server"]


class Server(Protocol):
    """Where runs lie."""

    address: Address

    def heads(self) -> Iterator[Reading]:
        """What is known of each run, without metrics. Raises Unreadable, NotThere."""

    def history(self, run: str) -> Reading:
        """Every point of a run. Raises Unreadable, NotThere."""


def server(address: Address) -> Server:
    """What is asked at this address. Raises Unreadable when a login cannot be read."""
    if address.kind == "mlflow":
        from stoker.analysis.servers.mlflow import Mlflow

        return Mlflow(address)
    from stoker.analysis.servers.wandb import Wandb

    return Wandb(address)
