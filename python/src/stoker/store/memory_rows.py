"""The rows of what is remembered, as values. Times are seconds of the epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ThreadRow:
    """A line of work. `position` is that of its last thought, 0 where it has none; `ended_at` None: it goes on."""

    id: str
    number: int
    project: str
    title: str
    position: int
    created_at: float
    updated_at: float
    created_by: str
    ended_at: float | None
    summary: str | None


@dataclass(frozen=True)
class ThoughtRow:
    """One thought of a thread; `handoff`: what whoever goes on with it has to know."""

    thread_id: str
    position: int
    number: int
    at: float
    made_by: str
    handoff: bool
    text: str


@dataclass(frozen=True)
class ContextRow:
    """A fact under a key of a project. From `expires_at` on it counts as gone."""

    number: int
    project: str
    key: str
    value: str
    category: str
    pinned: bool
    expires_at: float | None
    created_at: float
    updated_at: float
    updated_by: str


@dataclass(frozen=True)
class SessionRow:
    """A client of stoker mcp. `lease_s`: it is stale when nothing was heard of it for so long."""

    id: str
    via: str
    who: str
    client: str | None
    client_version: str | None
    project: str
    host: str
    pid: int
    lease_s: float
    started_at: float
    seen_at: float
    ended_at: float | None


@dataclass(frozen=True)
class MessageRow:
    """A message to a session; `acked_at` None: nobody has said yet that it was read."""

    number: int
    at: float
    sender: str
    recipient: str
    text: str
    acked_at: float | None
    acked_by: str | None
