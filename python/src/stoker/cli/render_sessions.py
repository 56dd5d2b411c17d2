"""Sessions of assistants and their messages on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.sessions import AssistantSession, Inbox, Message, MessagesAcked, MessagesSent, SessionList


def session_list(value: SessionList, out: Out) -> None:
    """`stoker session list`."""
    if not value.sessions:
        out.line("no assistant is connected · docs/mcp.md says how one is")
        return
    out.table(
        ("SESSION", "STATE", "CLIENT", "WHO", "PROJECT", "WHERE", "SINCE", "SEEN"),
        [_row(each) for each in value.sessions],
    )


def sent(value: MessagesSent, out: Out) -> None:
    """`stoker session send`."""
    for message in value.messages:
        out.line(f"message {message.number} to ", (fmt.one_line(message.recipient), "bold"))
    out.line("  next: stoker session inbox --sent --all shows who has read it")


def inbox(value: Inbox, out: Out) -> None:
    """`stoker session inbox`."""
    if not value.messages:
        out.line("no messages")
        return
    for message in value.messages:
        _show(message, out)
    if any(message.acked_at is None for message in value.messages):
        out.line("  next: stoker session ack NUMBER...")


def acked(value: MessagesAcked, out: Out) -> None:
    """`stoker session ack`."""
    for message in value.messages:
        out.line(f"message {message.number} of {fmt.one_line(message.sender)} {_acked(message)}")


def _show(message: Message, out: Out) -> None:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.at))
    state = "" if message.acked_at is None else f"  {_acked(message)}"
    names = f"{fmt.one_line(message.sender)} to {fmt.one_line(message.recipient)}"
    out.line((f"{message.number}", "bold"), f"  {at}  {names}{state}")
    for line in fmt.safe(message.text).splitlines():
        out.line("    ", line)


def _acked(message: Message) -> str:
    by = fmt.one_line(message.acked_by or "-")
    return f"read by {by}" if message.acked_at is not None else "not read yet"


def _row(each: AssistantSession) -> tuple[str, ...]:
    client = f"{each.client or 'not said yet'} {each.version or ''}".strip()
    now = time.time()
    return (
        each.id + (" (this one)" if each.mine else ""), each.state, fmt.one_line(client),
        fmt.one_line(f"{each.who} ({each.via})"), fmt.one_line(each.project),
        fmt.one_line(f"{each.host}, pid {each.pid}"), fmt.age(now - each.started_at),
        f"{fmt.age(each.silent_s)} ago",
    )  # fmt: skip
