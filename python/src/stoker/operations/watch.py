"""Watching a job: what is new since the last look."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from stoker.operations.find import job_row
from stoker.operations.logs import CHUNK_BYTES, NodeAway, read_chunk
from stoker.operations.registry import operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem, WatchReport
from stoker.operations.views import freshness_of, job_of

FIRST_LOOK_LINES = 20


class WatchStream:
    """Looks at a job, one `WatchReport` each, until the job is over (or just one). `last` is the newest report."""

    def __init__(self, session: Session, job: str, once: bool) -> None:
        self._session = session
        self._once = once
        self.job = job
        self.last: WatchReport | None = None

    def __iter__(self) -> Iterator[WatchReport]:
        wait_s = 0.0
        while True:
            began = time.monotonic()
            self.last = _look(self._session, self.job, wait_s)
            yield self.last
            caught_up = self.last.job.log_size is None or self.last.end >= self.last.job.log_size
            if self._once or (self.last.job.finished and caught_up):
                return
            wait_s = 10.0
            if time.monotonic() - began < 2.0:
                time.sleep(2.0)


@operation("jobs", "watch", "read")
def watch(session: Session, job: str, *, once: bool = False) -> WatchStream:
    """Watch a job: its state, the log bytes that are new since your last look, and its GPUs.

    Each user has a mark in each job's log; a later watch goes on there. The first look begins with the last 20 lines.

    Args:
        job: Id of the job, or the beginning of it.
        once: One look, then end.
    """
    return WatchStream(session, job_row(session, job).id, once)


def _look(session: Session, job: str, wait_s: float) -> WatchReport:
    """One round, then the log from the mark on; the mark moves only after the bytes are here."""
    problems = make_round(session, "observe", jobs=[job], wait_s=wait_s) if job_row(session, job).node else ()
    row = job_row(session, job)
    mark = _mark(job)
    start = end = mark["offset"] if mark and mark["attempt"] == row.attempt else 0
    data, source, reached = b"", "none", not problems
    if row.attempt and reached:
        first = mark is None
        where = {"tail": FIRST_LOOK_LINES} if first else {"offset": start}
        request = {"attempt": row.attempt, "limit": CHUNK_BYTES, "wait": 0, "stream": "out", **where}
        node = session.store.attempts(job)[-1].node
        try:
            chunk = read_chunk(session, node, job, request)
            data, start, end, source = chunk.data, chunk.offset, chunk.next, "node"
        except NodeAway as away:
            problems = (*problems, Problem(node, away.message, away.next_step, "unreachable"))
    if row.attempt and source == "none":
        copied, kept = session.store.read_log_copy(job, row.attempt)
        if copied <= start < copied + len(kept):
            data, end, source = kept[start - copied :], copied + len(kept), "copy"
    if row.attempt and source != "none":
        _set_mark(job, row.attempt, end)
    view = job_of(session, row)
    return WatchReport(view, data, start, end, source, freshness_of([view], live=reached), problems)  # type: ignore[arg-type]


def _mark_file(job: str) -> Path:
    from stoker.paths import state_dir

    folder = state_dir() / "marks"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{job}.json"


def _mark(job: str) -> dict[str, int] | None:
    try:
        mark = json.loads(_mark_file(job).read_text())
        return {"attempt": int(mark["attempt"]), "offset": int(mark["offset"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # A mark that cannot be read costs a second showing of old lines, never a lost one.
        return {"attempt": 0, "offset": 0}


def _set_mark(job: str, attempt: int, offset: int) -> None:
    file = _mark_file(job)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"attempt": attempt, "offset": offset}))
    new.replace(file)
