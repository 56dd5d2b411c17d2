"""Which nodes are members: added, approved, removed. Seen by everybody who uses the same store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from stoker.errors import UsageError
from stoker.operations.members import (
    MemberChange,
    MemberList,
    all_members,
    jobs_there,
    member_of,
    some,
    start_waiting,
    user_name,
)
from stoker.operations.registry import Short, operation
from stoker.operations.rounds import make_round, membership
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.dispatch.decisions import Decision
    from stoker.store import MemberRow


@operation("nodes", "node list", "read", method="members")
def members(session: Session, *, all: bool = False) -> MemberList:  # noqa: A002
    """List the nodes with their membership: who takes jobs, who waits for approval, who is drained.

    Args:
        all: Those too that were removed.
    """
    whole = session.whole_inventory
    found = all_members(session, whole)
    shown = tuple(member for member in found if all or member.state != "removed")
    return MemberList(shown, str(session.inventory_path) if session.inventory_path else None)


@operation("nodes", "node add", "administer")
def add(
    session: Session, node: str, *, host: str | None = None, user: str | None = None, port: int | None = None,
    group: Sequence[str] = (), variable: Annotated[Mapping[str, str] | None, Short("-e")] = None,
) -> MemberChange:  # fmt: skip
    """Ask for a new node: it gets nothing until somebody approves it.

    It is written into an inventory file of Stoker's own, stoker-nodes.yml beside your inventory; yours stays as it is.
    A node whose request expired, or that was removed, is asked for again by its name alone.

    Args:
        node: Name of the node.
        host: Where it is reached: an address or a DNS name.
        user: Who to log in as.
        port: Port of its ssh.
        group: Put it into this group. Repeatable.
        variable: A host variable, KEY=VALUE. Repeatable.
    """
    from stoker.dispatch import decisions
    from stoker.dispatch.members import decide
    from stoker.dispatch.membership import NEEDS_APPROVAL, Rules, standing
    from stoker.runner import own_nodes

    own_nodes.check_names(node, group)
    named = _variables(host, user, port, variable or {})
    whole, file = session.whole_inventory, session.runner.own_file
    listed = {entry.name: entry for entry in whole.nodes}.get(node)
    ours = node in own_nodes.names(file)
    if node in whole.groups:
        raise UsageError(f"{node!r} is the name of a group")
    if listed is None and host is None:
        raise UsageError(f"where is {node}?", next_step=f"stoker node add {node} --host ADDRESS")
    if listed is not None and not ours and (named or group):
        raise UsageError(
            f"{node} is in {whole.source.name} already, with its variables", next_step=f"stoker node add {node}"
        )
    rules, now = Rules.of(membership(session)), time.time()

    def rule(before: MemberRow | None, busy: frozenset[str]) -> Decision:
        state = standing(listed.vars, before, now) if listed is not None else None
        if state in ("active", "draining", "drained"):
            raise UsageError(f"{node} is a member already: it is {state}", next_step="stoker node list")
        source = "added" if host is not None or before is None else before.source
        groups = group or (listed.groups if listed is not None else ())
        return decisions.ask(node, source, user_name(), groups, rules, now)

    rule(session.store.members.get(node), frozenset())
    if host is not None:
        # Before the decision: a host of this file that nothing was decided of is pending.
        own_nodes.put(file, node, {**named, NEEDS_APPROVAL: True}, group)
        session.forget_inventory()
    decide(session.store, node, rule, now)
    member = member_of(session, node)
    told = f"{node} is {member.state}" + (": it gets nothing until it is approved" if member.why_not else "")
    step = f"stoker node approve {node} (within {rules.pending_s:.0f} s)" if member.why_not else None
    return MemberChange(member, told, step)


@operation("nodes", "node approve", "administer")
def approve(session: Session, node: str) -> MemberChange:
    """Let a node that waits for approval take jobs, and ask it how it is.

    Args:
        node: Name of the node.
    """
    from stoker.dispatch import decisions
    from stoker.dispatch.members import decide

    listed, now = session.whole_inventory.node(node), time.time()
    decide(session.store, node, lambda row, _: decisions.approve(node, listed.vars, row, user_name(), now), now)
    session.forget_inventory()
    problems = make_round(session, "observe", nodes=[node])
    problems += start_waiting(session)
    return MemberChange(member_of(session, node), f"{node} is approved: it takes jobs", None, problems)


@operation("nodes", "node remove", "administer", destroys=True)
def remove(session: Session, node: str, *, force: bool = False) -> MemberChange:
    """Take a node out: it gets nothing any more. What is known of it and of its jobs is kept.

    A node that you wrote into an inventory stays in that file, and is left alone all the same.

    Args:
        node: Name of the node.
        force: Although jobs may be under way there. They are left alone; one with the lease `move` goes elsewhere.
    """
    from stoker.dispatch import decisions
    from stoker.dispatch.members import decide

    listed = {entry.name: entry for entry in session.whole_inventory.nodes}.get(node)
    if listed is None and session.store.members.get(node) is None:
        session.whole_inventory.node(node)  # raises, with a near name

    def rule(before: MemberRow | None, busy: frozenset[str]) -> Decision:
        if node in busy and not force:
            raise UsageError(
                f"{node} may have jobs under way: {some(jobs_there(session, node)) or 'what was given up there'}",
                next_step=f"stoker node drain {node} --wait, or --force to leave them alone",
            )
        return decisions.remove(node, before, "inventory", user_name(), time.time())

    decide(session.store, node, rule, time.time())
    _take_out_of_files(session, node)
    return MemberChange(member_of(session, node), f"{node} was removed: it gets nothing any more; its history is kept")


def _variables(host: str | None, user: str | None, port: int | None, more: Mapping[str, str]) -> dict[str, Any]:
    """The host variables that were given. Raises UsageError for what does not belong into this file."""
    from stoker.runner.listing import is_secret

    for key in more:
        if is_secret(key):
            raise UsageError(
                f"--variable {key}: a secret does not belong into a plain file",
                next_step="keep it in host_vars, encrypted by ansible-vault",
            )
        if not key.isidentifier():
            raise UsageError(f"--variable: {key!r} is no name for a variable")
    for text in (host, user, *more.values()):
        if text is not None and ("{{" in text or "{%" in text or not text.isprintable()):
            raise UsageError(f"{text!r} is not plain text", next_step="templates belong into an inventory of your own")
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"--port: {port} is not a port", next_step="1 to 65535")
    own = {"ansible_host": host, "ansible_user": user, "ansible_port": port}
    return {**{key: value for key, value in own.items() if value is not None}, **more}


def _take_out_of_files(session: Session, node: str) -> None:
    """Take a node out of Stoker's own file; one that another inventory has is marked there as not approved."""
    from stoker.dispatch.membership import NEEDS_APPROVAL, needs_approval
    from stoker.runner import own_nodes

    file = session.runner.own_file
    own_nodes.take_out(file, node)
    session.forget_inventory()
    listed = {entry.name: entry for entry in session.whole_inventory.nodes}.get(node)
    if listed is not None and not needs_approval(listed.vars):
        own_nodes.mark(file, node, {NEEDS_APPROVAL: True})
        session.forget_inventory()
