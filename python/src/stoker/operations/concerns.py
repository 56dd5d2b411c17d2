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
        "access", "config", "inbox", "memory", "notify", "plugins", "sessions", "setup", "skills", "store", "threads",
    }
)  # fmt: skip
# These ask for a job that is somewhere, and for nothing else. Another one of `retry`, say, may start anywhere.
_OF_JOBS = frozenset(
    {"jobs.get", "jobs.wait", "jobs.stop", "jobs.logs", "jobs.signal", "jobs.watch", "jobs.compare", "runs.machine"}
)
_NAMES_JOBS = ("job", "jobs", "a", "b", "run")


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
        places = [_place_of(session, job) for job in named]
        return {place for place in places if place} if named and None not in places else everything
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


def _place_of(session: Session, job: str) -> str | None:
    """The node of a job; None where it has none, empty where there is no such job."""
    from stoker.operations.find import job_row

    try:
        return job_row(session, job).node
    except NotFound:
        return ""


def _texts(said: Any) -> list[str]:
    if isinstance(said, str):
        return [said]
    return [str(one) for one in said] if isinstance(said, list | tuple) else []
