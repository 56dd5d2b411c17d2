"""Sessions of assistants: who is connected, and messages between them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stoker.credentials import Credential
from stoker.errors import NotFound, UsageError
from stoker.operations.find import near
from stoker.operations.registry import operation
from stoker.operations.remembered import keepable, writer
from stoker.operations.session import Session
from stoker.store.memory_rows import MessageRow, SessionRow

EVERYBODY = "all"


@dataclass(frozen=True)
class AssistantSession:
    """A client of stoker mcp. Times are seconds of the epoch.

    `state`: `live`, `stale` (nothing was heard of it for long: its machine is away, or it was cut off) or `ended`.
    `client` and `version` are what it calls itself, None until it has said so; `mine`: it is the one that asks.
    """

    id: str
    state: str
    mine: bool
    client: str | None
    version: str | None
    who: str
    via: str
    project: str
    host: str
    pid: int
    started_at: float
    seen_at: float
    silent_s: float
    ended_at: float | None


@dataclass(frozen=True)
class SessionList:
    """Sessions, the newest first."""

    sessions: tuple[AssistantSession, ...]


@dataclass(frozen=True)
class Message:
    """A message to a session; `acked_at` None: nobody has said yet that it was read."""

    number: int
    at: float
    sender: str
    recipient: str
    text: str
    acked_at: float | None
    acked_by: str | None


@dataclass(frozen=True)
class MessagesSent:
    """One message for each session that it was for."""

    messages: tuple[Message, ...]
    redacted: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class Inbox:
    """Messages of a session (None: of all), oldest first."""

    messages: tuple[Message, ...]
    session: str | None


@dataclass(frozen=True)
class MessagesAcked:
    """Messages as they are now that they were read."""

    messages: tuple[Message, ...]


@operation("sessions", "session list", "read", method="list")
def list_sessions(session: Session, *, all: bool = False) -> SessionList:  # noqa: A002
    """List assistants: their sessions.

    Args:
        all: Also those that have ended.
    """
    now = time.time()
    rows = session.store.sessions.list()
    return SessionList(tuple(_view(session, row, now) for row in rows if all or row.ended_at is None))


@operation("sessions", "session inbox", "read")
def inbox(session: Session, of: str | None = None, *, sent: bool = False, all: bool = False) -> Inbox:  # noqa: A002
    """List messages: those that nobody has acknowledged.

    Args:
        of: Of this session; an assistant sees its own alone. By default its own, at a terminal all.
        sent: Those that it has sent, not those that it got.
        all: Also those that were acknowledged.
    """
    whose = session.client
    if of is not None:
        whose = _known(session, of).id
        if session.client not in (None, whose):
            raise UsageError(f"the messages of {whose} are for {whose}", next_step="leave `of` out for your own")
    sender = (whose or writer(session)) if sent else None
    rows = session.store.sessions.inbox(None if sent else whose, sender=sender, acked=all)
    return Inbox(tuple(_message(row) for row in rows), whose)


@operation("sessions", "session send", "operate")
def send(session: Session, to: str, text: str, *, redact: bool = False) -> MessagesSent:
    """Send a message: to a session, or to all.

    Args:
        to: Its id, or the beginning of it; all: every other one that is live.
        text: The message.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    kept, found = keepable(session, redact, text=text)
    to_whom = _others(session) if to == EVERYBODY else [recipient(session, to)]
    sent = session.store.sessions.send([row.id for row in to_whom], writer(session), kept["text"])
    return MessagesSent(tuple(_message(row) for row in sent), found)


@operation("sessions", "session ack", "operate")
def ack(session: Session, *messages: int) -> MessagesAcked:
    """Acknowledge messages.

    Args:
        messages: Their numbers, as stoker session inbox shows them.
    """
    if not messages:
        raise UsageError("there is nothing to acknowledge", next_step="stoker session inbox shows the numbers")
    rows = [_for_me(session, number) for number in messages]
    by = writer(session)
    return MessagesAcked(tuple(_message(session.store.sessions.ack(row, by)) for row in rows))


def recipient(session: Session, named: str) -> SessionRow:
    """The session that a message can go to. Raises NotFound, UsageError for one that has ended."""
    row = _known(session, named)
    if row.ended_at is not None:
        raise UsageError(f"the session {row.id} has ended", next_step="stoker session list")
    if _state(row, time.time()) == "stale":
        session.say(f"{row.id} is stale: it sees this when it comes back")
    return row


def _known(session: Session, named: str) -> SessionRow:
    rows = {row.id: row for row in session.store.sessions.list()}
    found = [rows[named]] if named in rows else [row for name, row in rows.items() if named and name.startswith(named)]
    if not found:
        raise NotFound(f"there is no session {named!r}.{near(named, rows)}", next_step="stoker session list")
    if len(found) > 1:
        listed = ", ".join(sorted(row.id for row in found)[:5])
        raise UsageError(f"{named!r} may be any of {listed}", next_step="write more of the id")
    return found[0]


def _others(session: Session) -> list[SessionRow]:
    now = time.time()
    rows = [row for row in session.store.sessions.list() if row.id != session.client and _state(row, now) == "live"]
    if not rows:
        raise UsageError("there is no other live session", next_step="stoker session list --all")
    return rows


def _for_me(session: Session, number: int) -> MessageRow:
    """A message that the caller may acknowledge: an assistant those to its own session, a person any."""
    row = session.store.sessions.message(number)
    if row is None or (session.client is not None and row.recipient != session.client):
        raise NotFound(f"there is no message {number} for you", next_step="stoker session inbox")
    return row


def _state(row: SessionRow, now: float) -> str:
    if row.ended_at is not None:
        return "ended"
    return "stale" if now - row.seen_at > row.lease_s else "live"


def _view(session: Session, row: SessionRow, now: float) -> AssistantSession:
    return AssistantSession(
        row.id, _state(row, now), row.id == session.client, row.client, row.client_version, row.who, row.via,
        row.project, row.host, row.pid, row.started_at, row.seen_at, max(0.0, now - row.seen_at), row.ended_at,
    )  # fmt: skip


def _message(row: MessageRow) -> Message:
    return Message(row.number, row.at, row.sender, row.recipient, row.text, row.acked_at, row.acked_by)
