"""The settings of plugins: in stoker.yml, and per node in host variables; wrong ones named by file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stoker.config import Config, place_of
from stoker.marked import ConfigError, dotted
from stoker.operations.plugin_checks import PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stoker.operations.registry import Operation
    from stoker.runner import InventoryNode

VARIABLE = "stoker_plugins"
# Without it nobody could see what is off.
_ALWAYS_ON = "plugins"
_ON = "enabled"


def enabled(config: Config, name: str) -> bool:
    """Whether stoker.yml leaves a plugin on."""
    said = config.plugins.get(name)
    return said is None or said.enabled


def refuse_unknown(config: Config, known: Iterable[str]) -> None:
    """Raise ConfigError where stoker.yml has something to say of a plugin that is not there, or cannot."""
    names = set(known)
    for name, said in config.plugins.items():
        where = place_of(config, "plugins", name)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ConfigError(where, None, f"there is no plugin of this name.{hint}", next_step="stoker plugins")
        if name == _ALWAYS_ON and not said.enabled:
            raise ConfigError(where, None, "this one cannot be off: it says what is on")


def refuse_off(config: Config, operation: Operation) -> None:
    """Raise PluginError where stoker.yml has the operation's plugin off."""
    if not enabled(config, operation.area):
        where = place_of(config, "plugins", operation.area, _ON)
        raise PluginError(
            f"{operation.name}: the plugin {operation.area} is off ({where})", next_step=f"stoker.yml: {_ON}: true"
        )


def of_file(config: Config, name: str, model: type[BaseModel] | None) -> Any:
    """The checked settings of a plugin; None where it has no model. Raises ConfigError."""
    said = config.plugins.get(name)
    given = said.settings if said is not None else {}
    if model is None:
        if given:
            raise ConfigError(place_of(config, "plugins", name, "settings"), None, "this plugin has no settings")
        return None
    return _checked(model, given, lambda loc: place_of(config, "plugins", name, "settings", *loc))


def of_node(node: InventoryNode, name: str, model: type[BaseModel] | None) -> Any:
    """The checked settings of a plugin on a node. Raises ConfigError, and PluginError where it is off there."""
    said = _of_plugin(node, name)
    place = f"{node.name}: {VARIABLE}.{name}"
    if not said.get(_ON, True):
        raise PluginError(f"the plugin {name} is off on {node.name} ({VARIABLE})")
    given = said.get("settings", {})
    if model is None:
        if given:
            raise ConfigError(f"{place}.settings", None, "this plugin has no settings for a node")
        return None
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}.settings", None, "is not a mapping of settings")
    return _checked(model, given, lambda loc: f"{place}.settings.{dotted(loc)}" if loc else f"{place}.settings")


def is_on(node: InventoryNode, name: str) -> bool:
    """Whether the variables of a host leave a plugin on. Raises ConfigError."""
    return bool(_of_plugin(node, name).get(_ON, True))


def refuse_unknown_on(node: InventoryNode, known: Iterable[str]) -> None:
    """Raise ConfigError for a plugin in the variables of a host that is not there."""
    for name in _all(node):
        if name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{node.name}: {VARIABLE}.{name}", None, f"there is no plugin of this name.{hint}")
        _of_plugin(node, name)


def _all(node: InventoryNode) -> Mapping[str, Any]:
    said = node.vars.get(VARIABLE) or {}
    if not isinstance(said, Mapping):
        raise ConfigError(f"{node.name}: {VARIABLE}", None, "is not a mapping of plugins to {enabled, settings}")
    return said


def _of_plugin(node: InventoryNode, name: str) -> Mapping[str, Any]:
    said = _all(node).get(name) or {}
    place = f"{node.name}: {VARIABLE}.{name}"
    if not isinstance(said, Mapping):
        raise ConfigError(place, None, "is not a mapping with enabled, settings")
    if unknown := [key for key in said if key not in (_ON, "settings")]:
        raise ConfigError(f"{place}.{unknown[0]}", None, "there is no such setting. Known here: enabled, settings")
    if not isinstance(said.get(_ON, True), bool):
        raise ConfigError(f"{place}.{_ON}", None, f"{said[_ON]!r} is not true or false")
    return said


def _checked(model: type[BaseModel], given: Mapping[str, Any], place: Any) -> Any:
    """The settings as the plugin's model has them. A key that the model lacks is refused, whatever the model says."""
    from pydantic import ValidationError

    names = {field.alias or name for name, field in model.model_fields.items()}
    if unknown := [key for key in given if key not in names]:
        near = difflib.get_close_matches(str(unknown[0]), names, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(sorted(names))}"
        raise ConfigError(place((unknown[0],)), None, f"there is no such setting. {hint}")
    try:
        return model.model_validate(dict(given))
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        raise ConfigError(place(first["loc"]), None, first["msg"].lower()) from None
