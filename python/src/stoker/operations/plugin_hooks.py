"""What a plugin can be asked for: its hooks, and the words it answers in. Authors import this as `stoker.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from stoker.operations.events import Event
from stoker.operations.registry import Operation, Policy
from stoker.operations.session import Session

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "stoker.plugins"
# How a node runs a job; read by the part that pushes them to nodes, `plugins/plugin_utils/bundle.py`.
BACKENDS = "stoker.backends"
hookspec = pluggy.HookspecMarker("stoker")
hookimpl = pluggy.HookimplMarker("stoker")
Function = TypeVar("Function", bound=Callable[..., Any])
_DECLARED = "__stoker_operation__"


@dataclass(frozen=True)
class Resource:
    """What an assistant can read by an address: the answer of one of the plugin's own operations.

    `uri` begins with `stoker://NAME`, NAME being the plugin's; `command` is the operation's, as it is typed.
    """

    uri: str
    command: str
    description: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PluginContext:
    """What a plugin works with: its checked `settings` (None where it has no model), and a private folder of its own.

    `session` is what operations get, too: settings, store and inventory.
    """

    name: str
    settings: Any
    session: Session
    folder: Path


class Hooks:
    """The hooks. A plugin implements those it wants, marked with `hookimpl`; each is called apart from other plugins'.

    What one raises is told as the plugin's failure, and nothing else is stopped by it.
    """

    @hookspec
    def stoker_settings(self) -> type[BaseModel]:
        """The pydantic model of `plugins.NAME.settings` in stoker.yml. Keys that it does not know are refused."""
        raise NotImplementedError

    @hookspec
    def stoker_node_settings(self) -> type[BaseModel]:
        """The pydantic model of `stoker_plugins.NAME.settings` in the variables of a host."""
        raise NotImplementedError

    @hookspec
    def stoker_operations(self) -> Sequence[Callable[..., Any]]:
        """Functions declared with `operation`."""
        raise NotImplementedError

    @hookspec
    def stoker_resources(self) -> Sequence[Resource]:
        """What an assistant can read by an address."""
        raise NotImplementedError

    @hookspec
    def stoker_start(self, context: PluginContext) -> None:
        """A process that lasts begins: stoker mcp, stoker dispatch --loop. Has ten seconds."""

    @hookspec
    def stoker_stop(self, context: PluginContext) -> None:
        """That process ends, and the plugin had started. Has ten seconds."""

    @hookspec
    def stoker_event(self, context: PluginContext, event: Event) -> None:
        """Something changed; asked by dispatchers, in the order of the changes. Has ten seconds."""


def operation(
    command: str, policy: Policy, *, method: str | None = None, destroys: bool | tuple[str, ...] = False
) -> Callable[[Function], Function]:
    """Declare the function below as an operation of a plugin: `stoker COMMAND`, and `fleet.NAME.METHOD`.

    Its first parameter is the session; the others are typed, and described in its docstring. It returns a frozen
    dataclass. `policy` is what a caller's role has to allow. Two words make a command of a group.
    """

    def declare(function: Function) -> Function:
        declared = Operation("", command, method or function.__name__, policy, function, destroys=destroys)
        setattr(function, _DECLARED, declared)
        return function

    return declare


def declared(function: Callable[..., Any]) -> Operation | None:
    """What `operation` said of a function; None: nothing."""
    found = getattr(function, _DECLARED, None)
    return found if isinstance(found, Operation) else None
