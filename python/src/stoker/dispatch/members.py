"""Writing decisions about members down, each with its event."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stoker.dispatch.decisions import Decision, emptied
from stoker.store import LIVE_STATES, MemberRow, Store, Transaction

Rule = Callable[[MemberRow | None, frozenset[str]], Decision]


def write_down(transaction: Transaction, decisions: Iterable[Decision], now: float) -> None:
    """Write decisions and their events."""
    for decision in decisions:
        transaction.put_member(decision.member)
        transaction.event(decision.event, now, node=decision.member.name, data=decision.data)


def decide(store: Store, name: str, rule: Rule, now: float) -> MemberRow:
    """Decide of one node by `rule`, and return what is so now.

    The rule gets what was decided before, and the nodes that have attempts which may be under way.
    One transaction. A node that has nothing to be drained of is drained at once. Raises what `rule` raises.
    """
    with store.write() as transaction:
        before = {member.name: member for member in transaction.members()}.get(name)
        busy = _busy(transaction)
        decision = rule(before, busy)
        free = emptied([decision.member], busy)
        write_down(transaction, [decision, *free], now)
        return (free or [decision])[0].member


def settle(store: Store, now: float) -> None:
    """Nodes whose last job has left are drained now."""
    if not any(member.state == "draining" for member in store.members.list()):
        return
    with store.write() as transaction:
        write_down(transaction, emptied(transaction.members(), _busy(transaction)), now)


def _busy(transaction: Transaction) -> frozenset[str]:
    """The nodes with attempts that may be under way, also such as their jobs went on without or were given up."""
    live = [attempt for attempt in transaction.attempts_of_now(LIVE_STATES) if attempt.live]
    return frozenset(attempt.node for attempt in [*live, *transaction.attempts_to_end()])
