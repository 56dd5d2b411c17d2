"""Runs as something to hand on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from stoker.analysis.answers import ReportWritten, RunComment
from stoker.config import working_folder
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import Short, operation
from stoker.operations.runs import Folder, Keys, answered, read_run
from stoker.operations.session import Session


@operation("runs", "runs report", "operate")
def report(
    session: Session, *run: str, out: Annotated[str, Short("-o")] = "report.html", key: Keys = (),
    compare: bool = False, points: int = 1000, log: int = 0, title: str | None = None, folder: Folder = None,
) -> ReportWritten:  # fmt: skip
    """Write a report of runs: one HTML file that opens anywhere, needs no network, and can be sent to anybody.

    Curves with zoom (drag), values under the pointer, a log scale, light and dark; figures, settings and what was odd
    in the files. Hosts and paths are not in it, settings, notes and tags are. A file that is no report is never
    written over.

    Args:
        run: Files, folders that hold one run, or ids or names of runs in --folder. By default the one here.
        out: The file to write.
        key: Only these metrics; `*` matches any part of a name.
        compare: Set the other runs against the first: changes, and which is better.
        points: At most so many points of a curve, with the extremes of each part. Figures are of all points.
        log: So many of the last lines that each run printed, too. They may hold what is not for everybody.
        title: The heading.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import markup
    from stoker.analysis import report as reports

    path = working_folder() / Path(out).expanduser()
    _check(path, markup.MARK)
    runs = [read_run(session, name, folder) for name in run or (".",)]
    with answered():
        made = reports.report(runs, keys=key, points=points, compared=compare, log_lines=log, title=title)
    data = made.html.encode("utf-8")
    write_whole(path, data)
    drawn = made.panels
    infos = tuple(read.info for read in runs)
    return ReportWritten(out, len(data), infos, len(drawn.panels), drawn.drawn, drawn.total, drawn.left_out)


@operation("runs", "runs comment", "read")
def comment(
    session: Session, run: str = ".", against: str | None = None, *, key: Keys = (), remote: str | None = None,
    pull: int | None = None, folder: Folder = None,
) -> RunComment:  # fmt: skip
    """Write the text of a comment for GitHub about a run: its figures, against a base, with links to its commit.

    Nothing is sent: `stoker runs comment RUN | gh pr comment 12 --body-file -` does that. Text of the run is code in
    it, so that it neither marks up nor mentions anybody.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        against: The run that it is compared with.
        key: Only these metrics; `*` matches any part of a name. By default the 20 most important.
        remote: The git remote, where the run's writer noted none.
        pull: The pull request that it belongs to; by default a search for those that have the commit.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import comment as comments

    read = read_run(session, run, folder)
    other = read_run(session, against, folder) if against is not None else None
    with answered():
        return comments.comment(read, other, keys=key, remote=remote, pull=pull)


def _check(path: Path, mark: str) -> None:
    """Refuse to write over what is no report."""
    try:
        with path.open("rb") as file:
            ours = file.read(len(mark)) == mark.encode()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"--out: there is no folder {path.parent}") from None
        return
    except OSError as problem:
        raise UsageError(f"--out: {path} cannot be written: {problem.strerror}") from problem
    if not ours:
        raise UsageError(f"--out: {path} is there, and no report", next_step="name another file")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever finds half of it. Raises StokerError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise StokerError(f"{path} cannot be written: {problem.strerror}") from problem
