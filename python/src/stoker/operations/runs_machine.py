"""The run of a job beside its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from stoker.analysis.machine_values import MachineEvent, RunMachine
from stoker.errors import UsageError
from stoker.operations import runs_jobs
from stoker.operations.registry import Short, operation
from stoker.operations.runs import answered, job_of
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.values import Seen

_ROWS = 20


@operation("runs", "runs machine", "read")
def machine(session: Session, run: str, *, rows: Annotated[int, Short("-n")] = _ROWS) -> RunMachine:
    """Put the step rate of a job's run beside what its machine did: GPU load, throttling, Xid, memory, disks.

    What is odd in the curve is told with what began in the same seconds. That is no proof of a cause; and where there
    are no samples of these seconds, that is said.

    Args:
        run: A job (JOB, JOB:FILE).
        rows: In how many parts of equal time it is shown.
    """
    from stoker.analysis import machine as joining
    from stoker.analysis import verdict

    if not 2 <= rows <= 1000:
        raise UsageError(f"{rows} rows: 2 to 1000 can be shown", next_step=f"-n {_ROWS}")
    if (job := job_of(session, run, None)) is None:
        raise UsageError(
            f"there is no job {run!r}, and of files alone nobody knows what the machine did", next_step="stoker jobs"
        )
    found, reply = runs_jobs.one_and_reply(session, job, full=True, machine=True)
    read, seen = found.run, found.info.seen
    assert read is not None
    assert seen is not None
    with answered():
        told = verdict.check(read, read.now())
        return joining.meet(read, told.findings, reply["run"]["machine"], _alerts(session, job.node, seen), rows)


def _alerts(session: Session, node: str, seen: Seen) -> list[MachineEvent]:
    """The alerts of the node that telemetry saw (disks, memory, temperature), by the node's own clock."""
    found: list[MachineEvent] = []
    open_ones: dict[str, MachineEvent] = {}
    for event in session.store.events(types=["alert.raised", "alert.cleared"], node=node, limit=1000, newest=True):
        data, at = event.data or {}, event.at + seen.ahead_s
        if event.type == "alert.raised":
            open_ones[data["key"]] = MachineEvent("alert", at, seen.at + seen.ahead_s, str(data["text"]))
        elif data["key"] in open_ones:
            began = open_ones.pop(data["key"])
            found.append(MachineEvent("alert", began.at, at, began.says))
    return found + list(open_ones.values())
