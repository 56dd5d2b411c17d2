"""Messages to people, and the inbox, on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out, Piece
from stoker.operations.inbox import Inbox, Mail, MailArchived, MailRead
from stoker.operations.notify import NoticesSent, TargetList, TargetTested, TargetView
from stoker.operations.notify_listen import ListenStream

_STYLES = {"failure": "red", "success": "green"}


def target_list(value: TargetList, out: Out) -> None:
    """`stoker notify list`."""
    out.table(
        ("TARGET", "ADDRESS", "RULES", "DUE", "SENT", "GIVEN UP", "LEFT OUT", "LAST SENT", "STATE"),
        [
            (
                one.name, fmt.one_line(one.source), str(one.rules), str(one.due), str(one.sent), str(one.failed),
                str(one.left_out), f"{fmt.age(time.time() - one.sent_at)} ago" if one.sent_at else "-", _state(one),
            )
            for one in value.targets
        ],
    )  # fmt: skip


def sent(value: NoticesSent, out: Out) -> None:
    """`stoker notify send`."""
    waiting = f", {value.due} wait" if value.due else ""
    out.line(f"{value.made} new, {value.sent} sent{waiting}")


def tested(value: TargetTested, out: Out) -> None:
    """`stoker notify test`."""
    if value.sent:
        out.line(f"{value.target} took it after {fmt.duration(value.elapsed_s)}: look whether it arrived")
        return
    out.line((f"{value.target} did not take it: {fmt.one_line(value.why or 'nothing was said about why')}", "red"))


def inbox(value: Inbox, out: Out) -> None:
    """`stoker inbox list`."""
    if not value.messages:
        out.note("no messages")
        return
    out.table(("MESSAGE", "AT", "", "WHAT"), [_line(mail) for mail in value.messages])


def mails(value: MailRead, out: Out) -> None:
    """`stoker inbox read`."""
    if not value.messages:
        out.note("no messages")
    for mail in value.messages:
        out.line((f"{mail.number}  {_at(mail.at)}  {fmt.one_line(mail.title)}", _STYLES.get(mail.mood, "bold")))
        for line in mail.body.splitlines():
            out.line(f"  {fmt.one_line(line)}")


def archived(value: MailArchived, out: Out) -> None:
    """`stoker inbox archive`."""
    out.line(f"{len(value.numbers)} put away")


def _line(mail: Mail) -> tuple[Piece, ...]:
    title = fmt.one_line(mail.title)
    return str(mail.number), _at(mail.at), "" if mail.read_at else "new", (title, _STYLES.get(mail.mood, ""))


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _state(one: TargetView) -> Piece:
    if one.missing:
        return fmt.one_line(one.missing), "red"
    if one.failing_since is not None:
        again = f", next try in {fmt.age(one.next_try - time.time())}" if one.next_try else ""
        return fmt.one_line(f"fails for {fmt.age(time.time() - one.failing_since)}: {one.detail}{again}"), "red"
    return "quiet now" if one.quiet else "ok"


def listening(stream: ListenStream, out: Out) -> int:
    """`stoker notify listen`: a line for each message."""
    for heard in stream:
        who = f"{heard.user} {heard.name}".strip() or "Telegram"
        what = f"/{heard.command} " if heard.command else ""
        problem = f": {heard.problem}" if heard.problem else ""
        out.line(fmt.one_line(f"{_at(heard.at)}  {who}  {what}{heard.outcome}{problem}"))
    return stream.exit_code
