"""The history of the store: every change of a job or a node, with a number to go on from."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.errors import UsageError
from stoker.operations import quantities
from stoker.operations.find import job_row
from stoker.operations.registry import operation
from stoker.operations.session import Session

NEWEST = 50
PAGE = 1000
POLL_S = 0.5


@dataclass(frozen=True)
class Event:
    """One change (stoker.event/1). `seq` grows in the order of the changes; `at` is Unix seconds of the controller."""

    schema: str
    seq: int
    at: float
    type: str
    job: str | None
    attempt: int | None
    node: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """Which events are wanted: after number `since`, not before `not_before` (Unix seconds), of these kinds."""

    since: int
    not_before: float | None
    types: tuple[str, ...]
    job: str | None
    node: str | None


class EventStream:
    """Events, oldest first; with `follow` also those to come, until the caller stops. None is lost or told twice."""

    def __init__(self, session: Session, question: Question, follow: bool) -> None:
        self._session = session
        self._question = question
        self.follow = follow

    def __iter__(self) -> Iterator[Event]:
        ask, seen = self._question, self._question.since
        while True:
            rows = self._session.store.events(
                since=seen, types=ask.types or None, job_id=ask.job, node=ask.node, not_before=ask.not_before,
                limit=PAGE,
            )  # fmt: skip
            for row in rows:
                data = {name: value for name, value in row.data.items() if name != "schema"}
                yield Event("stoker.event/1", row.seq, row.at, row.type, row.job_id, row.attempt, row.node, data)
                seen = row.seq
            if len(rows) == PAGE:
                continue
            if not self.follow:
                return
            time.sleep(POLL_S)


@operation("events", "events", "read", method="read")
def events(
    session: Session,
    *,
    since: int | str | None = None,
    type: Sequence[str] = (),  # noqa: A002
    job: str | None = None,
    node: str | None = None,
    follow: bool = False,
) -> EventStream:
    """Show what changed: jobs that started, ended or were tried again, nodes that went away or came back.

    Each event has a number. Who keeps the last one that was seen goes on with --since and misses none, whatever
    happened in between.

    Args:
        since: From here on: an event's number (the next one is the first), or how long ago (1h). By default the newest
            50, with --follow none of the past.
        type: Only this kind, such as job.failed or job.*. Repeatable.
        job: Only those of this job: its id, or the beginning of it.
        node: Only those of this node.
        follow: Go on with those to come, until Ctrl-C.
    """
    for kind in type:
        if not re.fullmatch(r"[a-z0-9_.*]+", kind):
            raise UsageError(f"--type: {kind!r} is no kind of event", next_step="write it as job.failed or node.*")
    job_id = job_row(session, job).id if job is not None else None
    not_before = None
    if since is None:
        first = session.store.last_event() if follow else _before_newest(session, tuple(type), job_id, node)
    elif isinstance(since, int) or re.fullmatch(r"-?\d+", since):
        first = int(since)
        if not 0 <= first < 2**63:
            raise UsageError(f"--since: {since} is not the number of an event", next_step="0, or how long ago: 1h")
    else:
        first, not_before = 0, time.time() - quantities.seconds(since, "--since")
    return EventStream(session, Question(first, not_before, tuple(type), job_id, node), follow)


def _before_newest(session: Session, types: tuple[str, ...], job: str | None, node: str | None) -> int:
    """The number after which the newest events come."""
    rows = session.store.events(types=types or None, job_id=job, node=node, limit=NEWEST, newest=True)
    return rows[0].seq - 1 if rows else 0
