"""Threads: lines of work with their thoughts, ended, or handed over to whoever goes on."""

from __future__ import annotations

from stoker.errors import NotFound, UsageError
from stoker.operations import quantities, whereami
from stoker.operations.find import near
from stoker.operations.memory_values import (
    ThoughtAdded,
    ThreadChange,
    ThreadDetail,
    ThreadList,
    thought_of,
    thread_of,
)
from stoker.operations.registry import operation
from stoker.operations.remembered import keepable, project_word, writer
from stoker.operations.session import Session
from stoker.operations.sessions import recipient
from stoker.store.memory_rows import ThreadRow


@operation("threads", "thread list", "read", method="list")
def list_threads(session: Session, *, all: bool = False, project: str | None = None) -> ThreadList:  # noqa: A002
    """List threads.

    Args:
        all: Also those that have ended.
        project: Of this project; by default of the one that the current folder is in.
    """
    word = project_word(project)
    return ThreadList(tuple(thread_of(row) for row in session.store.memory.reading.threads(word, ended=all)), word)


@operation("threads", "thread show", "read", method="get")
def get(session: Session, thread: str, *, last: int = 20) -> ThreadDetail:
    """Show a thread.

    Args:
        thread: Its id, or the beginning of it.
        last: So many of its thoughts, the last ones.
    """
    quantities.count(last, "--last", least=1)
    reading = session.store.memory.reading
    row = _known(session, thread)
    handoff = reading.thoughts(thread=row.id, handoffs=True, last=1)
    thoughts = tuple(thought_of(thought) for thought in reading.thoughts(thread=row.id, last=last))
    return ThreadDetail(thread_of(row), thoughts, thought_of(handoff[0]) if handoff else None)


@operation("threads", "thread start", "operate")
def start(session: Session, title: str, *, project: str | None = None, redact: bool = False) -> ThreadChange:
    """Begin a thread.

    Args:
        title: What it is about.
        project: Of this project; by default of the one that the current folder is in.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    kept, found = keepable(session, redact, title=title, project=project_word(project))
    row = session.store.memory.start(kept["title"], kept["project"], writer(session))
    whereami.write(session, row.project)
    return ThreadChange(thread_of(row), True, found)


@operation("threads", "thread think", "operate")
def think(session: Session, thread: str, text: str, *, redact: bool = False) -> ThoughtAdded:
    """Append a thought.

    Args:
        thread: The thread's id, or the beginning of it.
        text: The thought.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    return _append(session, thread, text, redact, handoff=False)


@operation("threads", "thread handoff", "operate")
def handoff(session: Session, thread: str, text: str, *, to: str | None = None, redact: bool = False) -> ThoughtAdded:
    """Hand a thread over: what is done, what comes next. stoker whereami shows it to whoever goes on.

    Args:
        thread: The thread's id, or the beginning of it.
        text: What whoever goes on has to know.
        to: Tell this session of it: its id, as stoker session list shows it.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    told = recipient(session, to) if to is not None else None
    added = _append(session, thread, text, redact, handoff=True)
    if told is None:
        return added
    note = f"the thread {added.thread.id} is handed over to you: stoker thread show {added.thread.id}"
    session.store.sessions.send([told.id], writer(session), note)
    return ThoughtAdded(added.thread, added.thought, told.id, added.redacted)


@operation("threads", "thread end", "operate")
def end(session: Session, thread: str, *, text: str | None = None, redact: bool = False) -> ThreadChange:
    """End a thread. Its thoughts stay.

    Args:
        thread: Its id, or the beginning of it.
        text: What came of it.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    kept, found = keepable(session, redact, text=text)
    row, changed = session.store.memory.end(_known(session, thread).id, kept.get("text"))
    whereami.write(session, row.project)
    return ThreadChange(thread_of(row), changed, found)


def _append(session: Session, thread: str, text: str, redact: bool, *, handoff: bool) -> ThoughtAdded:
    kept, found = keepable(session, redact, text=text)
    known = _known(session, thread)
    row, thought = session.store.memory.think(known.id, kept["text"], writer(session), handoff=handoff)
    whereami.write(session, row.project)
    return ThoughtAdded(thread_of(row), thought_of(thought), redacted=found)


def _known(session: Session, named: str) -> ThreadRow:
    """The thread whose id is, or alone begins with, `named`. Raises NotFound with a near id, UsageError for several."""
    found = session.store.memory.reading.threads_like(named) if named else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{named!r} may be any of {', '.join(row.id for row in found)}", next_step="write more of the id"
        )
    known = [row.id for row in session.store.memory.reading.threads(None, ended=True, limit=1000)]
    raise NotFound(f"there is no thread {named!r}.{near(named, known)}", next_step="stoker thread list --all")
