"""The result of a job that ran before with the very same code, data and parameters, in place of running it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.operations import results, sync
from stoker.operations.find import job_row
from stoker.operations.rounds import ask_nodes

if TYPE_CHECKING:
    from stoker.operations.options import Named
    from stoker.operations.session import Session
    from stoker.store import JobRow

# What of a spec decides what comes out; where it runs, how long it may take and what is read of its log does not.
_FIELDS = (
    "argv", "script", "interpreter", "env", "secret_env", "workdir", "container", "user", "sandbox", "agent", "gpus",
    "environment",
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
    """The newest job that ended well with this key, and whose results are where this one's are to be.

    Files that are not here as they were fetched are fetched again, where the node still has them. Raises UsageError
    where the files of the job are not known.
    """
    if named.ranks > 1:
        raise UsageError("--cached is for one job, and --nodes makes several")
    if key is None:
        raise UsageError("--cached: which files it runs with is not known", next_step="--snapshot --cached")
    asked = named.results or {}
    rows = [job_row(session, job) for job in session.store.succeeded_with(key, _MOST)]
    fit = [row for row in rows if not row.results_due and (not asked.get("asked") or _were_fetched(row, asked))]
    if asked.get("asked") and (here := next((row for row in fit if _as_fetched(row)), None)) is not None:
        return here
    if not fit:
        return None
    why = _missing(session, fit[0], fetch=bool(asked.get("asked")))
    if why is None:
        return fit[0]
    session.say(f"not cached: {fit[0].id} ran with the same code, data and parameters, but {why}")
    return None


def _were_fetched(row: JobRow, asked: Mapping[str, Any]) -> bool:
    """Whether what is to be fetched was fetched, to the same folder of the same machine."""
    told = row.results or {}
    if told.get("done_at") is None or told.get("problem"):
        return False
    same = all(told.get(name) == asked.get(name) for name in ("local", "host"))
    return same and (not told["paths"] or (bool(asked["paths"]) and set(asked["paths"]) <= set(told["paths"])))


def _as_fetched(row: JobRow) -> bool:
    """Whether what was fetched lies here as it came."""
    told = row.results or {}
    mark = told.get("mark")
    return mark is not None and mark == results.mark_of(told["local"], told["paths"])


def _missing(session: Session, row: JobRow, *, fetch: bool) -> str | None:
    """Why the results of a job cannot be had; None: its node has them, and with `fetch` they are here now."""
    remote = results.remote_folder(row, session.store.node(row.node or ""))
    if row.node is None or remote is None:
        return "where its files are is not known"
    if all(known.name != row.node for known in session.inventory.nodes):
        return f"{row.node}, where its files are, is not in the inventory"
    told = row.results or {}
    request = {"op": "sync_look", "folder": remote, "paths": list(told["paths"]), "make": False}
    answers, problems = ask_nodes(session, "stoker.fleet.request", {"*": request}, [row.node])
    if row.node not in answers:
        return f"{row.node}, where its files are, did not answer{f': {problems[0].message}' if problems else ''}"
    if not answers[row.node].res["reply"]["exists"]:
        return f"its folder on {row.node} is gone"
    return _brought(session, row, remote) if fetch else None


def _brought(session: Session, row: JobRow, remote: str) -> str | None:
    """Fetch the results of a job again; why they are not here as they are there, None: they are."""
    told = row.results or {}
    count = 0
    for dry_run in (True, False):
        report, problems = sync.fetched(
            session, row.node or "", remote, told["local"], told["paths"], dry_run=dry_run
        )  # fmt: skip
        if report is None:
            return f"its results cannot be fetched: {problems[0].message if problems else f'{row.node} did not answer'}"
        if report.kept:
            return f"what is here now is newer than its results: {', '.join(report.kept[:3])}"
        if report.left_out or any(note.startswith("there is no ") for note in report.notes):
            return f"its results on {row.node} are not whole any more"
        count = len(report.changes)
    session.say(f"{row.id}: {count} file{'s' * (count != 1)} fetched again from {row.node}")
    return None
