"""What is wrong with training runs, where they are going, and what chance alone does to them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from stoker.analysis.findings import RunCheck, RunChecks
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import Short, operation
from stoker.operations.runs import Folder, answered, base, look, read_run, whole
from stoker.operations.session import Session


@operation("runs", "runs check", "read")
def check(
    session: Session, run: str = ".", *, detector: Annotated[Sequence[str], Short("-d")] = (),
    all: bool = False, strict: bool = False, folder: Folder = None,  # noqa: A002  the option's name
) -> RunChecks:  # fmt: skip
    """Look for faults at full resolution: spikes, overfitting, divergence, NaN, gradients, learning rate, silence.

    Each finding has its step, evidence and limit. What has too few points is `cannot tell`, and that nothing was found
    is said with the number of checks. Limits are set in stoker-metrics.yml, under `detectors`.

    Args:
        run: A file, a folder that holds one run, or the id or name of a run in --folder.
        detector: Only these detectors.
        all: Every run in the folder RUN and below it.
        strict: End with exit code 1 when a finding is an error.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import verdict

    now = time.time()
    if not all:
        read = read_run(session, run, folder)
        with answered():
            return RunChecks((verdict.check(read, now, only=detector),), strict)
    if folder is not None:
        raise UsageError("--all looks at the folder RUN, so --folder has no use", next_step=f"stoker runs check --all {run}")
    listed, unreadable = look(run)
    told: list[RunCheck] = []
    for found in listed:
        try:
            read = whole(session, found)
        except UsageError:
            raise
        except StokerError as problem:  # one file that cannot be read hides no other
            unreadable = (*unreadable, problem.message)
            continue
        with answered():
            told.append(verdict.check(read, now, only=detector))
    if not told and not unreadable:
        raise UsageError(f"no run was found in {base(run)}", next_step="stoker runs list --help says what is looked for")
    return RunChecks(tuple(told), strict, unreadable)
