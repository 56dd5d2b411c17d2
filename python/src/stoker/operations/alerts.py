"""What is wrong with nodes now, and which of them are silenced for a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from stoker.errors import NotFound, UsageError
from stoker.operations import quantities
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.store import SquelchRow

LONGEST_S = 30 * 86400.0


@dataclass(frozen=True)
class NodeAlert:
    """A node that is offline (`key` offline), or a figure of it past its limit, since then. Times are Unix seconds.

    `checked_at` is when the node was last asked, None: that is not known; what it is since then nobody knows.
    `critical`: a silence does not keep it from the inbox. `squelched_until` None: the node is not silenced.
    """

    node: str
    key: str
    text: str
    since: float
    checked_at: float | None
    critical: bool
    squelched_until: float | None


@dataclass(frozen=True)
class Squelch:
    """The alerts of the nodes that `pattern` names are silenced until then; `nodes` are those of now."""

    pattern: str
    since: float
    until: float
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class AlertList:
    """The alerts that are raised, critical ones first, and the silences."""

    alerts: tuple[NodeAlert, ...]
    squelches: tuple[Squelch, ...]


@dataclass(frozen=True)
class SquelchChange:
    """A silence that began, or `ended`."""

    squelch: Squelch
    ended: bool


@operation("telemetry", "alerts", "read")
def alerts(session: Session, on: str | None = None) -> AlertList:
    """Show what is wrong with nodes: offline, or a figure past its limit. From the store; nobody is asked.

    Args:
        on: Only these nodes: a name, or a pattern such as rtx-*.
    """
    now = time.time()
    silences = session.store.squelches.list(now)
    found = [alert for alert in _alerts(session, silences) if on is None or fnmatchcase(alert.node, on)]
    if on is not None and not found:
        _named(session, on)
    names = _known(session)
    ranked = sorted(found, key=lambda alert: (not alert.critical, alert.node, alert.key))
    return AlertList(tuple(ranked), tuple(_squelch(row, names) for row in silences))


@operation("telemetry", "squelch", "operate")
def squelch(session: Session, node: str, duration: float | str = "30m", *, end: bool = False) -> SquelchChange:
    """Send no messages about the state of a node for a while. What is still wrong then is told when it is over.

    Every alert is still an event (stoker events), and a critical one is in the inbox, if a rule sends it there.

    Args:
        node: A name, or a pattern such as rtx-*.
        duration: For how long (30m), at most 30d. Said again, it counts anew.
        end: End it now instead.
    """
    from stoker.store import SquelchRow

    now, store = time.time(), session.store.squelches
    if end:
        row = next((row for row in store.list(now) if row.pattern == node), None)
        if row is None or not store.end(node):
            raise NotFound(f"{node!r} is not silenced", next_step="stoker alerts shows what is")
        return SquelchChange(_squelch(row, _known(session)), True)
    span = quantities.seconds(duration, "the time")
    if not 1.0 <= span <= LONGEST_S:
        raise UsageError(f"{duration}: a silence lasts a second at least, and 30 days at most")
    _named(session, node)
    row = SquelchRow(node, now, now + span)
    store.put(row)
    return SquelchChange(_squelch(row, _known(session)), False)


def _alerts(session: Session, silences: Sequence[SquelchRow]) -> list[NodeAlert]:
    from stoker.dispatch.notices import CRITICAL
    from stoker.store.squelches import until

    store = session.store
    found = [
        NodeAlert(
            row.name, "offline", row.unreachable_message or "no reason told",
            row.unreachable_since or row.offline_since, row.missed_at, True, until(silences, row.name),
        )
        for row in store.nodes()
        if row.offline_since is not None
    ]  # fmt: skip
    for row in store.samples.alerts():
        newest = store.samples.newest(row.node)
        asked = newest.at if newest else None
        found.append(
            NodeAlert(row.node, row.key, row.text, row.since, asked, row.key in CRITICAL, until(silences, row.node))
        )
    return found


def _known(session: Session) -> list[str]:
    return sorted({node.name for node in session.inventory.nodes} | {row.name for row in session.store.nodes()})


def _named(session: Session, pattern: str) -> None:
    """Refuse a pattern of no node."""
    known = _known(session)
    if not any(fnmatchcase(name, pattern) for name in known):
        raise UsageError(f"no node is called {pattern!r}.{near(pattern, known)}", next_step="stoker nodes lists them")


def _squelch(row: SquelchRow, names: Sequence[str]) -> Squelch:
    return Squelch(row.pattern, row.since, row.until, tuple(name for name in names if fnmatchcase(name, row.pattern)))
