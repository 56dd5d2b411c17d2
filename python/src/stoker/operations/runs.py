"""Training runs in a folder: which there are, and what each is. What they came to is in `runs_figures`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stoker.analysis.errors import AnalysisError, Unreadable
from stoker.analysis.servers.address import Address, named
from stoker.analysis.summaries import RunSummary
from stoker.analysis.values import Key, RunConfig, RunInfo, RunKeys, RunList, RunNotes, StateName
from stoker.config import working_folder
from stoker.errors import StokerError, UsageError
from stoker.operations import runs_jobs
from stoker.operations.registry import Short, operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from stoker.analysis.model import Run
    from stoker.analysis.runs import Found

# Reading what is larger takes more than a moment.
_LARGE = 100_000_000
Keys = Annotated[Sequence[str], Short("-k")]
Folder = str | None


@contextmanager
def answered() -> Iterator[None]:
    """What analysis cannot answer, as an error of Stoker: a wrong question ends with 2, an unreadable file with 1."""
    try:
        yield
    except Unreadable as problem:
        raise StokerError(problem.message, next_step=problem.next_step) from problem
    except AnalysisError as problem:
        raise UsageError(problem.message, next_step=problem.next_step) from problem


def base(folder: str | None) -> Path | Address:
    """The folder, or the server, that names of runs are looked up in. Raises AnalysisError for half an address."""
    here = working_folder()
    return named(folder or ".", here) or here / Path(folder or ".").expanduser()


def found_in(session: Session, folder: str) -> list[Found]:
    """The runs in a folder or of a job; what cannot be read is told.

    Raises UsageError when there is no such thing, StokerError when there is nothing but what cannot be read.
    """
    from stoker.analysis import naming

    found, unreadable = look(session, folder)
    if not found:
        with answered():
            naming.refuse_unreadable(base(folder), unreadable)
    for sentence in unreadable:
        session.say(sentence)
    return found


def look(session: Session, folder: str, *, full: bool = False) -> tuple[list[Found], tuple[str, ...]]:
    """The runs in a folder or of a job, and a sentence for each file that cannot be read."""
    from stoker.analysis import runs

    if (job := job_of(session, folder, None)) is not None:
        return runs_jobs.runs_of(session, job, full=full), ()
    problems: list[str] = []
    with answered():
        return runs.runs_in(base(folder), problems), tuple(problems)


def read_run(session: Session, run: str, folder: str | None, *, full: bool = False) -> Run:
    """The run that was named, read whole; that of a job as a digest that its node made, or `full`."""
    return whole(session, one_run(session, run, folder, full=full))


def job_of(session: Session, run: str, folder: str | None) -> runs_jobs.JobRun | None:
    """The job that is meant; None for a path (whoever has a folder of that name means it) and for any other run."""
    from stoker.analysis.find import is_there

    with answered():
        place, server = base(folder), named(run, working_folder())
        if server or (isinstance(place, Path) and is_there(place / Path(run).expanduser())):
            return None
    return runs_jobs.named(session, run)


def one_run(session: Session, run: str, folder: str | None, *, full: bool = False) -> Found:
    """The run that a path, an id or a name in the folder, or the id of a job means."""
    from stoker.analysis import naming

    if (job := job_of(session, run, folder)) is not None:
        return runs_jobs.one(session, job, full=full)
    with answered():
        return naming.named_run(run, base(folder))


def whole(session: Session, found: Found) -> Run:
    """Read a run; the caller is told when that takes a while."""
    from stoker.analysis import runs

    if found.info.bytes > _LARGE:
        session.say(f"reading {found.info.title}, {found.info.bytes / 1e6:,.0f} MB ...")
    with answered():
        return runs.read(found)


@operation("runs", "runs list", "read", method="list")
def list_runs(session: Session, path: str = ".", *, state: StateName | None = None) -> RunList:
    """List the training runs in a folder and below it, or on a server, the newest last, with how each ended.

    W&B's .wandb files, TensorBoard's event files, JSON lines and CSV that have a step or a time, trainer_state.json of
    Hugging Face, repositories of Aim, and where a folder has nothing else, output.log, out.log, stdout.log and
    train.log.

    In place of a folder, `wandb:ENTITY/PROJECT` are the runs of a W&B server, `mlflow:http://HOST:5000` those of an
    MLflow tracking server; with `wandb:` alone the project of WANDB_PROJECT or of `wandb init`.

    Args:
        path: The folder, one file, or a server.
        state: Only those that stand so.
    """
    found, unreadable = look(session, path)
    wanted = tuple(run.info for run in found if state is None or run.info.state.name == state)
    return RunList(path, wanted, time.time(), unreadable)


@operation("runs", "runs find", "read")
def find(session: Session, text: str, path: str = ".", *, tag: str | None = None, group: str | None = None) -> RunList:
    """List the runs whose id, name, project, group, tags or notes have this text in them.

    Args:
        text: Any case; `""` is in all of them.
        path: The folder to look in, and below it.
        tag: Only those with exactly this tag.
        group: Only those of exactly this group.
    """
    found, unreadable = look(session, path)
    wanted = [
        run.info
        for run in found
        if any(text.lower() in word.lower() for word in _words(run.info))
        and (tag is None or tag in run.info.tags)
        and (group is None or group == run.info.group)
    ]
    return RunList(path, tuple(wanted), time.time(), unreadable)


@operation("runs", "runs latest", "read")
def latest(session: Session, path: str = ".", *, key: Keys = (), tokens: int = 500) -> RunSummary:
    """Sum up the run that was written to last.

    Args:
        path: The folder to look in, and below it.
        key: Only these metrics; `*` matches any part of a name.
        tokens: How long the answer may be.
    """
    from stoker.analysis import runs
    from stoker.analysis.summary import summarise

    newest = runs.newest(found_in(session, path))
    if newest is None:
        hint = "stoker runs list --help says what is looked for"
        raise UsageError(f"no run was found in {base(path)}", next_step=hint)
    with answered():
        return summarise(whole(session, newest), keys=key, budget=tokens)


@operation("runs", "runs summary", "read")
def summary(
    session: Session, run: str = ".", *, key: Keys = (), tokens: int = 500, folder: Folder = None
) -> RunSummary:
    """Sum up a run in few words: its state, the important metrics and how they move, what was odd in its files.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        key: Only these metrics; `*` matches any part of a name.
        tokens: How long the answer may be. Counted on the safe side: four letters or three digits are one.
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis.summary import summarise

    read = read_run(session, run, folder)
    with answered():
        return summarise(read, keys=key, budget=tokens)


@operation("runs", "runs keys", "read")
def keys(session: Session, run: str = ".", *, folder: Folder = None) -> RunKeys:
    """List the metrics of a run, with how many points each has, and count what is no metric.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import words

    read = read_run(session, run, folder)
    schema = read.schema
    listed = []
    for name, metric in sorted(read.metrics.items()):
        way = words.better(name, read.directions)
        step = metric.last_step if len(metric) else None
        listed.append(Key(name, schema.label(name), schema.group(name), way, metric.logged, step))
    return RunKeys(read.info, tuple(listed), dict(read.skipped), read.remarks)


@operation("runs", "runs config", "read")
def config(session: Session, run: str = ".", *, folder: Folder = None) -> RunConfig:
    """Show the settings of a run, nested ones by dotted names.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        folder: Where ids and names are looked up; by default here.
    """
    from stoker.analysis import compare

    found = one_run(session, run, folder)
    for remark in found.remarks:
        session.say(remark)
    return RunConfig(found.info, compare.flat(found.info.config))


@operation("runs", "runs notes", "read")
def notes(session: Session, run: str = ".", *, lines: int = 10, folder: Folder = None) -> RunNotes:
    """Show what a person wrote of a run (notes, tags, group), where it ran, and what it printed last.

    Args:
        run: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        lines: How many of the last lines of its output.
        folder: Where ids and names are looked up; by default here.
    """
    read = read_run(session, run, folder)
    return RunNotes(read.info, read.log[-lines:] if lines > 0 else ())


def _words(info: RunInfo) -> list[str]:
    return [word for word in (info.id, info.name, info.project, info.group, info.notes, *info.tags) if word]
