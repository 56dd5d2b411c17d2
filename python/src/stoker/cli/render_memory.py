"""What is remembered, on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.memory_values import (
    FactForgotten,
    FactList,
    FactSet,
    Found,
    FoundList,
    Thought,
    ThoughtAdded,
    Thread,
    ThreadChange,
    ThreadDetail,
    ThreadList,
    Whereami,
)


def thread_list(value: ThreadList, out: Out) -> None:
    """`stoker thread list`."""
    if not value.threads:
        out.line(f"no threads in {fmt.one_line(value.project)} · stoker thread start TITLE begins one")
        return
    rows = [
        (t.id, "ended" if t.ended_at else "goes on", str(t.position), _ago(t.updated_at), fmt.one_line(t.title))
        for t in value.threads
    ]
    out.table(("THREAD", "STATE", "THOUGHTS", "CHANGED", "TITLE"), rows)


def thread_detail(value: ThreadDetail, out: Out) -> None:
    """`stoker thread show`."""
    thread = value.thread
    out.line((thread.id, "bold"), "  ", fmt.one_line(thread.title), f"  {_state(thread)}")
    if thread.summary:
        out.line("  came of it: ", fmt.one_line(thread.summary))
    if value.handoff is not None and value.handoff not in value.thoughts:
        _thought(value.handoff, out)
        out.line("  ...")
    elif value.thoughts and value.thoughts[0].position > 1:
        out.line(f"  ... {value.thoughts[0].position - 1} before these: --last {thread.position} shows all")
    for thought in value.thoughts:
        _thought(thought, out)


def thread_change(value: ThreadChange, out: Out) -> None:
    """`stoker thread start`, `end`."""
    thread = value.thread
    said = _state(thread) if value.changed else f"{_state(thread)}, as before"
    out.line((thread.id, "bold"), f"  {said}")
    if thread.ended_at is None:
        out.line(f"  next: stoker thread think {thread.id} TEXT    ·    stoker whereami")


def thought_added(value: ThoughtAdded, out: Out) -> None:
    """`stoker thread think`, `handoff`."""
    kind = "handed over" if value.thought.handoff else "thought"
    told = f", {value.sent_to} was told" if value.sent_to else ""
    out.line((value.thread.id, "bold"), f"  {kind}, number {value.thought.position}{told}")


def fact_set(value: FactSet, out: Out) -> None:
    """`stoker memory set`."""
    fact = value.fact
    said = "written in the place of the old one" if value.replaced else "written"
    until = f", until {_when(fact.expires_at)}" if fact.expires_at is not None else ""
    out.line((fmt.one_line(fact.key), "bold"), f"  {said} for {fmt.one_line(fact.project)}{until}")


def fact_list(value: FactList, out: Out) -> None:
    """`stoker memory list`."""
    if not value.facts:
        out.line(f"no facts of {fmt.one_line(value.project)} · stoker memory set KEY VALUE writes one")
        return
    rows = [
        (fmt.one_line(f.category), fmt.one_line(f.key), "yes" if f.pinned else "-",
         _when(f.expires_at) if f.expires_at is not None else "-", _ago(f.updated_at), fmt.one_line(f.value))
        for f in value.facts
    ]  # fmt: skip
    out.table(("CATEGORY", "KEY", "PINNED", "UNTIL", "CHANGED", "VALUE"), rows)


def fact_forgotten(value: FactForgotten, out: Out) -> None:
    """`stoker memory forget`."""
    out.line((fmt.one_line(value.key), "bold"), f"  forgotten for {fmt.one_line(value.project)}")


def found_list(value: FoundList, out: Out) -> None:
    """`stoker memory search`."""
    if not value.found:
        out.line("nothing has all these words" + (" · --all looks in every project" if value.project else ""))
        return
    out.table(("WHAT", "WHERE", "WHEN", "TEXT"), [_found(found) for found in value.found])


def whereami(value: Whereami, out: Out) -> None:
    """`stoker whereami`."""
    out.text(fmt.safe(value.text))


def _found(found: Found) -> tuple[str, ...]:
    if found.fact is not None:
        fact = found.fact
        return "fact", fmt.one_line(fact.key), _ago(found.at), fmt.one_line(fact.value)
    thread = found.thread.id if found.thread is not None else "-"
    if found.thought is not None:
        return "thought", f"{thread} #{found.thought.position}", _ago(found.at), fmt.one_line(found.thought.text)
    title = found.thread.title if found.thread is not None else ""
    return "thread", thread, _ago(found.at), fmt.one_line(title)


def _thought(thought: Thought, out: Out) -> None:
    kind = " handoff" if thought.handoff else ""
    out.line("  ", (f"#{thought.position}{kind}", "bold"), f"  {_when(thought.at)} by {fmt.one_line(thought.by)}")
    for line in fmt.safe(thought.text).splitlines():
        out.line("    ", line)


def _state(thread: Thread) -> str:
    return "goes on" if thread.ended_at is None else f"ended {_when(thread.ended_at)}"


def _ago(at: float) -> str:
    return f"{fmt.age(time.time() - at)} ago"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
