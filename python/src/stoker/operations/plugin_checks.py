"""Whether what a plugin declares can be a command, a method and a tool; and whether its names are free."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ansible_collections.stoker.fleet.plugins.module_utils.backends import ADDED, NAMES
from stoker.errors import StokerError
from stoker.operations.plugin_hooks import Resource
from stoker.operations.policy import ROLES
from stoker.operations.registry import AREAS, GROUPS, Operation, commands

PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_COMMAND = re.compile(r"[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)?")
# Commands that are no operations, and what is no area: the API has methods of these names.
_COMMANDS_BESIDE = ("mcp", "completion")
_NO_AREAS = ("close",)


class PluginError(StokerError):
    """A plugin is broken, off, or did not do what was asked of it. The message names it."""


def refuse_name(name: str) -> None:
    """Raise PluginError for a name that no plugin can have."""
    if not PLUGIN_NAME.fullmatch(name) or name in _NO_AREAS:
        raise PluginError(f"{name!r} is no name for a plugin: small letters, digits, _")
    if name in AREAS:
        raise PluginError(f"there are two plugins {name}: this one, and Stoker's own")


def refuse_operation(operation: Operation) -> None:
    """Raise PluginError for an operation that the command line or an assistant could not be offered."""
    what = f"the operation {operation.function.__name__}"
    if not _COMMAND.fullmatch(operation.command):
        raise PluginError(f"{what}: {operation.command!r} is no command: one or two words of small letters")
    if not operation.method.isidentifier() or operation.method.startswith("_"):
        raise PluginError(f"{what}: {operation.method!r} is no name for a method")
    if operation.policy not in ROLES["administer"]:
        raise PluginError(f"{what}: there is no policy {operation.policy!r}: {', '.join(sorted(ROLES['administer']))}")
    if not (inspect.getdoc(operation.function) or "").strip():
        raise PluginError(f"{what} has no docstring, which is its help")
    parameters = operation.signature().parameters.values()
    if wrong := next((p for p in parameters if not _is_offered(p.annotation)), None):
        raise PluginError(f"{what}: {wrong.name} has a type that no command line takes: {wrong.annotation}")
    answered = inspect.signature(operation.function, eval_str=True).return_annotation
    if not (isinstance(answered, type) and dataclasses.is_dataclass(answered)):
        raise PluginError(f"{what} has to return a dataclass, and says so of {answered}")


def _is_offered(hint: Any) -> bool:
    """Whether a parameter of this type can be typed, and be given as JSON."""
    if get_origin(hint) is Annotated:
        return _is_offered(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return all(inner is type(None) or _is_offered(inner) for inner in get_args(hint))
    if get_origin(hint) is Sequence:
        return _is_offered(get_args(hint)[0])
    return hint in (str, int, float, bool) or get_origin(hint) in (Literal, Mapping)


def refuse_clash(
    name: str, operations: Sequence[Operation], resources: Sequence[Resource],
    others: Iterable[tuple[str, Sequence[Operation], Sequence[Resource]]],
) -> None:  # fmt: skip
    """Raise PluginError, naming both, where a name of this plugin is taken. `others`: plugins that are there."""
    own = {word.partition(" ")[0] for word in (*commands(), *GROUPS)}
    taken = dict.fromkeys((*own, *_COMMANDS_BESIDE), "Stoker's own")
    addresses: dict[str, str] = {}
    for other, theirs, read in others:
        taken.update({operation.command.partition(" ")[0]: f"the plugin {other}'s" for operation in theirs})
        addresses.update({resource.uri: other for resource in read})
    for seen, operation in enumerate(operations):
        first = operation.command.partition(" ")[0]
        if first in taken:
            raise PluginError(f"the command {operation.command!r} of {name} cannot be: {first} is {taken[first]}")
        before = operations[:seen]
        if any(operation.command == one.command or operation.method == one.method for one in before):
            raise PluginError(f"{name} has two operations {operation.command!r} ({operation.method})")
    if mixed := {o.command for o in operations} & {o.command.partition(" ")[0] for o in operations if " " in o.command}:
        raise PluginError(f"{name}: {min(mixed)} is a command and a group of commands")
    known = {operation.command for operation in operations if operation.policy == "read"}
    for resource in resources:
        _refuse_resource(name, resource, known, addresses)
        addresses[resource.uri] = name


def _refuse_resource(name: str, resource: Resource, known: set[str], addresses: Mapping[str, str]) -> None:
    what = f"the resource {resource.uri} of {name}"
    if resource.uri in addresses:
        raise PluginError(f"{what} cannot be: the plugin {addresses[resource.uri]} has it")
    if resource.uri != f"stoker://{name}" and not resource.uri.startswith(f"stoker://{name}/"):
        raise PluginError(f"{what} has to begin with stoker://{name}")
    if resource.command not in known:
        raise PluginError(f"{what}: {resource.command!r} is no operation of it that reads")


def refuse_backends(names: Sequence[str], others: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Raise PluginError, naming both, for a backend whose name is taken, and for one that is no name."""
    for name in names:
        if name in NAMES or not ADDED.fullmatch(name):
            raise PluginError(
                f"the backend {name!r} cannot be: " + ("Stoker has it" if name in NAMES else "it is no name")
            )
        if other := next((other for other, theirs in others if name in theirs), None):
            raise PluginError(f"the backend {name!r} cannot be: the plugin {other} has it")
