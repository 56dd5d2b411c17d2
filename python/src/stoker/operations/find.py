"""Finding the job that a caller means."""

from __future__ import annotations

import difflib
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
    ids = [known.id for known in session.store.jobs(limit=1000)]
    near = difflib.get_close_matches(named, ids, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise NotFound(f"there is no job {named!r}.{hint}", next_step="stoker jobs lists them")
