"""What a sync did, on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.sync import Synced, SyncReport

# More names than this are for --json.
_SHOWN = 20
_MARKS = {"new": "+", "changed": "~", "attributes": "."}


def sync_report(value: SyncReport, out: Out) -> None:
    """`stoker sync push`, `pull` and `diff`: the files, a summary, and what needs a look on standard error."""
    for node in value.nodes:
        _files(node, out, all_of_them=value.dry_run)
        out.line(_summary(node, value))
        _notes(node, out)


def _files(node: Synced, out: Out, *, all_of_them: bool) -> None:
    lines = [f"  {_MARKS[c.change]} {fmt.one_line(c.name)}  {fmt.size(c.bytes)}" for c in node.changes]
    lines += [f"  - {fmt.one_line(name)}" for name in node.deleted]
    shown = lines if all_of_them else lines[:_SHOWN]
    for line in shown:
        out.line(line)
    if len(shown) < len(lines):
        out.line((f"  … and {len(lines) - len(shown)} more (--json has all)", "dim"))


def _summary(node: Synced, value: SyncReport) -> str:
    verb = {"push": "sent", "pull": "fetched"}[value.direction]
    verb = f"would be {verb}" if value.dry_run else verb
    count = len(node.changes)
    arrow = "to" if value.direction == "push" else "from"
    text = f"{count} file{'s' * (count != 1)} {verb} {arrow} {node.node}:{node.remote}"
    text += f" · {fmt.size(node.bytes)}"
    text += "" if value.dry_run else f" · {fmt.size(node.wire_bytes)} over the wire"
    if node.deleted:
        text += f" · {len(node.deleted)} deleted there"
    if value.dry_run:
        last = "never" if node.last_push is None else f"{fmt.age(time.time() - node.last_push)} ago"
        text += f" · last push: {last}"
    return fmt.one_line(text)


def _notes(node: Synced, out: Out) -> None:
    told = list(node.notes)
    if node.left_out:
        told.append(f"left out, may hold secrets: {_some(node.left_out)} (--with-secrets)")
    if node.kept:
        told.append(f"kept, newer here: {_some(node.kept)} (--force)")
    if node.stale:
        told.append(f"pushed earlier, no longer sent: {_some(node.stale)} (--delete takes them away)")
    for text in told:
        out.note(fmt.one_line(f"{node.node}: {text}"))


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
