"""Facts of a project under keys; searching all that is remembered; where a project stands."""

from __future__ import annotations

import time

from stoker.errors import NotFound, UsageError
from stoker.operations import quantities
from stoker.operations import whereami as snapshot
from stoker.operations.find import near
from stoker.operations.memory_values import (
    FactForgotten,
    FactList,
    FactSet,
    Found,
    FoundList,
    Whereami,
    fact_of,
    thought_of,
    thread_of,
)
from stoker.operations.registry import operation
from stoker.operations.remembered import checked_name, keepable, project_word, writer
from stoker.operations.session import Session
from stoker.store.memory_reading import Hit, wanted


@operation("memory", "memory list", "read", method="list")
def list_facts(session: Session, *, category: str | None = None, project: str | None = None) -> FactList:
    """List facts.

    Args:
        category: Only those of this one.
        project: Of this project; by default of the one that the current folder is in.
    """
    word = project_word(project)
    rows = session.store.memory.reading.context(word, category=category)
    return FactList(tuple(fact_of(row) for row in rows), word)


@operation("memory", "memory search", "read")
def search(
    session: Session, text: str, *, all: bool = False, project: str | None = None, limit: int = 20  # noqa: A002
) -> FoundList:  # fmt: skip
    """Search all of it: threads, thoughts and facts that have every word, newest first.

    Words are letters and digits, small and capital alike; `learn*` is any word that begins so. All else parts words.

    Args:
        text: The words.
        all: In all projects.
        project: In this project; by default in the one that the current folder is in.
        limit: At most so many.
    """
    quantities.count(limit, "--limit", least=1)
    if not wanted(text):
        raise UsageError(f"there is no word in {text[:80]!r}", next_step="stoker memory search learning rate")
    word = None if all else project_word(project)
    hits = session.store.memory.reading.search(text, word, limit)
    return FoundList(tuple(_found(hit) for hit in hits), word)


@operation("memory", "whereami", "read")
def whereami(session: Session, *, project: str | None = None) -> Whereami:
    """Show where a project stands: threads, pinned facts, last thoughts.

    Args:
        project: Of this project; by default of the one that the current folder is in.
    """
    return snapshot.look(session, project_word(project))


@operation("memory", "memory set", "operate")
def set(  # noqa: A001
    session: Session, key: str, value: str, *, category: str = "general", pinned: bool = False,
    expires: float | str | None = None, project: str | None = None, redact: bool = False,
) -> FactSet:  # fmt: skip
    """Write a fact: it takes the place of the one of its key.

    Args:
        key: Its key, in its project.
        value: A text, or JSON.
        category: A word to find it by.
        pinned: Show it in stoker whereami.
        expires: Show it no more after so long (12h, 90d); by default it stays.
        project: Of this project; by default of the one that the current folder is in.
        redact: Put a mark in place of what looks like a credential. By default nothing is stored then.
    """
    checked_name(key, "the key")
    checked_name(category, "--category")
    lasts = quantities.seconds(expires, "--expires") if expires is not None else None
    if lasts == 0:
        raise UsageError("--expires: a fact has to last for some time", next_step=f"stoker memory forget {key}")
    kept, found = keepable(session, redact, key=key, category=category, project=project_word(project))
    pair, more = keepable(session, redact, called=kept["key"].replace(" ", "_"), value=value)
    row, replaced = session.store.memory.put(
        kept["project"], kept["key"], pair["value"], writer(session), category=kept["category"], pinned=pinned,
        expires_at=time.time() + lasts if lasts is not None else None,
    )  # fmt: skip
    snapshot.write(session, row.project)
    return FactSet(fact_of(row), replaced, (*found, *more))


@operation("memory", "memory forget", "operate", destroys=True)
def forget(session: Session, key: str, *, project: str | None = None) -> FactForgotten:
    """Remove a fact.

    Args:
        key: Its key.
        project: Of this project; by default of the one that the current folder is in.
    """
    word = project_word(project)
    if not session.store.memory.forget(word, key):
        known = [row.key for row in session.store.memory.reading.context(word)]
        raise NotFound(f"the project {word!r} has no fact {key!r}.{near(key, known)}", next_step="stoker memory list")
    snapshot.write(session, word)
    return FactForgotten(word, key)


def _found(hit: Hit) -> Found:
    thread = thread_of(hit.thread) if hit.thread is not None else None
    if hit.context is not None:
        return Found("fact", hit.context.updated_at, None, None, fact_of(hit.context))
    if hit.thought is not None:
        return Found("thought", hit.thought.at, thread, thought_of(hit.thought), None)
    return Found("thread", thread.created_at if thread else 0.0, thread, None, None)
