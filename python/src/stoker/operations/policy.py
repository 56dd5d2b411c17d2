"""Who may ask what: roles and operations, in one place for the command line and for assistants."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from stoker.errors import StokerError

if TYPE_CHECKING:
    from stoker.config import Access
    from stoker.operations.registry import Operation
    from stoker.operations.session import Session

# What a role may by itself; stoker.yml (`access`) adds and takes away. What is not named here may not be done.
ROLES: Mapping[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "spend": frozenset({"read", "operate", "spend"}),
    "administer": frozenset({"read", "operate", "spend", "administer"}),
}
_LONGEST_SHOWN = 200
_NEVER_SHOWN = ("script", "argv", "value")


class DeniedError(StokerError):
    """The caller's role does not allow that; nothing was done."""


@dataclass(frozen=True)
class Caller:
    """Who asks: a name, the role, the way (cli, stdio, http), and of an assistant its session."""

    who: str
    role: str
    via: str
    session: str | None = None


def allows(role: str, operation: Operation, rules: Access) -> bool:
    """Whether the role may do that. An unknown role or policy may nothing."""
    if any(fnmatchcase(operation.name, pattern) for pattern in _rules(rules.deny, role)):
        return False
    if operation.policy in ROLES.get(role, frozenset()):
        return True
    return role in ROLES and any(fnmatchcase(operation.name, pattern) for pattern in _rules(rules.allow, role))


def _rules(rules: Mapping[Any, tuple[str, ...]], role: str) -> tuple[str, ...]:
    return rules.get(role, ())


def admit(session: Session, caller: Caller, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Raise DeniedError, and write that down, unless the caller may do that."""
    if allows(caller.role, operation, session.config.access):
        return
    session.store.calls.begin(
        via=caller.via, who=caller.who, role=caller.role, operation=operation.name, arguments=shown(arguments),
        outcome="denied",
    )  # fmt: skip
    raise DeniedError(
        f"the role {caller.role!r} may not do {operation.name} (it is for {operation.policy!r})",
        next_step="ask whoever keeps stoker.yml (access) or the tokens (stoker token add --role)",
    )


def admit_command_line(session: Session, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """The same for the command line, whose role stoker.yml names. Not a fence: who can edit that file may anything."""
    access = session.config.access
    if access.cli == "administer" and not access.deny:
        return
    admit(session, Caller(user(), access.cli, "cli"), operation, arguments)


def user() -> str:
    """The name of this process's user; its number where the machine has no name for it."""
    import os

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they may be kept: of mappings the names alone, of commands how long they are, texts cut.

    What looks like a credential is not kept at all.
    """
    given = {name: value for name, value in arguments.items() if value not in (None, (), [], {})}
    return {name: _shown(name, value) for name, value in _redacted(given).items()}


def _redacted(given: Mapping[str, Any]) -> dict[str, Any]:
    from stoker import credentials

    # A fact's value is under the key that the caller gave it, not under the argument's name.
    key = given.get("key")
    called = key.replace(" ", "_") if isinstance(key, str) else ""
    try:
        # Also the names: a caller may have got them wrong.
        return {
            str(credentials.redacted(name)): credentials.redacted(value, name, name=called)
            for name, value in given.items()
        }
    except StokerError:
        return {"given": "(it cannot be looked through)"}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {"names": sorted(str(key)[:_LONGEST_SHOWN] for key in value)}
    if name in _NEVER_SHOWN and value is not None:
        return {"length": len(value)}
    if isinstance(value, list | tuple):
        return [str(item)[:_LONGEST_SHOWN] for item in value[:20]]
    return value[:_LONGEST_SHOWN] if isinstance(value, str) else value
