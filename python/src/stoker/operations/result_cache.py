"""The result of a job that ran before with the very same code, data and parameters, in place of running it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations.find import job_row

if TYPE_CHECKING:
    from stoker.operations.options import Named
    from stoker.operations.session import Session
    from stoker.store import JobRow

# What of a spec decides what comes out; where it runs, how long it may take and what is read of its log does not.
_FIELDS = (
    "argv", "script", "interpreter", "env", "secret_env", "workdir", "container", "user", "sandbox", "agent", "gpus",
)  # fmt: skip
_MOST = 20


def key_of(spec: Mapping[str, Any], wants: Mapping[str, Any] | None) -> str | None:
    """One value for all that decides the result of a job; None: its files are not known, as it has no snapshot."""
    snapshot = spec.get("snapshot")
    if not snapshot or (wants or {}).get("ranks"):
        return None
    # Empty and not named are the same.
    told = {name: spec[name] for name in _FIELDS if spec.get(name)}
    names = sorted((wants or {}).get("data") or ())
    whole = {"stoker.result": 1, "code": snapshot["digest"], "data": names, "spec": told}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def found(session: Session, named: Named, key: str | None) -> JobRow | None:
    """The newest job that ended well with this key, and whose results lie where this one's are to lie.

    Raises UsageError where the files of the job are not known.
    """
    if named.ranks > 1:
        raise UsageError("--cached is for one job, and --nodes makes several")
    if key is None:
        raise UsageError("--cached: which files it runs with is not known", next_step="--snapshot --cached")
    for job in session.store.succeeded_with(key, _MOST):
        row = job_row(session, job)
        if _has_results(row, named.results):
            return row
    return None


def _has_results(row: JobRow, asked: Mapping[str, Any] | None) -> bool:
    """Whether what is to be fetched was fetched, to the same folder of the same machine."""
    if not (asked or {}).get("asked"):
        return not row.results_due
    told, wanted = row.results or {}, asked or {}
    if row.results_due or told.get("done_at") is None or told.get("problem"):
        return False
    same = all(told.get(name) == wanted.get(name) for name in ("local", "host"))
    return same and (not told["paths"] or (bool(wanted["paths"]) and set(wanted["paths"]) <= set(told["paths"])))
