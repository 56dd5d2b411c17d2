# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing the folders of jobs that are over."""

from __future__ import annotations

import os

from . import identity, snapshots
from .observe import observe
from .statedir import NodeError


def clean(backend, state, request):
    """Remove finished jobs older than ``older_than_s``, beyond the newest ``keep_last``.

    ``jobs`` names the only candidates. With ``snapshots_unused_s``, snapshots that no job here uses any more go, too.

    Returns what was really removed from the disk. A job with an attempt that may be alive is never touched.
    """
    finished, kept = [], 0
    wanted = request.get("jobs")
    for job in state.jobs():
        if wanted is not None and job not in wanted:
            continue
        ended = _ended_at(state, job)
        if ended is None:
            kept += 1
        else:
            finished.append((ended, job))
    finished.sort(reverse=True)
    keep_last = request.get("keep_last") or 0
    limit = identity.now() - (request.get("older_than_s") or 0)
    removed = []
    for index, (ended, job) in enumerate(finished):
        if index < keep_last or ended > limit:
            kept += 1
            continue
        gone = _remove(backend, job, bool(request.get("dry_run")))
        kept += not gone
        removed += gone
    answer = {"removed": removed, "kept": kept}
    if request.get("snapshots_unused_s") is not None:
        answer["snapshots"] = snapshots.clear(state, request["snapshots_unused_s"], bool(request.get("dry_run")))
    return answer


def _ended_at(state, job):
    """When the last attempt ended, by its record's own time on disk; None while one lives."""
    last = 0.0
    for attempt in state.attempts(job):
        if observe(attempt)["state"] in ("queued", "starting", "running"):
            return None
        path = attempt.file("exit.json")
        last = max(last, os.stat(path if os.path.exists(path) else attempt.path).st_mtime)
    return last


def _remove(backend, job, dry_run):
    try:
        sizes = backend.removable(job) if dry_run else backend.remove(job)
    except NodeError as exc:
        if exc.code == "conflict":
            return []  # something of it lives after all: kept
        raise
    return [{"job": job, "attempt": number, "bytes": size} for number, size in sizes]
