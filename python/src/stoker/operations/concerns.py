"""Which nodes a call concerns: what rules about nodes are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import NotFound, UsageError

if TYPE_CHECKING:
    from stoker.config import AccessRule
    from stoker.operations.registry import Operation
    from stoker.operations.session import Session

# What these do is done on the controller.
_NO_NODES = frozenset(
    {
        "access", "config", "inbox", "kubernetes", "memory", "notify", "plugins", "sessions", "setup", "skills",
        "store", "threads",
    }
)  # fmt: skip
# These ask for a job that is somewhere, and for nothing else. Another one of `retry`, say, may start anywhere.
_OF_JOBS = frozenset(
    {"jobs.get", "jobs.wait", "jobs.stop", "jobs.logs", "jobs.signal", "jobs.watch", "jobs.compare", "runs.machine"}
)
_NAMES_JOBS = ("job", "jobs", "a", "b", "run")
# With a rank of a gang these are about all of its ranks.
_OF_GANGS = frozenset({"jobs.get", "jobs.wait", "jobs.stop"})


def nodes_of(session: Session, operation: Operation, arguments: Mapping[str, Any]) -> set[str]:
    """The nodes that a call concerns, by its own words. One that names none may concern all, and so counts for all."""
    if operation.area in _NO_NODES:
        return set()
    everything = {node.name for node in session.whole_inventory.nodes}
    for name in ("on", "node"):
        if name in operation.signature().parameters and not arguments.get("all"):
            found = _matched(session, arguments.get(name))
            return everything if found is None else found
    if operation.name in _OF_JOBS:
        named = [job for name in _NAMES_JOBS for job in _texts(arguments.get(name))]
        if operation.area == "runs":  # JOB:FILE
            named = [run.partition(":")[0] for run in named]
        whole = operation.name in _OF_GANGS
        places = [place for job in named for place in _places_of(session, job, whole=whole)]
        found = {place for place in places if place is not None}
        return found if named and None not in places else everything
    return everything


def of_rule(session: Session, rule: AccessRule) -> set[str]:
    """The nodes that a rule speaks of. Raises ConfigError for a pattern that names what the inventory lacks."""
    try:
        return set(session.whole_inventory.match(rule.nodes or "all"))
    except UsageError as problem:
        from stoker.config import place_of
        from stoker.marked import ConfigError

        at = session.config.access.rules.index(rule)
        where = place_of(session.config, "access", "rules", at, "nodes")
        raise ConfigError(where, None, problem.message) from None


def _matched(session: Session, said: Any) -> set[str] | None:
    """The nodes of a pattern, or of several; None where it names none, or one that is not there."""
    names: set[str] = set()
    for pattern in _texts(said):
        try:
            names.update(session.whole_inventory.match(pattern))
        except UsageError:
            return None
    return names or None


def _places_of(session: Session, job: str, *, whole: bool) -> list[str | None]:
    """The node of a job, or those of its `whole` gang; None for a rank without one, none where there is no such job."""
    from stoker.operations.find import job_row

    try:
        row = job_row(session, job)
    except NotFound:
        return []
    return [rank.node for rank in (session.store.gang(row.gang) if whole and row.gang is not None else [row])]


def _texts(said: Any) -> list[str]:
    if isinstance(said, str):
        return [said]
    return [str(one) for one in said] if isinstance(said, list | tuple) else []
