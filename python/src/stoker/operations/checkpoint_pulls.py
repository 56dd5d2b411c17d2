"""Fetching the checkpoints of jobs: one at a time, whole or not at all, by whoever looks after them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stoker.dispatch.model import LAST_PULL_S
from stoker.errors import StokerError
from stoker.operations import results
from stoker.operations.claims import holding
from stoker.operations.rounds import ask_nodes
from stoker.operations.values import Problem

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import CheckpointRow, JobRow, PullRow

# How soon it is tried again where what was there did not count, and where the node was away. Seconds.
SOON_S, AWAY_S = 5.0, 60.0
ASK_S = 30.0
END_S = 10.0
# So many processes fetch at a time; what one of them has not begun with after so many seconds, another one takes.
MOST, PATIENT_S = 4, 10.0
_LOOK_S = 0.5
Outcome = Literal["fetched", "same", "none", "refused", "busy"]


@dataclass(frozen=True)
class Pulled:
    """What came of fetching the checkpoint of one job. `why`, where none came; `busy`: another process has it now.

    `problem` where its node could not be asked.
    """

    job: str
    outcome: Outcome
    why: str | None = None
    problem: Problem | None = None


def may_leave_files(row: JobRow) -> bool:
    """Whether something of a job is fetched before it is over: checkpoints, or what a failed attempt left."""
    return bool(row.spec.get("checkpoints") or row.results_due)


def pull_due(session: Session, jobs: Sequence[str] | None = None) -> tuple[Pulled, ...]:
    """Fetch what is due, of `jobs` or of all."""
    due = [row for row in session.store.checkpoints.due() if jobs is None or row.id in jobs]
    return tuple(pull(session, row, node) for row, node in _placed(session, due))


def _placed(session: Session, rows: Sequence[JobRow]) -> list[tuple[JobRow, str]]:
    """Each with the node of its newest attempt, where the inventory has that: one that waits for its next has none."""
    known = {node.name for node in session.inventory.nodes} if rows else set[str]()
    nodes = {attempt.job_id: attempt.node for attempt in session.store.newest_attempts([row.id for row in rows])}
    return [(row, nodes[row.id]) for row in rows if nodes.get(row.id) in known]


def pull(session: Session, row: JobRow, node: str, *, ask: bool | None = None) -> Pulled:
    """Fetch the newest complete checkpoint of the newest attempt of `row`, which is or was on `node`.

    Where another attempt follows, the results that this one left are fetched before.

    `ask`: have it written first; by default as the job says.
    """
    from stoker.store.checkpoints import LEASE_S

    before = session.store.checkpoints.pulls([row.id]).get(row.id)
    claimed = session.store.checkpoints.claim(row.id)
    if claimed is None:
        return Pulled(row.id, "busy", "it is being fetched")
    with holding(partial(session.store.checkpoints.renew, claimed), LEASE_S):
        try:
            left = results.fetch_left(session, row, node)
            if not row.spec.get("checkpoints"):
                session.store.checkpoints.end(claimed, next_at=None, settled=row.attempt)
                return Pulled(row.id, "none", problem=left)
            with session.store.checkpoints.files.draft(session.store.url, row.id) as draft:
                if draft is None:
                    soon = time.time() + SOON_S
                    session.store.checkpoints.end(claimed, next_at=soon, problem=claimed.problem)
                    return Pulled(row.id, "busy", "another process of this machine is fetching it")
                told = _Pull(session, row, node, claimed, before).into(draft, ask)
            return replace(told, problem=told.problem or left)
        except StokerError as problem:
            session.store.checkpoints.end(claimed, next_at=time.time() + AWAY_S, problem=problem.message)
            raise


class _Pull:
    """One fetch, under its claim."""

    def __init__(self, session: Session, row: JobRow, node: str, claimed: PullRow, before: PullRow | None) -> None:
        self.session, self.row, self.node, self.claimed, self.before = session, row, node, claimed, before
        self.settings = row.spec["checkpoints"]
        # Its processes are gone: what lies there is the last of this attempt.
        self.over = row.finished or (row.state == "queued" and row.node is None)
        self.settled = row.attempt if self.over else None

    def into(self, draft: Path, ask: bool | None) -> Pulled:
        rows = [row for row in self.session.store.checkpoints.of(self.row.id) if row.damaged is None]
        request = {self.node: self._request(draft, rows, ask)}
        answers, problems = ask_nodes(self.session, "stoker.fleet.checkpoint", request, [self.node], tied=True)
        if self.node not in answers:
            return self._away(problems)
        res = answers[self.node].res
        found = res["checkpoint"]
        if res["refused"] is not None:
            # What was whole on the node, and did not come: a connection broke, or a disk here is full.
            passing = found["state"] in ("ready", "large")
            return self._refused(str(res["refused"]), passing=passing, read=passing or bool(found.get("read")))
        if not res["fetched"]:
            if found.get("newer"):
                return self._refused(str(found["newer"]))
            why = None if found["state"] == "same" else str(found.get("why") or "there is none")
            self._end(self._next())
            return Pulled(self.row.id, "same" if found["state"] == "same" else "none", why)
        return self._keep(draft, found)

    def _own(self, row: CheckpointRow | None) -> CheckpointRow | None:
        """`row` where this attempt wrote it."""
        return row if row is not None and (row.of_job, row.attempt) == (self.row.id, self.row.attempt) else None

    def _request(self, draft: Path, rows: Sequence[CheckpointRow], ask: bool | None) -> Mapping[str, Any]:
        """What the node is asked, where these are sound, newest first."""
        files = self.session.store.checkpoints.files
        here = files.here()
        kept = next((row for row in rows if row.digest in here), None)
        # Another machine may have fetched a newer one than this one: what is older than that is none.
        newest, seen = next(filter(self._own, rows), None), self._own(kept)
        signal = self.row.spec.get("checkpoint_signal") or "USR1"
        asks = (self.settings.get("ask") if ask is None else ask) and not self.over
        return {
            "job": self.row.id, "attempt": self.row.attempt, "folder": str(draft), "alone": True,
            "near": str(files.tree(kept.digest)) if kept is not None else None,
            "mark": seen.mark if seen is not None else None,
            "after": newest.written_at if newest is not None else None,
            "ask": signal if asks else None,
            "wait": float(self.row.spec.get("checkpoint_grace_s") or ASK_S),
        }  # fmt: skip

    def _keep(self, draft: Path, found: Mapping[str, Any]) -> Pulled:
        store = self.session.store
        store.checkpoints.files.name(draft, found["digest"], store.url, self.row.id)
        values = {
            "of_job": self.row.id, "attempt": self.row.attempt, "node": self.node,
            **{name: found[name] for name in ("digest", "mark", "name", "step", "files", "bytes", "written_at")},
        }  # fmt: skip
        due, settled = self._next(), self.settled
        if found.get("newer") and not self.over:
            due = time.time() + SOON_S
        gone = store.checkpoints.keep(self.claimed, values, next_at=due, settled=settled)
        if gone is None:
            return self._outrun(found["digest"])
        for digest in gone:
            store.checkpoints.files.release(digest, store.url, self.row.id)
        return Pulled(self.row.id, "fetched")

    def _outrun(self, digest: str) -> Pulled:
        """The claim ran out meanwhile, and another process has it: what it writes down counts."""
        store = self.session.store
        if all(row.digest != digest for row in store.checkpoints.of(self.row.id)):
            store.checkpoints.files.release(digest, store.url, self.row.id)
        return Pulled(self.row.id, "busy", "another process has begun to fetch it")

    def _refused(self, why: str, *, passing: bool = False, read: bool = False) -> Pulled:
        """What is there does not count. The one that is kept stays the newest.

        `passing`: the next try may bring it. `read`: the node has read all of it for that, and is not to do so at once.
        """
        if passing and self.over:
            return self._failed_last(why)
        event = None if why == self.claimed.problem else {"attempt": self.row.attempt, "node": self.node}
        every_s = float(self.settings["every_s"])
        due = time.time() + min(self._longer() if read else SOON_S, every_s)
        self.session.store.checkpoints.end(self.claimed, next_at=due, settled=self.settled, problem=why, event=event)
        return Pulled(self.row.id, "refused", why)

    def _away(self, problems: Sequence[Problem]) -> Pulled:
        """Its node could not be asked. A next attempt does not wait for it; of a job that is over it stays due.

        One that answered with a failure is asked again for a while.
        """
        why = problems[0].message if problems else f"{self.node} did not answer"
        if problems and problems[0].kind == "failed" and self.over:
            return self._failed_last(why)
        return self._failed(why, None if self.row.finished else self.settled, AWAY_S)

    def _failed_last(self, why: str) -> Pulled:
        """What an attempt that is over wrote last did not come: another try, while a next one may wait for it."""
        attempts = self.session.store.newest_attempts([self.row.id])
        seen = attempts[0].observed_at if attempts else None
        late = seen is None or time.time() - seen > LAST_PULL_S
        return self._failed(why, self.settled if late else None, min(self._longer(), LAST_PULL_S / 4))

    def _longer(self) -> float:
        """A pause that is twice the one before, where that came to nothing either. Seconds."""
        last = self.before
        if last is None or last.problem is None or last.next_at is None or last.tried_at is None:
            return SOON_S
        return max(SOON_S, 2 * (last.next_at - last.tried_at))

    def _failed(self, why: str, settled: int | None, pause_s: float) -> Pulled:
        event = None if why == self.claimed.problem else {"attempt": self.row.attempt, "node": self.node}
        due = time.time() + pause_s
        self.session.store.checkpoints.end(self.claimed, next_at=due, settled=settled, problem=why, event=event)
        text = f"the newest checkpoint of {self.row.id} could not be fetched: {why}"
        return Pulled(self.row.id, "refused", why, Problem(self.node, text, f"stoker checkpoint pull {self.row.id}"))

    def _next(self) -> float:
        return time.time() + float(self.settings["every_s"])

    def _end(self, next_at: float) -> None:
        self.session.store.checkpoints.end(self.claimed, next_at=next_at, settled=self.settled)


def last(session: Session, jobs: Sequence[str]) -> tuple[Problem, ...]:
    """Fetch what attempts of these jobs wrote last that are over; which of their nodes could not be asked."""
    told: dict[str, Pulled] = {}
    while open_ones := [row for row in session.store.checkpoints.unsettled(jobs) if row.id not in told]:
        placed = _placed(session, open_ones)
        done = [pull(session, row, node) for row, node in placed]
        told.update((one.job, one) for one in done if one.outcome != "busy")
        told.update((row.id, _nowhere(row)) for row in open_ones if row.id not in {each.id for each, _ in placed})
        if any(one.outcome == "busy" for one in done):
            time.sleep(_LOOK_S)  # whoever has it renews its claim, or that runs out
    return tuple(one.problem for one in told.values() if one.problem is not None)


def _nowhere(row: JobRow) -> Pulled:
    why = "its node is not in the inventory"
    text = f"the newest checkpoint of {row.id} could not be fetched: {why}"
    return Pulled(row.id, "refused", why, Problem(None, text, f"stoker checkpoint pull {row.id}"))


def use(session: Session, job: str) -> None:
    """Note that `job` needs the files of its checkpoints that are on this machine."""
    files = session.store.checkpoints.files
    for row in session.store.checkpoints.of(job):
        if row.digest in files.here():
            files.use(row.digest, session.store.url, job)


class _Fetcher:
    """A process that fetches what is due of `jobs`, one after the other."""

    def __init__(self, session: Session, jobs: Sequence[str]) -> None:
        self.jobs, self._began = jobs, time.monotonic()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stoker.checkpoint_fetcher"], env={**os.environ, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said,
        )  # fmt: skip
        inventory, config = session.inventory_path, session.config.file
        asked = {
            "store_url": session.store_url, "jobs": list(jobs),
            "inventory": str(inventory) if inventory else None, "config": str(config) if config else None,
        }  # fmt: skip
        try:
            with self.process.stdin as to:  # type: ignore[union-attr]
                to.write(json.dumps(asked).encode())
        except BrokenPipeError:
            return  # it could not begin: what is due stays so

    @property
    def new(self) -> bool:
        """Whether it may come to all of its jobs shortly."""
        return time.monotonic() - self._began < PATIENT_S

    def failure(self) -> str | None:
        """Why it could not do it, once it has ended. What came of each job is in the store."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        if self.process.returncode == 0:
            return None
        return lines[-1] if lines else f"its process ended with {self.process.returncode}"


class Keeper:
    """Fetches what is due beside rounds, in processes of its own: a large checkpoint holds up no round and no lease.

    Nor the checkpoints of other jobs, while fewer than `MOST` are large.
    """

    def __init__(self, session: Session, jobs: list[str] | None = None) -> None:
        self._session = session
        self._jobs = jobs
        self._running: list[_Fetcher] = []
        self._told: str | None = None

    def turn(self) -> None:
        """Begin with what is due, as far as no process is at it."""
        if self._jobs == []:
            return
        for fetcher in [each for each in self._running if each.process.poll() is not None]:
            self._running.remove(fetcher)
            self._tell(fetcher.failure())
        free = MOST - len(self._running)
        if free <= 0:
            return
        taken = {job for fetcher in self._running if fetcher.new for job in fetcher.jobs}
        due = [row.id for row in self._session.store.checkpoints.due() if self._jobs is None or row.id in self._jobs]
        left = [job for job in due if job not in taken]
        self._running += [_Fetcher(self._session, left[first::free]) for first in range(min(free, len(left)))]

    def _tell(self, why: str | None) -> None:
        """Say, once, why a process could not do it."""
        if why is not None and why != self._told:
            self._told = why
            self._session.say(f"checkpoints are not fetched: {why}")

    def finish(self) -> None:
        """Let the processes end by themselves: the job is over, and what they fetch is wanted."""
        for fetcher in self._running:
            fetcher.process.wait()

    def close(self) -> None:
        """End the processes: what came of a file is kept for the next try."""
        running, self._running = [each.process for each in self._running], []
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
