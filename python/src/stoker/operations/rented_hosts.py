"""The rented machines of the store as nodes of the inventory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stoker.operations.rented_keys import known_to
from stoker.runner import rented_nodes
from stoker.runner.rented_nodes import RentedNode, RentedPlace

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store.instance_rows import InstanceRow

# In these it is a node: it takes jobs, or what it wrote is still to be fetched.
NODE_PHASES = ("ready", "pulling")


def place_of(session: Session) -> RentedPlace:
    """Where this machine keeps the files of the store's rented nodes."""
    return rented_nodes.place_of(session.store.url)


def sources(session: Session) -> tuple[Path, ...]:
    """The inventory of rented nodes, brought up to date; nothing where nobody ever rented any.

    Most sessions have no pools: then neither the store nor a file is opened. Raises StokerError.
    """
    if not session.config.pools and not rented_nodes.any_place():
        return ()
    return (refresh(session),)


def refresh(session: Session) -> Path:
    """Write the inventory from the store, whole, and return its file. Raises StokerError."""
    place = place_of(session)
    known = known_to(place)
    rows = session.store.instances.all()
    rented_nodes.write(place, [node for row in rows if (node := node_of(row, known)) is not None])
    return place.hosts


def renew(session: Session) -> None:
    """Write the inventory, and where it says something else than before have it read again. Raises StokerError."""
    file = place_of(session).hosts
    before = file.read_bytes() if file.exists() else b""
    if refresh(session).read_bytes() != before:
        session.forget_inventory()


def node_of(row: InstanceRow, known: frozenset[int]) -> RentedNode | None:
    """A rented machine as a node; None: it is none now, or was not told this controller's key (it is not `known`)."""
    if (
        row.phase not in NODE_PHASES
        or row.provider_id not in known
        or not (row.node and row.host and row.port and row.host_key)
    ):
        return None
    return RentedNode(row.node, row.pool, row.host, row.port, row.host_key, takes_jobs=row.phase == "ready")
