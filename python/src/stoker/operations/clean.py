"""Clearing away finished jobs, on the nodes first, then in the store."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.registry import operation
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session
from stoker.operations.values import CleanReport, Problem, Removed
from stoker.operations.views import jobs_of

if TYPE_CHECKING:
    from stoker.store import JobRow


@operation("jobs", "clean", "operate", destroys=True)
def clean(
    session: Session, *, older_than: float | str = "24h", keep_last: int = 0, unfetched: bool = False,
    dry_run: bool = False,
) -> CleanReport:  # fmt: skip
    """Delete finished jobs: their folders on the nodes, their rows in the store, then files here that none uses.

    Those are snapshots and checkpoints. What is reported is what the nodes say they deleted. A job that runs, or whose
    node does not answer, is kept, and so is one whose results were to be fetched and have not been: perhaps nobody else
    has them.

    Args:
        older_than: Only jobs that were over this long ago (24h, 7d).
        keep_last: Keep this many of the newest finished jobs in any case.
        unfetched: Also jobs whose results were to be fetched and have not been.
        dry_run: Only say what would be deleted.
    """
    if keep_last < 0:
        raise UsageError(f"--keep-last: {keep_last} is not a number of 0 or more")
    unused_s = quantities.seconds(older_than, "--older-than")
    before = time.time() - unused_s
    rows = session.store.jobs()
    over = {view.id for view in jobs_of(session, rows) if view.finished}
    finished = sorted((row for row in rows if row.id in over), key=lambda row: row.updated_at, reverse=True)
    chosen = [row for row in finished[keep_last:] if row.updated_at <= before]
    due = tuple(row.id for row in chosen if row.results_due and not unfetched)
    chosen = [row for row in chosen if row.id not in due]
    places = {row.id: {a.node for a in session.store.attempts(row.id)} for row in chosen}
    answers, problems = _ask(session, places, dry_run, unused_s)
    removed = [_removed(row, places[row.id], answers) for row in chosen if places[row.id] <= set(answers)]
    gone = [entry for entry in removed if entry is not None]
    if not dry_run:
        session.store.delete_jobs([entry.job for entry in gone])
    staying = {row.id for row in rows} - {entry.job for entry in gone}
    # A workflow that is under way keeps the snapshot of jobs that it has not made yet.
    staying |= set(session.store.workflows.running())
    here = session.store.snapshots.clear(session.store.url, staying, unused_s, dry_run=dry_run)
    kept = session.store.checkpoints.files.clear(session.store.url, staying, unused_s, dry_run=dry_run)
    return CleanReport(
        tuple(gone), len(finished) - len(gone), dry_run, problems, unfetched=due, snapshots=len(here),
        node_snapshots=sum(len(answer.get("snapshots") or ()) for answer in answers.values()),
        checkpoints=len(kept),
    )  # fmt: skip


def _ask(
    session: Session, places: Mapping[str, set[str]], dry_run: bool, unused_s: float
) -> tuple[dict[str, Mapping[str, Any]], tuple[Problem, ...]]:
    """One request to each node that holds one of the jobs; the replies by node."""
    by_node: dict[str, list[str]] = defaultdict(list)
    for job, nodes in places.items():
        for node in nodes:
            by_node[node].append(job)
    known = {node.name for node in session.inventory.nodes} if by_node else set()
    absent = tuple(
        Problem(node, f"{node} is not in the inventory; its jobs are kept", "name the inventory with --inventory")
        for node in sorted(set(by_node) - known)
    )
    asked = {
        node: {
            "op": "clean",
            "jobs": jobs,
            "older_than_s": 0,
            "keep_last": 0,
            "dry_run": dry_run,
            "snapshots_unused_s": unused_s,
        }
        for node, jobs in by_node.items()
        if node in known
    }
    if not asked:
        return {}, absent
    results, problems = ask_nodes(session, "stoker.fleet.request", asked, list(asked))
    return {node: result.res["reply"] for node, result in results.items()}, absent + problems


def _removed(row: JobRow, nodes: set[str], answers: Mapping[str, Mapping[str, Any]]) -> Removed | None:
    """What the nodes deleted of a job; None when one of them may have kept something of it.

    A node that kept nothing of what it was asked for and names no folder of this job has none.
    """
    entries = []
    for node in nodes:
        here = [entry for entry in answers[node]["removed"] if entry["job"] == row.id]
        if not here and answers[node]["kept"]:
            return None
        entries += here
    return Removed(row.id, row.node, len(entries), sum(entry["bytes"] for entry in entries))
