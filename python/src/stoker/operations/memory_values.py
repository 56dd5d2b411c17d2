"""What the operations on memory answer. Times are seconds of the epoch."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.credentials import Credential
from stoker.store.memory_rows import ContextRow, ThoughtRow, ThreadRow


@dataclass(frozen=True)
class Thread:
    """A line of work. `position` is that of its last thought, 0 where it has none; `ended_at` None: it goes on."""

    id: str
    project: str
    title: str
    position: int
    created_at: float
    updated_at: float
    created_by: str
    ended_at: float | None
    summary: str | None


@dataclass(frozen=True)
class Thought:
    """One thought; `handoff`: what whoever goes on with the thread has to know."""

    thread: str
    position: int
    at: float
    by: str
    handoff: bool
    text: str


@dataclass(frozen=True)
class Fact:
    """What is known under a key of a project. From `expires_at` on (None: never) it is shown no more."""

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
class ThreadList:
    """Threads, those last thought about first."""

    threads: tuple[Thread, ...]
    project: str


@dataclass(frozen=True)
class ThreadDetail:
    """A thread and its last thoughts, oldest first; `handoff` is its last one, which may be older than these."""

    thread: Thread
    thoughts: tuple[Thought, ...]
    handoff: Thought | None


@dataclass(frozen=True)
class ThreadChange:
    """A thread that was begun or ended. `changed` is False where it was so already."""

    thread: Thread
    changed: bool
    redacted: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class ThoughtAdded:
    """A thought that was appended; `sent_to` is the session that was told of it."""

    thread: Thread
    thought: Thought
    sent_to: str | None = None
    redacted: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class FactSet:
    """A fact that was written; `replaced`: there was one under its key."""

    fact: Fact
    replaced: bool
    redacted: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class FactList:
    """The facts of a project, by category and key."""

    facts: tuple[Fact, ...]
    project: str


@dataclass(frozen=True)
class FactForgotten:
    """The key of a fact that is gone."""

    project: str
    key: str


@dataclass(frozen=True)
class Found:
    """What a search found: a thread, a thought (and its thread), or a fact; `kind` says which."""

    kind: str
    at: float
    thread: Thread | None
    thought: Thought | None
    fact: Fact | None


@dataclass(frozen=True)
class FoundList:
    """What has every word that was asked, newest first. `project` None: of all projects."""

    found: tuple[Found, ...]
    project: str | None


@dataclass(frozen=True)
class Whereami:
    """Where a project stands: threads that go on and their handoffs, pinned facts, the last thoughts, oldest first.

    `text` says the same as Markdown, and `file` has it as it was after the last change.
    """

    project: str
    threads: tuple[Thread, ...]
    handoffs: tuple[Thought, ...]
    pinned: tuple[Fact, ...]
    thoughts: tuple[Thought, ...]
    file: str
    text: str


def thread_of(row: ThreadRow) -> Thread:
    """The value of a row."""
    return Thread(
        row.id, row.project, row.title, row.position, row.created_at, row.updated_at, row.created_by, row.ended_at,
        row.summary,
    )  # fmt: skip


def thought_of(row: ThoughtRow) -> Thought:
    """The value of a row."""
    return Thought(row.thread_id, row.position, row.at, row.made_by, row.handoff, row.text)


def fact_of(row: ContextRow) -> Fact:
    """The value of a row."""
    return Fact(
        row.project, row.key, row.value, row.category, row.pinned, row.expires_at, row.created_at, row.updated_at,
        row.updated_by,
    )  # fmt: skip
