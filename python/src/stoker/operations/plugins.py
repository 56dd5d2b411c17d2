"""Which plugins there are: those built in, and those of packages that are installed beside Stoker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker.operations import plugin_failures, plugin_loading, plugin_settings
from stoker.operations.plugin_loading import Installed, Plugins
from stoker.operations.registry import AREAS, built_in, operation
from stoker.operations.session import Session

State = Literal["on", "off", "failed"]


@dataclass(frozen=True)
class PluginInfo:
    """One plugin. `package` None: it is built in. `failed_at`: seconds of the epoch; None for a fault of this moment.

    `backends` are those that its package adds for nodes.
    A plugin that failed in an operation or a listener goes on being asked; one that could not be loaded is not there.
    """

    name: str
    state: State
    package: str | None
    version: str | None
    operations: tuple[str, ...]
    resources: tuple[str, ...]
    backends: tuple[str, ...]
    listens: bool
    reason: str | None
    failed_at: float | None


@dataclass(frozen=True)
class PluginList:
    """All plugins, those built in first. `strict`: whether a failed one counts for the exit code."""

    plugins: tuple[PluginInfo, ...]
    strict: bool = False

    @property
    def exit_code(self) -> int:
        """1 where one has failed and that was to count, else 0."""
        return int(self.strict and any(plugin.state == "failed" for plugin in self.plugins))


@operation("plugins", "plugins", "read", method="list")
def list_plugins(session: Session, *, strict: bool = False) -> PluginList:
    """List plugins: on, off (stoker.yml) or failed, with the reason.

    Args:
        strict: Exit with 1 when one has failed.
    """
    found = plugin_loading.load(session.config)
    own = [_built_in(session, area) for area in AREAS]
    others = [_installed(session, found, found.installed[name]) for name in sorted(found.installed)]
    return PluginList((*own, *others), strict)


def _built_in(session: Session, area: str) -> PluginInfo:
    state: State = "on" if plugin_settings.enabled(session.config, area) else "off"
    commands = tuple(found.command for found in built_in() if found.area == area)
    return PluginInfo(area, state, None, None, commands, (), (), False, None, None)


def _installed(session: Session, found: Plugins, one: Installed) -> PluginInfo:
    commands = tuple(operation.command for operation in one.operations)
    addresses = tuple(resource.uri for resource in one.resources)
    if not plugin_settings.enabled(session.config, one.name):
        return PluginInfo(
            one.name, "off", one.package, one.version, commands, addresses, one.backends, False, None, None
        )
    reason, at = one.failed, None
    if reason is None and (kept := plugin_failures.kept(one.name)):
        reason, at = f"in {kept[0].where}: {kept[0].reason}", kept[0].at
    state: State = "on" if reason is None else "failed"
    listens = one.failed is None and found.has(one, "stoker_event")
    return PluginInfo(one.name, state, one.package, one.version, commands, addresses, one.backends, listens, reason, at)
