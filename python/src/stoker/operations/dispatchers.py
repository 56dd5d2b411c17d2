"""Which dispatchers run in a loop, and which of them leads."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.operations.registry import operation
from stoker.operations.session import Session


@dataclass(frozen=True)
class DispatcherView:
    """One dispatcher that runs in a loop.

    `state`: `leads`, `stands by`, `silent` (its process is there and gives no sign: stopped, or hanging) or `ended`
    (without a word). `silent_s` is since its last sign of life, by the clocks of both machines.
    """

    id: str
    host: str
    pid: int
    state: str
    leader: bool
    epoch: int | None
    started_at: float
    silent_s: float
    rounds: int
    round_at: float | None
    round_s: float | None


@dataclass(frozen=True)
class DispatcherList:
    """The dispatchers of a store, the leader first."""

    dispatchers: tuple[DispatcherView, ...]


@operation("dispatch", "dispatchers", "read", method="list")
def dispatchers(session: Session) -> DispatcherList:
    """Show the dispatchers that run in a loop: which one leads, which stand by, when the last round was."""
    store, now = session.store.dispatchers, time.time()
    return DispatcherList(
        tuple(
            DispatcherView(
                row.id, row.host, row.pid, _state(row.leader, store.there(row.id), now - row.heartbeat_at, row.lease_s),
                row.leader, row.epoch, row.started_at, max(0.0, now - row.heartbeat_at), row.rounds, row.round_at,
                row.round_s,
            )
            for row in store.list()
        )
    )  # fmt: skip


def _state(leader: bool, there: bool, silent_s: float, lease_s: float) -> str:
    if not there:
        return "ended"
    if silent_s > lease_s:
        return "silent"
    return "leads" if leader else "stands by"
