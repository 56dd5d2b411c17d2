"""The training runs of jobs: their nodes read them where they lie, and tell what is in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stoker.analysis.errors import AnalysisError, Unreadable
from stoker.errors import NodeError, StokerError, UsageError
from stoker.operations.rounds import ask_nodes
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.runs import Found
    from stoker.analysis.values import Seen

_NAMED = 5


class JobRun:
    """A job whose run is meant, where it is, and which of its files (None: those that it writes)."""

    def __init__(self, job: str, node: str, path: str | None) -> None:
        self.job = job
        self.node = node
        self.path = path

    def ask(self, session: Session, **request: Any) -> tuple[dict[str, Any], Seen]:
        """The node's reply, and where and when it came from. Raises NodeError, StokerError when it cannot be asked."""
        from stoker.analysis import remote
        from stoker.analysis.values import Seen

        asked = {"op": "run_info", "job": self.job, "path": self.path, **request}
        if all(known.name != self.node for known in session.inventory.nodes):
            raise StokerError(f"{self.node}, where {self.job} ran, is not in the inventory")
        if request.get("full"):
            session.say(f"asking {self.node} for every point of {self.job} ...")
        asked_at = time.time()
        answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": asked}, [self.node])
        for problem in problems:
            raise NodeError(problem.node or self.node, problem.message, next_step=problem.next_step)
        if self.node not in answers:
            raise NodeError(self.node, "did not answer")
        reply = answers[self.node].res["reply"]
        now, told = time.time(), reply["run"]
        # Read between these two moments: only beyond them the node's clock is another one.
        ahead = told["now"] - min(max(told["now"], asked_at), now)
        seen = Seen(
            self.node, self.job, told["attempt"], now, ahead, remote.size_of(told), told["full"],
            told["folder"], told["cursor"], told["read_bytes"],
        )  # fmt: skip
        return reply, seen


def named(session: Session, run: str) -> JobRun | None:
    """The job that `JOB` or `JOB:FILE` means, None where no job has that id. Raises UsageError for one without a node.

    Without a store there is no job, and none is made.
    """
    from stoker.store.engine import store_url

    job, _colon, path = run.partition(":")
    url = store_url(session.store_url)
    if not job or "/" in job or (url.get_backend_name() == "sqlite" and not _is_file(str(url.database))):
        return None
    row = session.store.job(job)
    if row is None:
        return None
    if row.node is None:
        raise UsageError(f"{job} is {row.state} and on no node yet, so it has written nothing")
    return JobRun(row.id, row.node, path or None)


def _is_file(path: str) -> bool:
    from pathlib import Path

    return Path(path).expanduser().is_file()


def runs_of(session: Session, job: JobRun, *, full: bool = False) -> list[Found]:
    """The runs that a job writes or wrote, read on its node."""
    return _found(session, *job.ask(session, full=full))


def _found(session: Session, reply: dict[str, Any], seen: Seen) -> list[Found]:
    from stoker.analysis import remote

    try:
        found = remote.runs_of(reply["run"], reply["observation"], seen)
    except Unreadable as problem:
        raise StokerError(problem.message, next_step=problem.next_step) from problem
    except AnalysisError as problem:
        raise UsageError(problem.message, next_step=problem.next_step) from problem
    if not found:
        for note in reply["run"]["notes"]:
            session.say(note)
    return found


def one(session: Session, job: JobRun, *, full: bool = False) -> Found:
    """The one run of a job. Raises UsageError where there is none, or several."""
    return one_and_reply(session, job, full=full)[0]


def one_and_reply(session: Session, job: JobRun, **request: Any) -> tuple[Found, dict[str, Any]]:
    """The same, with all that its node answered to a request with these fields."""
    reply, seen = job.ask(session, **request)
    found = _found(session, reply, seen)
    if len(found) == 1:
        return found[0], reply
    if not found:
        raise UsageError(
            f"{job.job} has written no metrics on {job.node} yet",
            next_step=f"stoker logs {job.job}, or name a file below its folder: {job.job}:FILE",
        )
    places = ", ".join(run.sources[0].place for run in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise UsageError(
        f"{len(found)} runs were written to on {job.node} while {job.job} ran: {places}{more}",
        next_step=f"name one: {job.job}:{found[-1].sources[0].place}",
    )
