"""Where a project stands, as a text: asked for, and as a file that is written anew after each change."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from stoker import credentials
from stoker.errors import StokerError
from stoker.operations.memory_values import Fact, Thought, Thread, Whereami, fact_of, thought_of, thread_of
from stoker.operations.session import Session
from stoker.paths import private_folder, state_dir

_FILE = "whereami.md"
_LAST_THOUGHTS = 5
_MOST = 50
_LONGEST_LINE = 400


def look(session: Session, project: str) -> Whereami:
    """How the project stands in the store."""
    reading = session.store.memory.reading
    threads = tuple(thread_of(row) for row in reading.threads(project))
    handoffs = [reading.thoughts(thread=thread.id, handoffs=True, last=1) for thread in threads[:_MOST]]
    pinned = tuple(fact_of(row) for row in reading.context(project, pinned=True))
    thoughts = tuple(thought_of(row) for row in reading.thoughts(project=project, last=_LAST_THOUGHTS))
    handed = tuple(thought_of(row) for rows in handoffs for row in rows)
    text = _text(project, threads, handed, pinned, thoughts)
    file = file_of(project, session.store.url)
    return Whereami(project, threads, handed, pinned, thoughts, str(file), text)


def file_of(project: str, store: str) -> Path:
    """Where the snapshot of a project of a store lies: in a folder of its own, whatever the project is called."""
    digest = hashlib.sha256(f"{store}\n{project}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", project)[:60].strip("-") or "project"
    return state_dir() / "projects" / f"{words}-{digest}" / _FILE


def write(session: Session, project: str) -> None:
    """Write the snapshot anew. Two at once write one after the other, each what is in the store then."""
    path = file_of(project, session.store.url)
    private_folder(path.parent.parent)
    private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(path.with_name(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            head, _, rest = look(session, project).text.partition("\n")
            text = f"{head}\n\nAs of {_when(time.time())}. `stoker whereami` asks the store.\n{rest}"
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
    except OSError as problem:
        raise StokerError(
            f"what was said is stored, but {path} could not be written: {problem.strerror}",
            next_step="stoker whereami shows the same from the store",
        ) from problem


def _text(
    project: str, threads: Sequence[Thread], handoffs: Sequence[Thought], pinned: Sequence[Fact],
    thoughts: Sequence[Thought],
) -> str:  # fmt: skip
    handed = {thought.thread: thought for thought in handoffs}
    lines = [f"# {_line(project)}", "", "## Threads", ""]
    for thread in threads[:_MOST]:
        count = f"{thread.position} thought{'' if thread.position == 1 else 's'}"
        lines.append(f"- **{thread.id}** {_line(thread.title)} ({count}, last change {_when(thread.updated_at)})")
        if (handoff := handed.get(thread.id)) is not None:
            lines.append(f"  - handed over {_when(handoff.at)}: {_line(handoff.text)}")
    lines += _more(threads) if threads else ["none"]
    lines += ["", "## Pinned", ""]
    for fact in pinned[:_MOST]:
        until = f" (until {_when(fact.expires_at)})" if fact.expires_at is not None else ""
        lines.append(f"- {_line(fact.category)} / **{_line(fact.key)}**: {_line(fact.value)}{until}")
    lines += _more(pinned) if pinned else ["nothing"]
    lines += ["", f"## Last {_LAST_THOUGHTS} thoughts", ""]
    lines += [f"- {_when(t.at)} {t.thread} #{t.position}: {_line(t.text)}" for t in thoughts] or ["none"]
    # What was stored was looked through; this is for what was stored by other hands.
    return str(credentials.redacted("\n".join(lines) + "\n"))


def _more(items: Sequence[object]) -> list[str]:
    return [f"- and {len(items) - _MOST} more"] if len(items) > _MOST else []


def _line(text: str) -> str:
    from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text

    return str(safe_text(" ".join(text.split()), _LONGEST_LINE))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
