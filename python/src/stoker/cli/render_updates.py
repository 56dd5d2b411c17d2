"""Stoker's versions and what an update did, on a terminal."""

from __future__ import annotations

import time

from stoker.cli import format as fmt
from stoker.cli.out import Out
from stoker.operations.updates import NodeSide, NodeUpdate, UpdateCheck, UpdateReport

_WORDS = {
    "updated": "updated",
    "present": "has it already, and it passed its test",
    "put_back": "put back",
    "put_back_failed": "PUT BACK FAILED",
    "refused": "refused",
    "unknown": "unknown",
    "untouched": "untouched",
}
_USES = {"current": "as here", "other": "another one", "none": "nothing yet", "kept": "kept back", "unknown": "unknown"}


def check(value: UpdateCheck, out: Out) -> None:
    """`stoker update check`."""
    said = "they agree" if value.agree else "they do not agree (next: pip install --force-reinstall stoker)"
    out.line(f"stoker {value.package} · collection {value.collection or 'unknown'} · {said}")
    wanted = sorted({node.wanted for node in value.nodes if node.wanted})
    if wanted:
        out.line(f"node side here: {', '.join(wanted)}")
    if value.nodes:
        out.table(("NODE", "USES", "VERSION", "JOBS", "PYTHON"), [_row(node) for node in value.nodes])
    for node in value.nodes:
        _details(node, out)


def _row(node: NodeSide) -> list[str]:
    jobs = "unknown" if node.use == "unknown" else str(len(node.jobs))
    return [node.node, _USES[node.use], node.used or "-", jobs, fmt.one_line(node.python or "-")]


def _details(node: NodeSide, out: Out) -> None:
    if node.use == "kept":
        out.line(fmt.one_line(f"  {node.node}  {node.wanted} failed there: {node.kept_reason}"))
    for item in node.versions:
        marks = [] if item.intact else ["damaged"]
        marks += [f"runs {', '.join(item.jobs)}"] if item.jobs else []
        if marks or item.version != node.used:
            brought = f"brought {fmt.age(max(0.0, time.time() - item.brought_at))} ago"
            out.line(fmt.one_line(f"  {node.node}  {item.version}  {'  '.join([brought, *marks])}"))
    for fault in node.faults:
        out.line(fmt.one_line(f"  {node.node}  cannot be updated: {fault}"))


def report(value: UpdateReport, out: Out) -> None:
    """`stoker update nodes`: a line for each node, what failed, and what to do."""
    for node in value.nodes:
        out.line(fmt.one_line(f"{node.node}  {_summary(node, dry_run=value.dry_run)}"))
        for text in (_stale(node) if node.stale else node.reason, node.back_reason):
            if text:
                out.line(fmt.one_line(f"  {text}"))
        if node.next_step:
            out.note(fmt.one_line(f"  next: {node.next_step}"))
    if value.refused:
        out.note("nothing was changed, on any node")
    elif value.exit_code:
        done = sum(node.outcome in ("updated", "present") for node in value.nodes)
        out.note(f"stopped: {done} of {len(value.nodes)} have it; those that are untouched are as they were")
        if not value.dry_run and any(node.outcome == "untouched" for node in value.nodes):
            out.note("until the next command, which brings them this version, untested")
            out.note("  next: with dispatchers stopped, go back here first: pip install stoker==VERSION")


def _stale(node: NodeUpdate) -> str:
    heard = "it was never heard of"
    if node.heard_at is not None:
        heard = f"last heard of {fmt.age(max(0.0, time.time() - node.heard_at))} ago"
    return f"stale: it does not answer ({node.reason}); {heard}"


def _summary(node: NodeUpdate, *, dry_run: bool) -> str:
    before = node.before or "nothing"
    if node.outcome == "updated":
        return f"{'would be updated' if dry_run else 'updated'}  {before} → {node.version}"
    if node.outcome == "present" and dry_run:
        return f"has it already  {node.version}"
    if node.outcome == "present":
        return f"{_WORDS['present']}  {node.version}"
    if node.outcome == "put_back":
        return f"put back  {node.version} failed; {before} is there again, its hash compared, and it answers"
    return _WORDS[node.outcome] + (f"  {node.version}" if node.outcome == "put_back_failed" else "")
