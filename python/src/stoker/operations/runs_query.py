"""Questions over all runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.analysis.answers import RunCauses, RunCosts, RunQuery
from stoker.errors import StokerError, UsageError
from stoker.operations.registry import operation
from stoker.operations.runs import Folder, answered, found_in, read_run, whole
from stoker.operations.session import Session


@operation("runs", "runs query", "read")
def query(session: Session, query: str, path: str = ".") -> RunQuery:
    """List the runs for which a condition is true: `best(val_acc) > 80% and config.lr < 1e-3`.

    A metric's name is its last value; best(), min(), max(), mean(), count() and nan() are its other figures.
    `config.NAME` is a setting; id, name, project, group, state, kind, host, commit, notes and exit_code are fields,
    and `tags has TAG`. Comparisons are < <= > >= = != ~ (has the text in it), in (A, B), is known, is unknown; they are
    joined by and, or, not and brackets. Names that are no words stand in backquotes, texts in quotes. 80% is 0.8.

    Args:
        query: The condition.
        path: The folder to look in, and below it.
    """
    from stoker.analysis import query as questions

    found = found_in(session, path)
    with answered():
        return questions.query(found, query, read=lambda one: whole(session, one), folder=path)


@operation("runs", "runs cost", "read")
def cost(session: Session, path: str = ".", *, price: Sequence[str] = (), gpus: int | None = None) -> RunCosts:
    """Tell what runs cost: GPU-hours times the price of the GPU, for each and together.

    What is not known (how many GPUs, how long, what price) makes the cost of a run unknown, and says so. Prices are
    those of --price, then of `prices` in stoker.yml.

    Args:
        path: The folder, or one file.
        price: Dollars per GPU-hour, `2.5`, or of GPUs by name, `*H100*=2.5`.
        gpus: How many GPUs each run used. By default as many as its writer saw in the machine.
    """
    from stoker.analysis import cost as costs

    if gpus is not None and gpus < 0:
        raise UsageError(f"--gpus: {gpus} is no number of GPUs")
    with answered():
        prices = [costs.price(text) for text in price]
    prices += [costs.Price(entry.gpu, entry.per_hour) for entry in session.config.prices]
    told, unreadable = [], []
    for found in found_in(session, path):
        try:
            told.append(costs.cost(found, prices, gpus=gpus, read=lambda one: whole(session, one)))
        except UsageError:
            raise
        except StokerError as problem:
            unreadable.append(problem.message)
    known = [run for run in told if run.cost is not None]
    return RunCosts(
        path, tuple(told), sum(run.gpu_hours or 0.0 for run in told), sum(run.cost or 0.0 for run in known),
        len(told) - len(known), tuple(unreadable),
    )  # fmt: skip


@operation("runs", "runs why", "read")
def why(session: Session, a: str, b: str, *, key: str | None = None, folder: Folder = None) -> RunCauses:
    """Tell what may have made two runs differ: code, settings, data, packages and machine, the likeliest first.

    The other runs in the folder are asked what each difference did there: how much of the change it would explain.
    What nobody wrote down is named, and not taken for the same.

    Args:
        a: A file, a folder that holds one run, the id or name of a run in --folder, or a job (JOB, JOB:FILE).
        b: The other run.
        key: The metric whose change is to be explained; by default the most important that both have.
        folder: Where ids, names and other runs are looked up; by default here.
    """
    from stoker.analysis import cause, runs

    one, two = read_run(session, a, folder), read_run(session, b, folder)
    others = found_in(session, folder or ".")
    with answered():
        return cause.why(one, two, key=key, others=others, read=runs.read)
