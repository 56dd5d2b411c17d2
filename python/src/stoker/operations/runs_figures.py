"""What training runs came to: their curves, figures, and two of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from stoker.analysis.values import (
    Direction,
    Ranked,
    Ranking,
    RunChart,
    RunComparison,
    RunHistory,
    RunStability,
    RunStats,
)
from stoker.errors import UsageError
from stoker.operations.registry import Short, operation
from stoker.operations.runs import Folder, Keys, answered, found_in, read_run, whole
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.compare import Side

_ROWS = 20


@operation("runs", "runs history", "read")
def history(
    session: Session, run: str = ".", *, key: Keys = (), rows: Annotated[int, Short("-n")] = _ROWS,
    all: bool = False, tokens: int | None = None, folder: Folder = None,  # noqa: A002  the option's name
) -> RunHistory:  # fmt: skip
    """Show a run's metrics step by step, thinned to N rows that keep the newest, the extremes and what is no number.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Only these metrics; `*` matches any part of a name.
        rows: How many.
        all: Every logged point.
        tokens: How long the answer may be, as CSV; it is thinned further to that.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import naming, thin

    if tokens is not None and tokens < 1:
        raise UsageError(f"--tokens: {tokens} are none")
    read = read_run(session, run, folder, full=all)
    with answered():
        names = naming.chosen(key, sorted(read.metrics), read.info.title)
        most = max(1, sum(len(metric) for metric in read.metrics.values())) if all else rows
        picked, total = thin.rows([read.metrics[name] for name in names], most, tokens)
    # Of a digest not every step is here; a metric has a point at as many.
    total = max([total, *(read.metrics[name].logged for name in names if read.metrics[name].figures is not None)])
    text = thin.csv(names, picked)
    formats = {name: read.schema.format(name) for name in names}
    return RunHistory(read.info, tuple(names), tuple(picked), total, thin.tokens(text), text, formats)


@operation("runs", "runs chart", "read")
def chart(
    session: Session, run: str = ".", *, key: Keys = (), width: int = 78, height: int = 12, folder: Folder = None
) -> RunChart:
    """Draw curves in the terminal, every point of them; `×` below one marks values that are no finite number.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Which metrics; `*` matches any part of a name. By default the most important one.
        width: Characters of a line.
        height: Lines of a curve.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import chart, naming, words

    read = read_run(session, run, folder)
    with answered():
        names = naming.chosen(key, sorted(read.metrics), read.info.title)
        if not key:
            names = sorted(names, key=lambda name: (words.importance(name), name))[:1]
        return RunChart(read.info, tuple(chart.draw(read.metrics[name], width, height) for name in names))


@operation("runs", "runs stats", "read")
def stats(session: Session, run: str = ".", *, key: Keys = (), folder: Folder = None) -> RunStats:
    """Show the figures of a run's metrics over all points: final, best ever, lowest, highest, mean, deviation, NaN.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Only these metrics; `*` matches any part of a name.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import naming, statistics

    read = read_run(session, run, folder)
    with answered():
        names = naming.chosen(key, sorted(read.metrics), read.info.title)
    return RunStats(
        read.info, tuple(statistics.stats(read.metrics[name], read.directions, read.schema) for name in names)
    )


@operation("runs", "runs stability", "read")
def stability(
    session: Session,
    run: str = ".",
    *,
    key: Keys = (),
    window: float = 0.2,
    full: bool = False,
    folder: Folder = None,
) -> RunStability:
    """Tell for each metric of a run whether it still moves: slope per 1,000 steps with its error, and noise.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Only these metrics; `*` matches any part of a name.
        window: The newest share of the points that is looked at, up to 1.
        full: Of a job: have its node send every point, where its digest is not enough.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import naming, statistics

    if not 0 < window <= 1:
        raise UsageError(f"--window: {window} is no share", next_step="a number above 0, up to 1")
    read = read_run(session, run, folder, full=full)
    with answered():
        names = naming.chosen(key, sorted(read.metrics), read.info.title)
    return RunStability(read.info, window, tuple(statistics.stability(read.metrics[name], window) for name in names))


@operation("runs", "runs best", "read")
def best(
    session: Session, key: str, path: str = ".", *, min: bool = False, max: bool = False,  # noqa: A002  the options' names
    count: Annotated[int, Short("-n")] = 10,
) -> Ranking:  # fmt: skip
    """Rank the runs in a folder by the best value ever of one metric; its final value stands beside it.

    Args:
        key: The metric.
        path: The folder to look in, and below it.
        min: The lowest is best. By default the metric's name says so.
        max: The highest is best.
        count: How many runs.
    """
    from stoker.analysis import naming, statistics, words

    if min and max:
        raise UsageError("--min and --max exclude each other")
    if count < 1:
        raise UsageError(f"{count} runs are none", next_step="-n 1 or more")
    runs = [whole(session, found) for found in found_in(session, path)]
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    with answered():
        if key not in names:
            naming.chosen([key], names, f"none of the {len(runs)} runs in {path}")
    said = {name: way for run in runs for name, way in run.directions.items()}
    way: Direction | None = "min" if min else "max" if max else words.better(key, said)
    if way is None:
        raise UsageError(f"which way is better is not known for {key}", next_step="--min or --max")
    ranked = []
    for run in runs:
        if key in run.metrics:
            figures = statistics.stats(run.metrics[key], {key: way})
            if figures.best is not None:
                ranked.append(Ranked(run.info, figures.best, figures.final))
    ranked.sort(key=lambda entry: entry.best.value, reverse=way == "max")
    return Ranking(key, way, tuple(ranked[:count]), len(runs) - len(ranked), len(ranked[count:]))


@operation("runs", "runs compare", "read")
def compare(
    session: Session, a: str, b: str, *, filter: Annotated[Sequence[str], Short("-f")] = (),  # noqa: A002
    group: Annotated[Sequence[str], Short("-g")] = (), threshold: Annotated[float, Short("-t")] = 0.0,
    tolerance: float | None = None, folder: Folder = None,
) -> RunComparison:  # fmt: skip
    """Compare two runs: final and best values of each metric, and the settings that differ.

    RUN@STEP looks at a run as it was at that step: each metric has its nearest point.

    Args:
        a: A file, a folder that holds one run, or the id or name of a run in --folder; @STEP after it, if wanted.
        b: The other run, in the same way.
        filter: Only metrics whose name has this in it.
        group: Only metrics of this group: what stands before the slash.
        threshold: Only metrics that differ by this many percent or more.
        tolerance: How many steps the nearest point may be away. By default as many as usually lie between two points.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import compare as comparing

    sides = [_side(session, named, folder) for named in (a, b)]
    with answered():
        return comparing.compare(
            *sides, filters=filter, groups=group, threshold=threshold, tolerance=tolerance
        )  # fmt: skip


def _side(session: Session, named: str, folder: str | None) -> Side:
    from stoker.analysis.compare import Side

    name, at, step = named.rpartition("@")
    if not at or not step.replace(".", "", 1).isdigit():
        return Side(read_run(session, named, folder))
    if not name:
        raise UsageError(f"{named}: which run?", next_step=f"RUN@{step}")
    return Side(read_run(session, name, folder, full=True), float(step))
