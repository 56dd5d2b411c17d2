"""Plugins as the command line needs them: before it knows its commands, and for its help."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from stoker import config
from stoker.errors import StokerError
from stoker.operations import plugin_loading, plugin_settings
from stoker.operations.plugin_checks import PluginError
from stoker.operations.registry import AREAS, commands, operations


def offered(first: str, config_file: str | None, *, of_help: bool) -> Collection[str]:
    """Load the plugins; the names of those that are off.

    `first` is the first word of the command. Raises PluginError where it is that of a plugin that is not there, and
    ConfigError for settings that are wrong; for help that is no reason not to help.
    """
    try:
        settings = config.load(Path(config_file) if config_file is not None else None)
        found = plugin_loading.load(settings)
    except StokerError:
        if of_help:
            return ()
        raise
    off = [name for name in (*AREAS, *found.installed) if not plugin_settings.enabled(settings, name)]
    areas = {operation.area for operation in operations() if operation.command.partition(" ")[0] == first}
    if areas and areas <= set(off):
        raise _off(settings, min(areas))
    known = {command.partition(" ")[0] for command in commands()}
    one = found.installed.get(first)
    if one is not None and first not in known:
        if one.failed is not None:
            raise PluginError(f"the plugin {first} ({one.package}) failed: {one.failed}", next_step="stoker plugins")
        if not plugin_settings.enabled(settings, first):
            raise _off(settings, first)
    return off


def _off(settings: config.Config, name: str) -> PluginError:
    where = config.place_of(settings, "plugins", name, "enabled")
    return PluginError(f"the plugin {name} is off ({where})", next_step="stoker plugins")
