"""Questions over all runs of a folder."""

from __future__ import annotations

from stoker.analysis.answers import RunQuery
from stoker.operations.registry import operation
from stoker.operations.runs import answered, found_in, whole
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
