"""The plugins that are installed beside Stoker: found by entry point, loaded apart from each other, asked by hook.

Nothing here is imported, and no package is looked for, until a command asks for what is not built in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from stoker.config import Config
from stoker.errors import StokerError
from stoker.operations import plugin_failures, plugin_settings, registry
from stoker.operations.plugin_checks import PluginError, refuse_backends, refuse_clash, refuse_name, refuse_operation
from stoker.operations.plugin_hooks import BACKENDS, GROUP, Hooks, PluginContext, Resource, declared
from stoker.operations.registry import Operation
from stoker.operations.session import Session

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass
class Installed:
    """A plugin that is not built in. `failed` is the reason why nothing of it is there; None: it is, or it is off."""

    name: str
    package: str
    version: str
    entry: EntryPoint
    backends: tuple[str, ...] = ()
    loaded: bool = False
    plugin: object = None
    says: str = ""
    operations: tuple[Operation, ...] = ()
    resources: tuple[Resource, ...] = ()
    settings: type[BaseModel] | None = None
    node_settings: type[BaseModel] | None = None
    failed: str | None = None


class Plugins:
    """All that are installed, by name."""

    def __init__(self, found: Sequence[EntryPoint], backends: Sequence[EntryPoint] = ()) -> None:
        self._manager = pluggy.PluginManager("stoker")
        self._manager.add_hookspecs(Hooks)
        self.installed: dict[str, Installed] = {}
        for entry in sorted(found, key=lambda entry: entry.name):
            package = entry.dist.name if entry.dist else "?"
            version = entry.dist.version if entry.dist else "?"
            theirs = sorted(one.name for one in backends if one.dist and one.dist.name == package)
            new = Installed(entry.name, package, version, entry, tuple(theirs))
            if (other := self.installed.get(entry.name)) is not None:
                # Which of them was meant nobody knows.
                other.loaded = True
                other.failed = f"there are two plugins {entry.name}: of {other.package} and of {package}"
                continue
            self.installed[entry.name] = new

    def load(self, config: Config) -> None:
        """Load what stoker.yml leaves on and is not loaded yet. One that cannot be is noted as failed, with why."""
        for one in self.installed.values():
            if one.loaded or not plugin_settings.enabled(config, one.name):
                continue
            one.loaded = True
            try:
                with quiet():
                    self._load(one, config)
            except StokerError as problem:
                self._fail(one, problem.message)
            except (Exception, SystemExit) as problem:  # noqa: BLE001  whatever it raises is its own failure
                self._fail(one, plugin_failures.reason_of(problem))

    def _load(self, one: Installed, config: Config) -> None:
        refuse_name(one.name)
        plugin = one.entry.load()
        one.plugin = plugin() if isinstance(plugin, type) else plugin
        one.says = (one.plugin.__doc__ or "").strip().partition("\n")[0]
        self._manager.register(one.plugin, one.name)
        self._manager.check_pending()
        one.settings, one.node_settings = self.ask(one, "stoker_settings"), self.ask(one, "stoker_node_settings")
        plugin_settings.of_file(config, one.name, one.settings)
        operations = tuple(self._operation(one, function) for function in self.ask(one, "stoker_operations") or ())
        resources = tuple(self.ask(one, "stoker_resources") or ())
        others = [(other.name, other.operations, other.resources) for other in self.working if other is not one]
        refuse_backends(
            # Which plugin of a package a backend of it belongs to is not said anywhere.
            one.backends,
            [(other.name, other.backends) for other in self.installed.values() if other.package != one.package],
        )
        refuse_clash(one.name, operations, resources, others)
        one.operations, one.resources = operations, resources
        groups = {first: one.says for first, _, second in _words(operations) if second}
        registry.add(operations, groups)

    def _fail(self, one: Installed, reason: str) -> None:
        one.failed, one.operations, one.resources = reason, (), ()
        if self._manager.get_plugin(one.name) is not None:
            self._manager.unregister(name=one.name)

    def _operation(self, one: Installed, function: Callable[..., Any]) -> Operation:
        said = declared(function)
        if said is None:
            raise PluginError(f"{function!r} is not declared with stoker.plugin.operation")
        refuse_operation(said)
        return replace(said, area=one.name, function=_guarded(one, said))

    @property
    def working(self) -> list[Installed]:
        """Those that are loaded and did not fail."""
        return [one for one in self.installed.values() if one.loaded and one.failed is None]

    def has(self, one: Installed, hook: str) -> bool:
        """Whether it implements a hook."""
        callers = self._manager.get_hookcallers(one.plugin) or []
        return any(caller.name == hook for caller in callers)

    def ask(self, one: Installed, hook: str, **given: Any) -> Any:
        """What this one's hook answers; None where it has none. Raises what it raises."""
        others = [plugin for name, plugin in self._manager.list_name_plugin() if name != one.name and plugin]
        answers = self._manager.subset_hook_caller(hook, others)(**given)
        return answers[0] if answers else None

    def context(self, one: Installed, session: Session) -> PluginContext:
        """What its hooks work with."""
        settings = plugin_settings.of_file(session.config, one.name, one.settings)
        return PluginContext(one.name, settings, session, plugin_failures.folder_of(one.name))


@functools.cache
def installed() -> Plugins:
    """Those of this Python, as they were when this was first asked; none of them loaded."""
    return Plugins(tuple(entry_points(group=GROUP)), tuple(entry_points(group=BACKENDS)))


def load(config: Config) -> Plugins:
    """Those of this Python, loaded as far as stoker.yml leaves them on.

    Raises ConfigError where that speaks of a plugin that is not there.
    """
    found = installed()
    plugin_settings.refuse_unknown(config, (*registry.AREAS, *found.installed))
    found.load(config)
    return found


def refuse_unknown(config: Config) -> None:
    """Raise ConfigError where stoker.yml speaks of a plugin that is not there. Looks for packages only if it must."""
    if config.plugins.keys() <= set(registry.AREAS):
        plugin_settings.refuse_unknown(config, registry.AREAS)
    else:
        plugin_settings.refuse_unknown(config, (*registry.AREAS, *installed().installed))


def settings_of(session: Session, name: str) -> Any:
    """The checked settings of a plugin, for its operations. Raises ConfigError."""
    return plugin_settings.of_file(session.config, name, installed().installed[name].settings)


def node_settings_of(session: Session, name: str, node: str) -> Any:
    """Its checked settings on a node. Raises ConfigError, NotFound, and PluginError where it is off there."""
    return plugin_settings.of_node(session.inventory.node(node), name, installed().installed[name].node_settings)


def _words(operations: Sequence[Operation]) -> list[tuple[str, str, str]]:
    return [operation.command.partition(" ") for operation in operations]


def _guarded(one: Installed, said: Operation) -> Callable[..., Any]:
    """The operation's function; what it raises that is no sentence for a person is told as the plugin's failure."""
    name = re.sub(r"\W", "-", said.command)

    @functools.wraps(said.function)
    def call(session: Session, *args: Any, **kwargs: Any) -> Any:
        bound = said.signature().bind(*args, **kwargs)
        bound.apply_defaults()
        _refuse_nodes(session, one, bound.arguments)
        try:
            with quiet(), contextlib.redirect_stdout(sys.stderr):
                value = said.function(session, *args, **kwargs)
            if not dataclasses.is_dataclass(value) or isinstance(value, type):
                raise TypeError(f"it answered with {type(value).__name__}, which is no dataclass")
        except (StokerError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as problem:
            reason = plugin_failures.reason_of(problem)
            plugin_failures.note(one.name, name, reason)
            raise PluginError(
                f"the plugin {one.name} ({one.package} {one.version}) failed in {said.command}: {reason}",
                next_step="stoker plugins; --verbose says where it came from",
            ) from problem
        plugin_failures.clear(one.name, name)
        return value

    return call


def _refuse_nodes(session: Session, one: Installed, given: Mapping[str, Any]) -> None:
    """Raise where the call names a node on which the plugin is off, or is told what it does not know."""
    for said in (given.get(name) for name in ("on", "node")):
        patterns = [said] if isinstance(said, str) else said if isinstance(said, list | tuple) else []
        for name in dict.fromkeys(name for pattern in patterns for name in session.inventory.match(pattern)):
            node = session.inventory.node(name)
            plugin_settings.refuse_unknown_on(node, installed().installed)
            plugin_settings.of_node(node, one.name, one.node_settings)


class _Diverted:
    """Standard output while it is standard error. Several threads may ask for it: the first begins, the last ends."""

    lock = threading.Lock()
    asked = 0
    kept = -1


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What is written to standard output meanwhile, by a child or by C too, goes to standard error.

    On standard output is an answer, or a protocol.
    """
    with _Diverted.lock:
        if _Diverted.asked == 0:
            sys.stdout.flush()
            _Diverted.kept = os.dup(1)
            os.dup2(2, 1)
        _Diverted.asked += 1
    try:
        yield
    finally:
        with _Diverted.lock:
            _Diverted.asked -= 1
            if _Diverted.asked == 0:
                sys.stdout.flush()
                os.dup2(_Diverted.kept, 1)
                os.close(_Diverted.kept)
