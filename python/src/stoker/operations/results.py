"""The results of a job: where they lie, where they go, and fetching them once it is over.

The job's row keeps, as `results`: `paths` (none: all that differs), `local` and `host` (the folder here, on the machine
that submitted it), `remote` (the folder on the node; None: the attempt's own copy of a snapshot), `asked` (they are to
be fetched), and what came of that: `done_at`, `tried_at`, `problem`, `files`, `bytes`, and `mark`: how the files lay
here then (see `mark_of`; None: paths were not named, or not all is here as it was on the node); `lost`: their machine
is gone for good.
"""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.operations.claims import holding
from stoker.operations.values import Problem, Results

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.operations.sync import Synced
    from stoker.store import JobRow, NodeRow

# A loop does not try each time again where it failed just now.
PAUSE_S = 60.0


def wanted(local: Path, remote: str | None, paths: Sequence[str], asked: bool) -> dict[str, Any]:
    """What a new job's row says of its results."""
    return {
        "paths": list(paths), "local": str(local), "host": platform.node(), "remote": remote, "asked": asked,
        "done_at": None, "tried_at": None, "problem": None, "files": None, "bytes": None, "mark": None,
    }  # fmt: skip


def mark_of(local: str, paths: Sequence[str]) -> str | None:
    """A value for how the files at these `paths` in `local` are, by size, time and mode: the same when they come again.

    None where none is named, or one cannot be looked at.
    """
    from ansible_collections.stoker.fleet.plugins.module_utils import tree

    if not paths:
        return None
    seen = []
    try:
        for path in paths:
            full = os.fsencode(Path(local) / path)
            for name in tree.beside(full) if os.path.lexists(full) else ():
                status = os.lstat(os.path.join(os.path.dirname(full), name))
                seen.append((path, name, status.st_size, status.st_mtime_ns, tree.mode_of(status)))
    except OSError:
        return None
    return sha256(repr(sorted(seen, key=lambda one: one[:2])).encode()).hexdigest()


def again(results: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The same for a job that is run again; None where its folder is on another machine."""
    if results is None or results["host"] != platform.node():
        return None
    return wanted(Path(results["local"]), results["remote"], results["paths"], results["asked"])


def fetch(session: Session, jobs: Sequence[str] | None = None) -> tuple[Problem, ...]:
    """Fetch the results that are due: those of `jobs`, or of all that are over. What could not be fetched is returned.

    Each is fetched once, also after a failure of the job, and only on the machine that it was submitted from. One that
    fails stays due; without `jobs`, it is not tried again within a minute. Before the results of `jobs` comes what they
    wrote last of their checkpoints.
    """
    from stoker.operations.checkpoint_pulls import last
    from stoker.store.due import LEASE_S

    lost = last(session, jobs) if jobs is not None else ()
    due = [row for row in session.store.due.jobs() if jobs is None or row.id in jobs]
    problems = []
    for row in due:
        results = row.results or {}
        recently = time.time() - (results.get("tried_at") or 0.0) < PAUSE_S
        if results.get("host") != platform.node() or (jobs is None and recently):
            continue
        claimed = _claimed(session, row.id, wait=jobs is not None)
        if claimed is None:
            continue
        with holding(partial(session.store.due.renew, claimed), LEASE_S):
            problem = _fetch(session, claimed)
        if problem is not None:
            problems.append(problem)
    return (*lost, *problems)


def _claimed(session: Session, job: str, *, wait: bool) -> JobRow | None:
    """The job, its results claimed for this process. None: they are fetched. Without `wait`, also: somebody does it."""
    while True:
        claimed = session.store.due.claim(job)
        if claimed is not None or not wait:
            return claimed
        now = session.store.job(job)
        if now is None or not now.results_due:
            return None
        time.sleep(0.2)


def _fetch(session: Session, row: JobRow) -> Problem | None:
    from stoker.operations import sync

    results = {**(row.results or {}), "tried_at": time.time()}
    if row.node is None:
        results.update(done_at=time.time(), files=0, bytes=0, problem=None)
        session.store.due.put(row, results, due=False)
        return None
    remote = remote_folder(row, session.store.node(row.node))
    if remote is None:
        return _failed(session, row, results, f"{row.node} never told where its state folder is")
    report, problems = sync.fetched(session, row.node, remote, results["local"], results["paths"])
    if report is None:
        words = problems[0].message if problems else f"{row.node} did not answer"
        return _failed(session, row, results, words)
    left = ", ".join(report.left_out[:20])
    results.update(
        done_at=time.time(), files=len(report.changes), bytes=report.bytes,
        problem=f"may hold secrets, so they stayed on the node: {left}" if left else None,
        mark=None if left or report.kept else mark_of(results["local"], results["paths"]),
    )  # fmt: skip
    session.store.due.put(row, results, due=False)
    count = len(report.changes)
    session.say(f"{row.id}: {count} file{'s' * (count != 1)} fetched from {row.node}:{report.remote} to {report.local}")
    for note in report.notes:
        session.say(f"{row.id}: {note}")
    if report.kept:
        session.say(f"{row.id}: kept, newer here: {', '.join(report.kept[:20])}")
    if left:
        again = command(row, session.store.node(row.node))
        session.say(f"{row.id}: left there, may hold secrets: {left} (next: {again} --with-secrets)")
    return None


def fetch_left(session: Session, row: JobRow, node: str) -> Problem | None:
    """Fetch what an attempt left of results when another one follows, before that begins or its node is given up.

    Those of the last attempt come when the job is over. Why they could not be fetched is written down, and returned.
    """
    from stoker.operations import sync

    told = row.results or {}
    if not row.results_due or row.state != "queued" or row.node is not None:
        return None
    remote = remote_folder(replace(row, node=node), session.store.node(node))
    report, why = None, f"they go to {told['host']}: stoker dispatch there fetches the next ones"
    if remote is None:
        why = f"{node} never told where its state folder is"
    elif told["host"] == platform.node():
        report, problems = sync.fetched(session, node, remote, told["local"], told["paths"])
        why = problems[0].message if problems else f"{node} did not answer"
    kind, data = "results.refused", dict[str, Any](reason=why)
    if report is not None:
        kind = "results.left"
        data = {"local": report.local, "files": len(report.changes), "bytes": report.bytes}
    with session.store.write() as transaction:
        transaction.event(kind, time.time(), job=row.id, attempt=row.attempt, node=node, data=data)
    if report is not None:
        return None
    text = f"the results that attempt {row.attempt} of {row.id} left could not be fetched: {why}"
    return Problem(node, text, None if remote is None else command_of(node, told["paths"], remote, told["local"]))


def settle(session: Session, synced: Synced, paths: Sequence[str]) -> None:
    """After a pull by hand: the results of a job that were due and came with it are due no longer."""
    for row in session.store.due.jobs():
        told = row.results or {}
        if row.node != synced.node or remote_folder(row, session.store.node(row.node)) != synced.remote:
            continue
        whole = not paths or (bool(told["paths"]) and set(told["paths"]) <= set(paths))
        missing = any(note.startswith("there is no ") for note in synced.notes)
        claimed = session.store.due.claim(row.id) if whole and not missing else None
        if claimed is not None:
            came = {
                "local": synced.local,
                "files": len(synced.changes),
                "bytes": synced.bytes,
                "problem": None,
                "mark": None,
            }
            session.store.due.put(claimed, {**told, **came, "done_at": time.time()}, due=False)


def _failed(session: Session, row: JobRow, results: dict[str, Any], why: str) -> Problem:
    results["problem"] = why
    session.store.due.put(row, results, due=True)
    text = f"the results of {row.id} could not be fetched: {why}"
    return Problem(row.node, text, command(row, session.store.node(row.node or "")))


def remote_folder(row: JobRow, node: NodeRow | None) -> str | None:
    """Where on its node the results of a job lie; None: not known."""
    results = row.results or {}
    if results.get("remote") is not None:
        return str(results["remote"])
    state = (node.facts if node is not None else {}).get("state_dir")
    if row.spec.get("snapshot") and row.attempt and state:
        return f"{state}/jobs/{row.id}/{row.attempt}/tree"
    return None


def results_of(row: JobRow, node: NodeRow | None) -> Results | None:
    """The results of a job as its users see them; None where nobody said that it has any."""
    if row.results is None:
        return None
    told = row.results
    return Results(
        tuple(told["paths"]), told["local"], told["host"], remote_folder(row, node), bool(told["asked"]),
        told["done_at"], told["files"], told["bytes"], told["problem"], command(row, node),
    )  # fmt: skip


def command(row: JobRow, node: NodeRow | None) -> str | None:
    """The very command that fetches the results of a job; None: it was on no node, or its folder is not known."""
    results, remote = row.results, remote_folder(row, node)
    if results is None or remote is None or row.node is None or results.get("lost"):
        return None
    return command_of(row.node, results["paths"], remote, results["local"])


def command_of(node: str, paths: Sequence[str], remote: str, local: str) -> str:
    """The command that fetches these from there, as a shell takes it."""
    words = ["stoker", "sync", "pull", node, *paths, "--remote", remote, "--local", local]
    # Quoted: ~ is the home folder of the node, not of this shell.
    return " ".join(shlex.quote(word) for word in words)
