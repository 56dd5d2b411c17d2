"""A handle on one job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stoker.operations import (
    jobs,
    logs,
    submit,
    values,
)
from stoker.operations.session import Session


class Job:
    """One job. What it says is what was last heard; `refresh` and `wait` ask."""

    def __init__(self, session: Session, view: values.Job) -> None:
        self._session = session
        self.view = view

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The id, unique in the store."""
        return self.view.id

    @property
    def state(self) -> str:
        """queued, starting, running, succeeded, failed, cancelled, lost or dead."""
        return self.view.state

    @property
    def finished(self) -> bool:
        """Whether it is over for good."""
        return self.view.finished

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None while it runs, or when a signal ended it."""
        return self.view.exit_code

    @property
    def metrics(self) -> Mapping[str, values.Metric]:
        """The numbers found in the log, by name."""
        return self.view.metrics

    def refresh(self, *, live: bool = True) -> Job:
        """Ask the node (`live`), or read the store again; returns itself."""
        self.view = jobs.get(self._session, self.id, live=live).job
        return self

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until it is over, at most `timeout` seconds (then TimeoutError: the job goes on); returns itself."""
        ended = jobs.wait(self._session, self.id, timeout=timeout)
        self.view = ended.job
        if ended.timed_out:
            raise TimeoutError(f"{self.id} is still {self.state} after {timeout} s")
        return self

    def stop(self, grace: float | None = None) -> Job:
        """Stop it; returns itself."""
        self.view = jobs.stop(self._session, self.id, grace=grace).stopped[0].job
        return self

    def retry(self, env: Mapping[str, str] | None = None) -> Job:
        """Submit it again; the new job."""
        return Job(self._session, submit.retry(self._session, self.id, env=env).job)

    def logs(self) -> str:
        """The whole log of the newest attempt as text."""
        return logs.logs(self._session, self.id, all=True).text()

    def follow(self) -> Iterator[bytes]:
        """The log's bytes as they come, until the job is over."""
        for piece in logs.logs(self._session, self.id, follow=True):
            yield piece.data
