"""What may be decided of a node's membership, and what follows by itself: pure rules, one node at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stoker.dispatch.membership import Rules, needs_approval, standing
from stoker.errors import UsageError
from stoker.store import MemberRow

if TYPE_CHECKING:
    from stoker.dispatch.model import State


# What running jobs may take to finish when nobody says, in seconds.
DRAIN_S = 1800.0


@dataclass(frozen=True)
class Decision:
    """What is known of a node from now on, and the event that tells of it."""

    member: MemberRow
    event: str
    data: Mapping[str, Any] = field(default_factory=dict)


def ask(name: str, source: str, by: str | None, groups: Sequence[str], rules: Rules, now: float) -> Decision:
    """A node asks to become a member: it is pending, or active where one of its groups is approved by the settings."""
    own = sorted(set(groups) & set(rules.auto_approve))
    if own:
        member = MemberRow(
            name, "active", source, now, by, decided_at=now, decided_by=f"membership.auto_approve {own[0]}"
        )
        return Decision(member, "node.approved", {"by": member.decided_by, "source": source})
    expires = now + rules.pending_s
    return Decision(
        MemberRow(name, "pending", source, now, by, expires), "node.pending",
        {"by": by, "source": source, "expires_at": expires},
    )  # fmt: skip


def approve(name: str, variables: Mapping[str, Any], member: MemberRow | None, by: str | None, now: float) -> Decision:
    """Somebody approves a node. Raises UsageError where nothing waits for that."""
    state = standing(variables, member, now)
    if state == "expired" and member is not None:
        late = now - (member.expires_at or now)
        raise UsageError(
            f"the request of {name} to join expired {late:.0f} s ago", next_step=f"stoker node add {name} asks again"
        )
    if state == "removed":
        raise UsageError(f"{name} was removed", next_step=f"stoker node add {name} asks for it again")
    if state != "pending":
        raise UsageError(f"{name} needs no approval: it is {state}", next_step="stoker node list")
    asked = member or MemberRow(name, "pending", "announced", now)
    return Decision(
        replace(asked, state="active", expires_at=None, decided_at=now, decided_by=by), "node.approved",
        {"by": by, "source": asked.source},
    )  # fmt: skip


def drain(
    name: str, variables: Mapping[str, Any], member: MemberRow | None, by: str | None, longest: float | None, now: float
) -> Decision:
    """Somebody wants a node to be free of jobs; those that run may take `longest` seconds to finish.

    None: what was said before, else DRAIN_S. Raises UsageError for a node that is no member.
    """
    state = standing(variables, member, now)
    if state not in ("active", "draining", "drained"):
        raise UsageError(f"{name} is {state}: it has no jobs to be drained of", next_step="stoker node list")
    base = member or MemberRow(name, "active", "inventory", now)
    before = base.drain_deadline if state == "draining" and longest is None else None
    deadline = before if before is not None else now + (DRAIN_S if longest is None else longest)
    drained = replace(base, state="draining", decided_at=now, decided_by=by, drain_deadline=deadline)
    return Decision(drained, "node.draining", {"by": by, "deadline": deadline})


def resume(name: str, variables: Mapping[str, Any], member: MemberRow | None, by: str | None, now: float) -> Decision:
    """Somebody lets a node take jobs again. Raises UsageError for one that is not drained."""
    state = standing(variables, member, now)
    if member is None or state not in ("draining", "drained"):
        raise UsageError(f"{name} is not drained: it is {state}", next_step="stoker node list")
    back = replace(member, state="active", decided_at=now, decided_by=by, drain_deadline=None)
    return Decision(back, "node.resumed", {"by": by, "from": state})


def remove(name: str, member: MemberRow | None, source: str, by: str | None, now: float) -> Decision:
    """Somebody takes a node out. Raises UsageError for one that is out already."""
    if member is not None and member.state == "removed":
        raise UsageError(f"{name} was removed before", next_step=f"stoker node add {name} asks for it again")
    base = member or MemberRow(name, "active", source, now)
    gone = replace(base, state="removed", expires_at=None, decided_at=now, decided_by=by, drain_deadline=None)
    return Decision(gone, "node.removed", {"by": by, "from": base.state, "source": base.source})


def by_themselves(state: State, now: float) -> list[Decision]:
    """What a round decides: hosts that were found ask to join, requests expire, drained nodes are free."""
    rules = state.request.membership
    variables = {node.name: node.vars for node in state.nodes}
    found = [
        ask(node.name, "announced", None, node.groups, rules, now)
        for node in state.nodes
        if node.name not in state.members and needs_approval(node.vars)
    ]
    found += [
        Decision(replace(member, state="expired"), "node.expired", {"asked_at": member.asked_at})
        for member in state.members.values()
        if member.state == "pending" and standing(variables.get(member.name, {}), member, now) == "expired"
    ]
    busy = {attempt.node for job in state.jobs if (attempt := state.live_attempt(job)) is not None}
    # Also what jobs went on without, or were given up, until its node says that it is over.
    busy |= {attempt.node for attempt in state.left}
    return found + emptied(state.members.values(), busy)


def emptied(members: Iterable[MemberRow], busy: Iterable[str]) -> list[Decision]:
    """The nodes that are being drained and have no attempt left that may be under way: `busy` are those that have."""
    held = frozenset(busy)
    return [
        Decision(replace(member, state="drained"), "node.drained", {"deadline": member.drain_deadline})
        for member in members
        if member.state == "draining" and member.name not in held
    ]
