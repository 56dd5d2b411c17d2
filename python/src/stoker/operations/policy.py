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
    from stoker.config import Access, AccessRule
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
_NEVER_SHOWN = ("script", "argv", "prompt", "prompts", "value")
# The password of an address, and what names a variable.
_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^\s/]*@")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


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
    """Whether the role may do that, on some node at least. An unknown role or policy may nothing."""
    return _may(role, operation, rules) or bool(_with_nodes(role, operation, rules, "allow"))


def _may(role: str, operation: Operation, rules: Access) -> bool:
    """Whether it may, wherever no rule that names nodes says something else."""
    if _denied(role, operation, rules):
        return False
    if operation.policy in ROLES.get(role, frozenset()):
        return True
    named = any(fnmatchcase(operation.name, pattern) for pattern in rules.allow.get(role, ()))  # type: ignore[call-overload]
    return role in ROLES and (named or any(rule.nodes is None for rule in _fitting(role, operation, rules, "allow")))


def _denied(role: str, operation: Operation, rules: Access) -> bool:
    named = any(fnmatchcase(operation.name, pattern) for pattern in rules.deny.get(role, ()))  # type: ignore[call-overload]
    return named or any(rule.nodes is None for rule in _fitting(role, operation, rules, "deny"))


def _fitting(role: str, operation: Operation, rules: Access, effect: str) -> list[AccessRule]:
    """The rules for this role that speak of this operation."""
    return [
        rule
        for rule in rules.rules
        if (rule.effect, rule.role) == (effect, role)
        and any(fnmatchcase(operation.area, pattern) for pattern in rule.plugins)
        and any(fnmatchcase(operation.name, pattern) for pattern in rule.operations)
    ]


def _with_nodes(role: str, operation: Operation, rules: Access, effect: str) -> list[AccessRule]:
    """Those of them that speak of some nodes only; none where it is denied everywhere."""
    if _denied(role, operation, rules):
        return []
    return [rule for rule in _fitting(role, operation, rules, effect) if rule.nodes is not None]


def _refusal(session: Session, role: str, operation: Operation, arguments: Mapping[str, Any]) -> str | None:
    """Why the role may not make this call; None: it may."""
    rules = session.config.access
    denies = _with_nodes(role, operation, rules, "deny")
    allows_some = [] if _may(role, operation, rules) else _with_nodes(role, operation, rules, "allow")
    refused = f"the role {role!r} may not do {operation.name}"
    if not allows_some and not _may(role, operation, rules):
        return f"{refused} ({_why(role, operation)})"
    if not denies and not allows_some:
        return None
    from stoker.operations.concerns import nodes_of, of_rule

    concerned = nodes_of(session, operation, arguments)
    shut = {node for rule in denies for node in of_rule(session, rule)} & concerned
    if allows_some:
        shut |= concerned - {node for rule in allows_some for node in of_rule(session, rule)}
        # What concerns no node is not what a rule about nodes allows.
        if not concerned:
            return f"{refused} ({_why(role, operation)})"
    return f"{refused} on {_few(sorted(shut))}" if shut else None


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def admit(
    session: Session, caller: Caller, operation: Operation, arguments: Mapping[str, Any],
    *, kept: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Raise DeniedError, and write that down, unless the caller may do that; PluginError where its plugin is off.

    Whether the role may also spend is noted in the session: of some operations only what they are given tells.

    `kept` is what may be written down of the arguments; None: they are as the operation takes them, and `shown` tells.
    """
    refuse_off(session, operation)
    refused = _refusal(session, caller.role, operation, arguments)
    if refused is None:
        session.may_spend = "spend" in ROLES.get(caller.role, frozenset())
        return
    session.store.calls.begin(
        via=caller.via, who=caller.who, role=caller.role, operation=operation.name,
        arguments=shown(arguments) if kept is None else kept, outcome="denied",
    )  # fmt: skip
    raise DeniedError(
        refused, next_step="ask whoever keeps stoker.yml (access) or the tokens (stoker token add --role)"
    )


def refuse_off(session: Session, operation: Operation) -> None:
    """Raise PluginError where the operation's plugin is off, ConfigError where stoker.yml names one that is not."""
    if session.config.plugins:
        from stoker.operations import plugin_loading, plugin_settings

        plugin_loading.refuse_unknown(session.config)
        plugin_settings.refuse_off(session.config, operation)


def _why(role: str, operation: Operation) -> str:
    if operation.policy in ROLES.get(role, frozenset()):
        return "a rule of stoker.yml, access, denies it"
    return f"it is for {operation.policy!r}"


def admit_command_line(session: Session, operation: Operation, arguments: Mapping[str, Any]) -> None:
    """The same for the command line, whose role stoker.yml names. Not a fence: who can edit that file may anything."""
    access = session.config.access
    if access.cli == "administer" and not access.deny and not access.rules:
        return refuse_off(session, operation)
    return admit(session, Caller(user(), access.cli, "cli"), operation, arguments)


def user() -> str:
    """The name of this process's user; its number where the machine has no name for it."""
    import os

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments, as the operation takes them, as they may be kept.

    Of mappings the names alone, of commands and prompts how long they are, texts cut, addresses without passwords. What
    looks like a credential is not kept at all.
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
    from stoker import credentials

    def called(name: str) -> str:
        shown_as = str(credentials.redacted(name))[:_LONGEST_SHOWN]
        return shown_as if _NAME.fullmatch(shown_as) else "?"

    return {called(str(name)): {"type": type(value).__name__} for name, value in arguments.items()}


def without_passwords(text: str) -> str:
    """The text with the passwords of its addresses left out."""
    return _PASSWORD.sub(r"\1:...@", text)
