"""What is wrong with training runs, where they are going, and what chance alone does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from stoker.analysis.findings import RunCheck, RunChecks
from stoker.analysis.forecasts import RunForecast, SeedReport
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import Short, operation
from stoker.operations.runs import Folder, answered, base, found_in, look, read_run, whole
from stoker.operations.session import Session


@operation("runs", "runs check", "read")
def check(
    session: Session, run: str = ".", *, detector: Annotated[Sequence[str], Short("-d")] = (),
    all: bool = False, strict: bool = False, full: bool = False, folder: Folder = None,  # noqa: A002  the option's name
) -> RunChecks:  # fmt: skip
    """Look for faults at full resolution: spikes, overfitting, divergence, NaN, gradients, learning rate, silence.

    Each finding has its step, evidence and limit. What has too few points is `cannot tell`, and that nothing was found
    is said with the number of checks. Limits are set in stoker-metrics.yml, under `detectors`.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        detector: Only these detectors.
        all: Every run in the folder RUN and below it.
        strict: End with exit code 1 when a finding is an error.
        full: Of a job: have its node send every point, where its digest is not enough.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import verdict

    if not all:
        read = read_run(session, run, folder, full=full)
        with answered():
            return RunChecks((verdict.check(read, read.now(), only=detector),), strict)
    if folder is not None:
        raise UsageError(
            "--all looks at the folder RUN, so --folder has no use", next_step=f"stoker runs check --all {run}"
        )
    listed, unreadable = look(session, run, full=full)
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
            told.append(verdict.check(read, read.now(), only=detector))
    if not told and not unreadable:
        raise UsageError(
            f"no run was found in {base(run)}", next_step="stoker runs list --help says what is looked for"
        )
    return RunChecks(tuple(told), strict, unreadable)


@operation("runs", "runs eta", "read")
def eta(session: Session, run: str = ".", *, steps: float | None = None, folder: Folder = None) -> RunForecast:
    """Tell when a run will be done and what its losses will come to, and what of its GPU time was waste.

    The time is that of the newest half of its points; the values are curves that go on as they did, averaged. Both have
    intervals that hold in 9 of 10 cases. To stop is advised only where a finding of `runs check` says so.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        steps: How many steps it takes. By default as its settings say (max_steps and the like, or epochs).
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import eta as course
    from stoker.analysis import verdict

    if steps is not None and not 0 < steps < float("inf"):
        raise UsageError(f"--steps: {steps:g} is no number of steps", next_step="a number above 0")
    read = read_run(session, run, folder, full=True)
    now = read.now()
    with answered():
        return course.forecast(read, verdict.check(read, now), now, steps)


@operation("runs", "runs seeds", "read")
def seeds(
    session: Session, key: str, path: str = ".", *, min: bool = False, max: bool = False,  # noqa: A002  the options' names
) -> SeedReport:  # fmt: skip
    """Put runs together that differ by their seed alone: mean, deviation and 95% interval of one metric.

    Values are the last ones up to the newest step that all runs of a group have reached. Groups are compared with the
    best one, and each says which difference as many runs would show in 4 of 5 comparisons.

    Args:
        key: The metric.
        path: The folder to look in, and below it.
        min: The lowest is best. By default the metric's name says so.
        max: The highest is best.
    """
    from stoker.analysis import seeds as grouping

    if min and max:
        raise UsageError("--min and --max exclude each other")
    runs = [whole(session, found) for found in found_in(session, path)]
    with answered():
        return grouping.by_seed(runs, key, "min" if min else "max" if max else None)
