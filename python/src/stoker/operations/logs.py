"""Logs: reading them on the node by byte offset, following them, and the stored copy when the node is away."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from stoker.errors import NodeError, StokerError, UsageError
from stoker.operations.checkpoint_pulls import Keeper, may_leave_files
from stoker.operations.find import job_row
from stoker.operations.registry import Short, operation
from stoker.operations.rented_rounds import tending_round
from stoker.operations.results import fetch
from stoker.operations.rounds import ask_nodes, make_round
from stoker.operations.session import Session
from stoker.operations.values import Job
from stoker.operations.views import job_of
from stoker.operations.waiting import Told

if TYPE_CHECKING:
    from stoker.store import JobRow

# The most that a node sends at a time. Each time costs a run of Ansible: 4 MiB at a time halves the speed.
CHUNK_BYTES = 16 * 1024 * 1024
LONG_POLL_S = 20.0
LONGEST_PAUSE_S = 30.0
DEFAULT_TAIL = 200
Stream = Literal["out", "stdout", "stderr"]


@dataclass(frozen=True)
class LogPiece:
    """Bytes [offset, offset + len(data)) of an attempt's log, from the node or from the stored copy."""

    job: str
    attempt: int
    offset: int
    data: bytes
    source: Literal["node", "copy"]


@dataclass(frozen=True)
class Chunk:
    """What the node sent. `eof`: the attempt ended and everything was sent."""

    offset: int
    next: int
    size: int
    data: bytes
    eof: bool


class NodeAway(StokerError):
    """The node could not be reached just now."""


def read_chunk(session: Session, node: str, job: str, request: dict[str, Any]) -> Chunk:
    """Ask a node for a part of a job's log. Raises NodeAway when not reached, NodeError when refused."""
    if all(known.name != node for known in session.inventory.nodes):
        # A machine that was rented since is in it by now.
        session.forget_inventory()
    if all(known.name != node for known in session.inventory.nodes):
        raise NodeAway(f"{node} is not in the inventory")
    answers, problems = ask_nodes(session, "stoker.fleet.log", {"*": {"job": job, **request}}, [node])
    if node in answers:
        chunk = answers[node].res["chunk"]
        data = zlib.decompress(base64.b64decode(chunk["data"])) if chunk["data"] else b""
        return Chunk(chunk["offset"], chunk["next"], chunk["size"], data, chunk["eof"])
    for problem in problems:
        if problem.node == node and problem.kind == "unreachable":
            raise NodeAway(problem.message, next_step=problem.next_step)
        raise NodeError(node, problem.message, next_step=problem.next_step)
    raise NodeError(node, "did not answer")


class LogStream:
    """A job's log as it is read: iterate over it for `LogPiece`s. However long the log, it holds one piece at a time.

    Without `follow` there is at least one, with no bytes where there is no log yet (attempt 0: it has not started).
    With `follow` it goes on until the job is over, later attempts included, and comes back after a broken connection
    at the byte where it stopped. `outcome` is the job after the last piece, None until then.
    """

    def __init__(
        self,
        session: Session,
        row: JobRow,
        *,
        attempt: int | None,
        follow: bool,
        tail: int | None,
        offset: int,
        stream: Stream,
    ) -> None:
        self._session = session
        self._row = row
        self._named_attempt = attempt
        self._tail = tail
        self._offset = offset
        self._stream = stream
        self.follow = follow
        self.job = row.id
        self.outcome: Job | None = None
        self._tell = Told(session)
        self._keeper = Keeper(session, [row.id] if may_leave_files(row) else [])

    def __iter__(self) -> Iterator[LogPiece]:
        empty = True
        with self._keeper:
            for piece in self._pieces():
                empty = False
                yield piece
            self._keeper.finish()
        self._refresh()
        if empty and not self.follow:
            attempt = self._named_attempt or self._row.attempt
            yield LogPiece(self.job, attempt, 0, b"", "node" if attempt else "copy")
        if self.follow and self.outcome is not None and self.outcome.finished:
            for problem in fetch(self._session, [self.job]):
                step = f" (next: {problem.next_step})" if problem.next_step else ""
                self._session.say(f"{problem.message}{step}")
            self._refresh()

    def _pieces(self) -> Iterator[LogPiece]:
        """Those of one attempt after the other."""
        attempt = self._named_attempt or self._row.attempt
        while attempt or self._wait_for_attempt():
            attempt = attempt or self._row.attempt
            yield from self._read(attempt)
            self._refresh()
            if not self.follow or self._named_attempt is not None or not self._next_attempt(attempt):
                break
            attempt, self._offset, self._tail = self._row.attempt, 0, None
            self._session.say(f"{self.job}: attempt {attempt} on {self._row.node}")

    def text(self) -> str:
        """All of it, decoded; bytes that are not UTF-8 are replaced."""
        return b"".join(piece.data for piece in self).decode("utf-8", "replace")

    def _refresh(self) -> None:
        self._row = job_row(self._session, self.job)
        self.outcome = job_of(self._session, self._row)

    def _placed(self) -> bool:
        self._refresh()
        return self._row.attempt > 0

    def _wait_for_attempt(self) -> bool:
        """Wait (only when following) until the job is on a node. False: there is no log and will be none now."""
        if not self.follow:
            self._session.say(f"{self.job} has not started: there is no log yet")
            return False
        while not self._placed():
            if self.outcome is None or self.outcome.finished:
                return False
            self._tell(self.outcome)
            self._keeper.turn()
            tending_round(self._session, jobs=[self.job])
            if not self._placed():
                time.sleep(2.0)
        return True

    def _next_attempt(self, attempt: int) -> bool:
        """Wait for an attempt after this one, which is over. False: the job is over, there will be none."""
        while self._row.attempt <= attempt:
            if self.outcome is None or self.outcome.finished:
                return False
            self._tell(self.outcome)
            self._keeper.turn()
            due = self.outcome.next_attempt_at or 0.0
            time.sleep(min(5.0, max(0.5, due - time.time())))
            tending_round(self._session, jobs=[self.job])
            self._refresh()
        return True

    def _node(self, attempt: int) -> str:
        """The node of one attempt: a job that waits for its next one has none."""
        return next(row.node for row in self._session.store.attempts(self.job) if row.number == attempt)

    def _read(self, attempt: int) -> Iterator[LogPiece]:
        """The pieces of one attempt, to its end or to the end of what is there."""
        offset, tail, pause = self._offset, self._tail, 1.0
        node = self._node(attempt)
        while True:
            request = {
                "attempt": attempt,
                "limit": CHUNK_BYTES,
                "wait": LONG_POLL_S if self.follow else 0,
                "stream": self._stream,
                **({"tail": tail} if tail is not None else {"offset": offset}),
            }
            try:
                chunk = read_chunk(self._session, node, self.job, request)
            except NodeAway as away:
                for piece in self._copy(attempt, offset, tail, away):
                    yield piece
                    offset, tail = piece.offset + len(piece.data), None
                if not self.follow or self._taken_away(attempt):
                    return
                self._session.say(f"{away.message}; trying again in {pause:.0f} s, from byte {offset:,}")
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            except NodeError as gone:
                if self.follow and not self._live(attempt):
                    # It is over, and its folder there may be cleared away: that is no failure of the job.
                    yield from self._copy(attempt, offset, tail, gone)
                    return
                if not self._on_its_way(attempt):
                    raise
                if not self._arrives(attempt):
                    return
                continue
            pause = 1.0
            if self.follow:
                self._keeper.turn()
            if self.follow and not chunk.data and self._on_its_way(attempt):
                self._refresh()
                if self.outcome is not None:
                    self._tell(self.outcome)
            if chunk.data:
                yield LogPiece(self.job, attempt, chunk.offset, chunk.data, "node")
            offset, tail = chunk.next, None
            if chunk.eof:
                # The node has proof of the end: let the store know before anyone asks.
                make_round(self._session, "dispatch", jobs=[self.job])
                return
            if not self.follow and chunk.next >= chunk.size:
                return

    def _taken_away(self, attempt: int) -> bool:
        """Whether the machine was a rented one, and the provider's word has ended the attempt there."""
        if not self._session.config.pools:
            return False
        tending_round(self._session, jobs=[self.job])
        return not self._live(attempt)

    def _live(self, attempt: int) -> bool:
        return any(row.number == attempt and row.live for row in self._session.store.attempts(self.job))

    def _on_its_way(self, attempt: int) -> bool:
        """Whether the attempt was not known to have begun when it was last looked at."""
        return self._row.state == "starting" and self._row.attempt == attempt

    def _arrives(self, attempt: int) -> bool:
        """Its node does not have it yet: see that it gets it. False: there is no log of this attempt now."""
        if not self.follow:
            self._session.say(f"{self.job} has not started: there is no log yet")
            return False
        make_round(self._session, "dispatch", jobs=[self.job])
        self._refresh()
        if self._on_its_way(attempt):
            time.sleep(1.0)
            return True
        # Over without ever having run, or waiting again: nothing of this attempt is on the node.
        over = self.outcome is not None and self.outcome.finished and self.outcome.elapsed_s is None
        return self._row.attempt == attempt and self._row.state != "queued" and not over

    def _copy(self, attempt: int, offset: int, tail: int | None, away: StokerError) -> Iterator[LogPiece]:
        """What the stored copy has from `offset` on. Says how old it is, and what of the log it lacks."""
        if self._stream != "out":
            raise NodeError(
                str(self._row.node), f"{away.message}; only the merged log is copied", next_step=away.next_step
            )
        start, data = self._session.store.read_log_copy(self.job, attempt)
        if tail is not None:
            lines = data.splitlines(keepends=True)
            kept = b"".join(lines[-tail:]) if tail else b""
            start, data = start + len(data) - len(kept), kept
        elif offset > start:
            start, data = offset, data[offset - start :]
        comes_back = self.follow and isinstance(away, NodeAway)
        if comes_back and (not data or start > offset):
            return
        job = job_of(self._session, self._row)
        age = f"{time.time() - job.observed_at:.0f} s old" if job.observed_at is not None else "of unknown age"
        self._session.say(f"{away.message}. This is the stored copy, {age}")
        if start > offset and tail is None:
            where = "only on the node" if isinstance(away, NodeAway) else "not in it"
            self._session.say(f"bytes {offset:,} to {start:,} are {where}")
        if data:
            yield LogPiece(self.job, attempt, start, data, "copy")


@operation("jobs", "logs", "read")
def logs(
    session: Session,
    job: str,
    *,
    follow: Annotated[bool, Short("-f")] = False,
    tail: Annotated[int | None, Short("-n")] = None,
    all: bool = False,  # noqa: A002
    since_byte: int | None = None,
    attempt: int | None = None,
    stream: Stream = "out",
) -> LogStream:
    """Show a job's log, from its node; from the stored copy when the node cannot be reached.

    By default the last 200 lines; with --follow from the start.

    Args:
        job: Id of the job, or the beginning of it.
        follow: Go on until the job is over. Ctrl-C ends the showing, not the job.
        tail: Begin with the last so many lines.
        all: Begin with the first byte.
        since_byte: Begin with this byte (from 0).
        attempt: Which attempt; the newest by default.
        stream: Which output; stdout and stderr apart only for jobs submitted with --split-output.
    """
    if sum((tail is not None, all, since_byte is not None)) > 1:
        raise UsageError("--tail, --all and --since-byte say where to begin: give one of them")
    if (tail or 0) < 0 or (since_byte or 0) < 0:
        raise UsageError("--tail and --since-byte take a number of 0 or more")
    row = job_row(session, job)
    if attempt is not None and not 1 <= attempt <= row.attempt:
        raise UsageError(f"{row.id} has no attempt {attempt}", next_step=f"stoker job {row.id}")
    if tail is None and not all and since_byte is None and not follow:
        tail = DEFAULT_TAIL
    return LogStream(session, row, attempt=attempt, follow=follow, tail=tail, offset=since_byte or 0, stream=stream)
