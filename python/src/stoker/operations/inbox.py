"""The inbox: messages that stay in the store until somebody has read them and put them away."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.errors import NotFound, UsageError
from stoker.notify_settings import INBOX
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.store import NoticeRow


@dataclass(frozen=True)
class Mail:
    """A message. `number` is that of its event; times are seconds of the epoch, None: not yet."""

    number: int
    at: float
    title: str
    body: str
    mood: str
    read_at: float | None
    archived_at: float | None


@dataclass(frozen=True)
class Inbox:
    """Messages, newest first."""

    messages: tuple[Mail, ...]


@dataclass(frozen=True)
class MailRead:
    """Messages, to be shown in full: they are read now."""

    messages: tuple[Mail, ...]


@dataclass(frozen=True)
class MailArchived:
    """The messages that were put away just now."""

    numbers: tuple[int, ...]


@operation("inbox", "inbox list", "read", method="list")
def list_inbox(session: Session, *, unread: bool = False, archived: bool = False, limit: int = 50) -> Inbox:
    """Show the messages of the inbox, newest first.

    Args:
        unread: Only those that nobody has read.
        archived: Those that were put away instead.
        limit: At most this many.
    """
    if limit < 1:
        raise UsageError(f"--limit: {limit} is not a number of 1 or more")
    rows = session.store.notices.newest(INBOX, limit, unread=unread, archived=archived)
    return Inbox(tuple(_mail(row) for row in rows))


@operation("inbox", "inbox read", "operate")
def read(session: Session, *numbers: int) -> MailRead:
    """Show messages in full, and note that they are read.

    Args:
        numbers: Which; by default all that are unread.
    """
    store = session.store.notices
    rows = _named(session, numbers) if numbers else store.newest(INBOX, 1000, unread=True)
    store.mark(INBOX, [row.seq for row in rows], "read_at", now=time.time())
    marked = {row.seq: row for row in store.some(INBOX, [row.seq for row in rows])}
    return MailRead(tuple(_mail(marked[row.seq]) for row in rows))


@operation("inbox", "inbox archive", "operate")
def archive(session: Session, *numbers: int) -> MailArchived:
    """Put messages away.

    Args:
        numbers: Which; by default all that are read.
    """
    store = session.store.notices
    rows = _named(session, numbers) if numbers else [row for row in store.newest(INBOX, 1000) if row.read_at]
    return MailArchived(tuple(store.mark(INBOX, [row.seq for row in rows], "archived_at", now=time.time())))


def _named(session: Session, numbers: tuple[int, ...]) -> list[NoticeRow]:
    found = {row.seq: row for row in session.store.notices.some(INBOX, numbers)}
    if missing := [number for number in numbers if number not in found]:
        raise NotFound(f"there is no message {missing[0]} in the inbox", next_step="stoker inbox list")
    return [found[number] for number in numbers]


def _mail(row: NoticeRow) -> Mail:
    return Mail(row.seq, row.at, row.title, row.body, row.mood, row.read_at, row.archived_at)
