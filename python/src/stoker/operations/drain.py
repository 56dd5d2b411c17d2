"""Freeing a node of its jobs, and letting it take jobs again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stoker.operations import quantities
from stoker.operations.dispatch import RoundStream
from stoker.operations.members import Member, MemberChange, jobs_there, member_of, some, start_waiting, user_name
from stoker.operations.registry import operation
from stoker.operations.rounds import make_round
from stoker.operations.session import Session
from stoker.operations.values import Problem, RoundReport

PAUSE_S = 2.0
WAIT_S = 10.0


class DrainStream(RoundStream):
    """Rounds until nothing is left on a node that is drained. Ctrl-C ends the rounds, not the draining."""

    def __init__(self, session: Session, node: str) -> None:
        super().__init__(session, PAUSE_S)
        self.node = node
        self._seen = set(jobs_there(session, node))
        self.member = member_of(session, node)

    def __iter__(self) -> Iterator[RoundReport]:
        for report in super().__iter__():
            self.member = member_of(self._session, self.node)
            yield report
            if self.member.state != "draining":
                break
        if any(row.id in self._seen and row.node is None for row in self._session.store.jobs(states=("queued",))):
            self.last = self._round()  # those that were put back go on elsewhere
            yield self.last

    def _make(self) -> tuple[Problem, ...]:
        self._seen |= set(jobs_there(self._session, self.node))
        left = (self.member.drain_deadline or 0.0) - time.time()
        return make_round(self._session, "dispatch", jobs=sorted(self._seen), wait_s=max(0.0, min(WAIT_S, left)))

    def _pause_s(self, report: RoundReport, interval_s: float) -> float:
        return 0.0 if report.changes or report.elapsed_s > WAIT_S / 2 else interval_s

    @property
    def exit_code(self) -> int:
        """1 when the node is not drained: somebody let it go on."""
        return int(self.member.state != "drained")


@operation("nodes", "node drain", "operate", destroys=True)
def drain(
    session: Session, node: str, *, timeout: float | str | None = None, migrate: bool = False, wait: bool = False
) -> MemberChange | DrainStream:
    """Free a node of jobs: nothing new starts there, what waits there goes back into the queue, what runs may finish.

    What still runs when the time is over is asked for a checkpoint (--checkpoint-signal of the job), stopped, and goes
    on elsewhere without using up a retry. Rounds carry that out: those of stoker dispatch --loop, or of --wait.

    Args:
        node: Name of the node.
        timeout: How long running jobs may take to finish (30m; asked again without it, the time goes on as it was).
        migrate: Do not wait for them.
        wait: Make rounds until nothing is left there.
    """
    from stoker.dispatch import decisions
    from stoker.dispatch.members import decide

    longest = 0.0 if migrate else quantities.seconds(timeout, "--timeout") if timeout is not None else None
    variables, now = session.whole_inventory.node(node).vars, time.time()
    there, by = jobs_there(session, node), user_name()
    decide(session.store, node, lambda row, _: decisions.drain(node, variables, row, by, longest, now), now)
    if wait:
        return DrainStream(session, node)
    problems: tuple[Problem, ...] = ()
    if there:
        problems = make_round(session, "dispatch", jobs=there, wait_s=WAIT_S if migrate else 0.0)
    if set(jobs_there(session, node)) != set(there):
        problems = make_round(session, "dispatch", jobs=there)  # those that were put back go on elsewhere
    member = member_of(session, node)
    if member.state != "draining":
        return MemberChange(member, f"{node} is drained", f"stoker node resume {node}", problems)
    told = f"{node} takes no jobs; {_left(session, member)}"
    return MemberChange(member, told, f"stoker node drain {node} --wait, or stoker dispatch --loop", problems)


def _left(session: Session, member: Member) -> str:
    """What is left of a node's jobs: those that wait there and are not back yet, and the others."""
    waiting = {row.id for row in session.store.jobs(states=("queued",), node=member.name)}
    others = [job for job in member.jobs if job not in waiting]
    in_time = (member.drain_deadline or 0.0) > time.time()
    parts = (
        ("may finish" if in_time else "being stopped, to go on elsewhere", others),
        ("on its way back into the queue", [job for job in member.jobs if job in waiting]),
    )
    return "; ".join(f"{what}: {some(jobs)}" for what, jobs in parts if jobs)


@operation("nodes", "node resume", "operate")
def resume(session: Session, node: str) -> MemberChange:
    """Let a node that was drained take jobs again. A job that is being stopped by then goes on elsewhere, or here.

    Args:
        node: Name of the node.
    """
    from stoker.dispatch import decisions
    from stoker.dispatch.members import decide

    variables, now = session.whole_inventory.node(node).vars, time.time()
    decide(session.store, node, lambda row, _: decisions.resume(node, variables, row, user_name(), now), now)
    return MemberChange(member_of(session, node), f"{node} takes jobs again", None, start_waiting(session))
