"""Which nodes take jobs, and which are not even asked: pure rules over what was decided and heard of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.store import AttemptRow, JobRow, MemberRow, NodeRow

if TYPE_CHECKING:
    from stoker.dispatch.model import NodeInfo, State

# A host variable: that the host is in the inventory is nobody's approval (a plugin found it, a command added it).
NEEDS_APPROVAL = "stoker_needs_approval"
_NO = ("", "false", "no", "off", "0", "none")
_UNASKED = ("pending", "expired", "removed")
_DRAIN = ("draining", "drained")


@dataclass(frozen=True)
class Rules:
    """The settings `membership` of stoker.yml, for one round.

    A request to join can be approved for `pending_s` seconds; hosts of one of the groups `auto_approve` need none. A
    node that was not heard of for `probe_s` seconds is asked, and is offline after `misses` misses, at most one counted
    in each `probe_s`.
    """

    pending_s: float = 300.0
    auto_approve: tuple[str, ...] = ()
    probe_s: float = 15.0
    misses: int = 3

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Rules:
        """Rules from plain data. Raises UsageError for what it does not understand."""
        unknown = sorted(set(settings) - set(cls.__dataclass_fields__))
        if unknown:
            raise UsageError(f"stoker_round.membership: there is no {unknown[0]!r}")
        found = cls()
        try:
            return cls(
                float(settings.get("pending_s", found.pending_s)),
                tuple(str(group) for group in settings.get("auto_approve") or ()),
                float(settings.get("probe_s", found.probe_s)),
                max(1, int(settings.get("misses", found.misses))),
            )
        except (TypeError, ValueError):
            raise UsageError("stoker_round.membership: pending_s, probe_s and misses have to be numbers") from None


def needs_approval(variables: Mapping[str, Any]) -> bool:
    """Whether a host's place in the inventory is no approval. A value that is not understood counts as yes."""
    return str(variables.get(NEEDS_APPROVAL, "")).strip().lower() not in _NO


def standing(variables: Mapping[str, Any], member: MemberRow | None, now: float) -> str:
    """The state of a node of the inventory: pending, expired, active, draining, drained or removed."""
    if member is None:
        return "pending" if needs_approval(variables) else "active"
    if member.state in ("pending", "expired") and member.source == "announced" and _let_in(variables):
        return "active"
    if member.state == "pending" and member.expires_at is not None and member.expires_at <= now:
        return "expired"
    return member.state


def _let_in(variables: Mapping[str, Any]) -> bool:
    """Whether the inventory says in so many words that a host needs no approval."""
    return NEEDS_APPROVAL in variables and not needs_approval(variables)


def why_not(name: str, state: str) -> str | None:
    """Why a node of this state takes no jobs, with the command that changes it; None: it takes them."""
    return {
        "pending": f"{name} is pending: stoker node approve {name}",
        "expired": f"the request of {name} to join has expired: stoker node add {name}",
        "draining": f"{name} is being drained: stoker node resume {name}",
        "drained": f"{name} is drained: stoker node resume {name}",
        "removed": f"{name} was removed: stoker node add {name}",
    }.get(state)


def closed(state: State, names: Iterable[str], now: float) -> dict[str, str]:
    """The nodes of these that take no new jobs, each with the reason."""
    nodes = {node.name: node for node in state.nodes}
    found = {}
    for name in names:
        reason = why_not(name, standing(nodes[name].vars, state.members.get(name), now))
        if reason is None and offline(state.known.get(name)):
            reason = f"{name} is offline"
        if reason is not None:
            found[name] = reason
    return found


def offline(node: NodeRow | None) -> bool:
    """Whether a node missed too many probes, and has not answered since."""
    return node is not None and node.offline_since is not None


def unasked(state: State, now: float) -> frozenset[str]:
    """The nodes that nobody may ask anything: those that are not, or no more, approved."""
    return frozenset(
        node.name for node in state.nodes if standing(node.vars, state.members.get(node.name), now) in _UNASKED
    )


def due(state: State, now: float) -> list[str]:
    """The nodes that have not been heard of, nor missed, for a probe's interval."""
    quiet, rules = unasked(state, now), state.request.membership

    def is_due(node: NodeInfo) -> bool:
        row = state.known.get(node.name)
        last = max((row.last_seen or 0.0, row.missed_at or 0.0)) if row is not None else 0.0
        return node.name not in quiet and not 0 <= now - last < rules.probe_s

    return sorted(node.name for node in state.nodes if is_due(node))


def leaves(member: MemberRow | None, job: JobRow, attempt: AttemptRow, now: float) -> str | None:
    """Why an attempt has to leave its node now, to be followed by another one elsewhere; None: it stays.

    What waits on a node that is drained leaves at once, what runs when the time is over.
    """
    if member is None or member.state not in _DRAIN or job.stop_requested is not None:
        return None
    waits = attempt.confirmed_at is None or attempt.state == "queued"
    if waits or member.drain_deadline is None or member.drain_deadline <= now:
        return f"{member.name} is drained"
    return None
