"""Members on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli import render_streams
from stoker.cli.out import Out, Piece
from stoker.operations.drain import DrainStream
from stoker.operations.members import Member, MemberChange, MemberList


def member_list(value: MemberList, out: Out) -> None:
    """`stoker node list`."""
    now = time.time()
    rows = [
        (
            member.name, _state(member, now), member.source, member.address or "-", _who(member, now),
            ", ".join(member.jobs[:2]) + (f" and {len(member.jobs) - 2} more" if len(member.jobs) > 2 else "") or "-",
        )
        for member in value.members
    ]  # fmt: skip
    out.table(("NODE", "STATE", "FROM", "ADDRESS", "BY", "JOBS"), rows)
    for member in value.members:
        if member.why_not is not None:
            out.line("  ", (fmt.one_line(member.why_not), "yellow"))


def member_change(value: MemberChange, out: Out) -> None:
    """What was decided of a node."""
    out.line(fmt.one_line(value.told))
    if value.next_step is not None:
        out.line((fmt.one_line(f"  next: {value.next_step}"), "dim"))


def drain_stream(stream: DrainStream, out: Out) -> int:
    """`stoker node drain --wait`: what each round changed, then how it is."""
    try:
        render_streams.rounds(stream, out)
    except KeyboardInterrupt:
        out.note(f"\nstoker: {stream.node} is being drained without you, by stoker dispatch --loop")
        raise
    out.line(fmt.one_line(f"{stream.node} is {stream.member.state}"))
    return stream.exit_code


def _state(member: Member, now: float) -> Piece:
    if member.state == "pending" and member.expires_at is not None:
        return f"pending, {fmt.age(member.expires_at - now)} left", "yellow"
    if member.state == "draining" and member.drain_deadline is not None:
        left = member.drain_deadline - now
        return f"draining, {fmt.age(left)} left" if left > 0 else "draining, time is over", "yellow"
    if member.state == "active" and member.offline_since is not None:
        return f"offline {fmt.age(now - member.offline_since)}", "yellow"
    if member.state == "active":
        return "active", "green"
    return member.state, "yellow"


def _who(member: Member, now: float) -> str:
    at = member.decided_at or member.asked_at
    if at is None:
        return "-"
    return fmt.one_line(f"{member.decided_by or member.asked_by or '-'}, {fmt.age(now - at)} ago")
