"""A run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from stoker.analysis.answers import RunNews
from stoker.errors import UsageError
from stoker.operations import quantities, runs_jobs
from stoker.operations.registry import Short, operation
from stoker.operations.runs import Folder, Keys, answered, base, job_of
from stoker.operations.runs_jobs import JobRun
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.follow import Follower

_LEAST_INTERVAL_S = 0.1
_OVER = ("finished", "failed", "cancelled", "unfinished")


class NewsStream:
    """Looks at a run: the first look always, then whenever something is new, until the run is over (or just once).

    `exit_code` is 1 once the run has failed, `one_look` whether it looks once alone.
    """

    def __init__(self, follower: Follower, interval_s: float, once: bool, tokens: int | None) -> None:
        self._follower = follower
        self._interval_s = interval_s
        self._tokens = tokens
        self.exit_code: int | None = None
        self.one_look = once

    def __iter__(self) -> Iterator[RunNews]:
        first = True
        while True:
            with answered():
                news = self._follower.look(self._tokens)
            # A job is over with any of these; of files alone nobody knows whether they will be written on.
            over = news.state.name in (("finished", "failed") if news.seen is None else _OVER)
            self.exit_code = int(over and news.state.name in ("failed", "unfinished"))
            if first or over or news.rows or news.alerts:
                yield news
            first = False
            if over or self.one_look:
                return
            time.sleep(self._interval_s)


@operation("runs", "runs watch", "read")
def watch(
    session: Session, run: str = ".", *, key: Keys = (), rows: Annotated[int, Short("-n")] = 10,
    since: str | None = None, every: float | str = "2s", once: bool = False, tokens: int | None = None,
    folder: Folder = None,
) -> NewsStream:  # fmt: skip
    """Show the newest points of a run and go on as they come, with what is alarming: NaN, and errors in its output.

    Only bytes that are new are read; a file that was moved away, cut or written anew is read from its beginning, and
    that is said. Ends when the run's own files tell that it is over, with code 1 when it failed.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Only these metrics; `*` matches any part of a name.
        rows: At most so many steps at a look, with the extremes of the others.
        since: Go on where an earlier answer ended: its `cursor`.
        every: How often to look (2s).
        once: One look, then end.
        tokens: How long the rows of a look may be, as CSV.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import naming
    from stoker.analysis.follow import Follower

    interval = quantities.seconds(every, "--every")
    if interval < _LEAST_INTERVAL_S:
        raise UsageError(f"--every: {every} is less than {_LEAST_INTERVAL_S} s")
    if tokens is not None and tokens < 1:
        raise UsageError(f"--tokens: {tokens} are none")
    if (job := job_of(session, run, folder)) is not None:
        return NewsStream(_of_job(session, job, since, key, rows), interval, once, tokens)
    with answered():
        follower = Follower(naming.named_run(run, base(folder)), since, keys=key, rows=rows)
    return NewsStream(follower, interval, once, tokens)


def _of_job(session: Session, job: JobRun, since: str | None, keys: Sequence[str], rows: int) -> Follower:
    from stoker.analysis.follow_remote import RemoteFollower

    found = runs_jobs.one(session, job)
    place = found.sources[0].place if found.info.kind != "log" else None
    # Named with its own path, it stays this run when the job begins another one.
    ask = JobRun(job.job, job.node, job.path or (found.info.segments[0] if place and len(found.sources) == 1 else None))
    with answered():
        return RemoteFollower(found, lambda cursor: ask.ask(session, since=cursor), since, keys=keys, rows=rows)
