"""Members as operations answer them, and what the operations on them have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.runner import Inventory, InventoryNode
    from stoker.store import MemberRow, NodeRow

LIVE = ("queued", "starting", "running")


@dataclass(frozen=True)
class Member:
    """A node's membership.

    `state`: pending, expired, active, draining, drained, removed. `source`: inventory, added, announced. `why_not` says
    why it takes no jobs, with the command that changes it; None: it takes them. `jobs` are those that may be under way
    there. `reachable` is None when it was never asked, `offline_since` when it missed too many probes.
    """

    name: str
    state: str
    source: str
    address: str | None
    groups: tuple[str, ...]
    in_inventory: bool
    why_not: str | None
    jobs: tuple[str, ...]
    reachable: bool | None
    offline_since: float | None
    asked_at: float | None
    asked_by: str | None
    expires_at: float | None
    decided_at: float | None
    decided_by: str | None
    drain_deadline: float | None


@dataclass(frozen=True)
class MemberList:
    """Members, by name."""

    members: tuple[Member, ...]
    inventory: str | None


@dataclass(frozen=True)
class MemberChange:
    """What was decided of a node."""

    member: Member
    told: str
    next_step: str | None = None
    problems: tuple[Problem, ...] = ()


def outside(session: Session, whole: Inventory) -> dict[str, str]:
    """The nodes of the inventory that may not be used, each with the reason and, after a colon, the next step."""
    from stoker.dispatch.membership import standing, why_not

    rows, now = {row.name: row for row in session.store.members.list()}, time.time()
    found = {}
    for node in whole.nodes:
        state = standing(node.vars, rows.get(node.name), now)
        if state in ("pending", "expired", "removed"):
            found[node.name] = str(why_not(node.name, state))
    return found


def member_of(session: Session, name: str) -> Member:
    """One member, of the inventory or of the store."""
    return next(member for member in all_members(session, session.whole_inventory, name) if member.name == name)


def jobs_there(session: Session, node: str) -> list[str]:
    """The jobs that may be under way on a node, by id."""
    return [row.id for row in session.store.jobs(states=LIVE, node=node, newest_first=False)]


def all_members(session: Session, whole: Inventory, only: str | None = None) -> list[Member]:
    """The nodes of the inventory in its order, then those that only the store knows; `only` the one of this name."""
    listed = {node.name: node for node in whole.nodes}
    rows = {row.name: row for row in session.store.members.list()}
    known = {row.name: row for row in session.store.nodes()}
    names = [name for name in dict.fromkeys([*listed, *rows]) if only in (None, name)]
    return [_member(session, name, listed.get(name), rows.get(name), known.get(name)) for name in names]


def _member(
    session: Session, name: str, listed: InventoryNode | None, row: MemberRow | None, known: NodeRow | None
) -> Member:
    from stoker.dispatch.membership import needs_approval, standing, why_not

    variables = listed.vars if listed is not None else {}
    state = standing(variables, row, time.time())
    why = why_not(name, state)
    if why is None and listed is None:
        why = f"{name} is not in the inventory"
    if why is None and known is not None and known.offline_since is not None:
        why = f"{name} is offline"
    heard = known is not None and (known.last_seen is not None or known.unreachable_since is not None)
    address = variables.get("ansible_host")
    return Member(
        name=name,
        state=state,
        source=row.source if row is not None else "announced" if needs_approval(variables) else "inventory",
        address=str(address) if address is not None else None,
        groups=listed.groups if listed is not None else (),
        in_inventory=listed is not None,
        why_not=why,
        jobs=tuple(jobs_there(session, name)),
        reachable=known.unreachable_since is None if known is not None and heard else None,
        offline_since=known.offline_since if known is not None else None,
        asked_at=row.asked_at if row is not None else None,
        asked_by=row.asked_by if row is not None else None,
        expires_at=row.expires_at if row is not None else None,
        decided_at=row.decided_at if row is not None else None,
        decided_by=row.decided_by if row is not None else None,
        drain_deadline=row.drain_deadline if row is not None else None,
    )


def start_waiting(session: Session) -> tuple[Problem, ...]:
    """Make a round for the jobs that wait in the store: one of them may have waited for this node."""
    waiting = [row.id for row in session.store.jobs(states=("queued",)) if row.node is None]
    return make_round(session, "dispatch", jobs=waiting) if waiting else ()


def some(jobs: Sequence[str]) -> str:
    """Jobs by id, the first three of many."""
    return ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")


def user_name() -> str | None:
    """Who asks; None where the user has no name."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
