"""Finding what a caller means, and the near name when there is no such thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stoker.errors import NotFound

if TYPE_CHECKING:
    from stoker.operations.session import Session
    from stoker.store import JobRow


def job_row(session: Session, named: str) -> JobRow:
    """The job whose id is, or alone begins with, `named`. Raises NotFound with a near id, UsageError for several."""
    row = session.store.job(named) if named else None
    if row is not None:
        return row
    hint = near(named, [known.id for known in session.store.jobs(limit=1000)])
    raise NotFound(f"there is no job {named!r}.{hint}", next_step="stoker jobs lists them")


def near(named: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the name in `known` that is like `named`; empty where none is."""
    found = difflib.get_close_matches(named, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""
