"""Who may ask what: roles and operations, in one place for the command line and for assistants."""

from __future__ import annotations

import getpass
import re
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
_NEVER_SHOWN = ("script", "argv", "prompt", "prompts")
# The password of an address, and what names a variable.
_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^\s/]*@")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


class DeniedError(StokerError):
    """The caller's role does not allow that; nothing was done."""


@dataclass(frozen=True)
class Caller:
    """Who asks: a name, the role, and the way (cli, stdio, http)."""

    who: str
    role: str
    via: str


def allows(role: str, operation: Operation, rules: Access) -> bool:
    """Whether the role may do that. An unknown role or policy may nothing."""
    if any(fnmatchcase(operation.name, pattern) for pattern in _rules(rules.deny, role)):
        return False
    if operation.policy in ROLES.get(role, frozenset()):
        return True
    return role in ROLES and any(fnmatchcase(operation.name, pattern) for pattern in _rules(rules.allow, role))


def _rules(rules: Mapping[Any, tuple[str, ...]], role: str) -> tuple[str, ...]:
    return rules.get(role, ())


def admit(
    session: Session, caller: Caller, operation: Operation, arguments: Mapping[str, Any],
    *, kept: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Raise DeniedError, and write that down, unless the caller may do that.

    `kept` is what may be written down of the arguments; None: they are as the operation takes them, and `shown` tells.
    """
    if allows(caller.role, operation, session.config.access):
        return
    session.store.calls.begin(
        via=caller.via, who=caller.who, role=caller.role, operation=operation.name,
        arguments=shown(arguments) if kept is None else kept, outcome="denied",
    )  # fmt: skip
    raise DeniedError(
        f"the role {caller.role!r} may not do {operation.name} ({_why(caller.role, operation)})",
        next_step="ask whoever keeps stoker.yml (access) or the tokens (stoker token add --role)",
    )


def _why(role: str, operation: Operation) -> str:
    if operation.policy in ROLES.get(role, frozenset()):
        return "a rule of stoker.yml, access.deny, denies it"
    return f"it is for {operation.policy!r}"


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
    """Arguments, as the operation takes them, as they may be kept.

    Of mappings the names alone, of commands and prompts how long they are, texts cut, addresses without passwords.
    """
    return {name: _shown(name, value) for name, value in arguments.items() if value not in (None, (), [], {})}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        # What is no name may be half of NAME=VALUE.
        names = (str(key) for key in value)
        return {"names": sorted(name[:_LONGEST_SHOWN] if _NAME.fullmatch(name) else "?" for name in names)}
    if name in _NEVER_SHOWN and value is not None:
        return {"length": len(value)}
    if isinstance(value, list | tuple):
        return [without_passwords(str(item))[:_LONGEST_SHOWN] for item in value[:20]]
    return without_passwords(value)[:_LONGEST_SHOWN] if isinstance(value, str) else value


def unchecked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a call that the operation cannot take: nobody knows what is what, so only the types are kept."""
    return {
        str(name)[:_LONGEST_SHOWN] if _NAME.fullmatch(str(name)) else "?": {"type": type(value).__name__}
        for name, value in arguments.items()
    }


def without_passwords(text: str) -> str:
    """The text with the passwords of its addresses left out."""
    return _PASSWORD.sub(r"\1:...@", text)
