"""What the author of a plugin needs: hooks, the declaration of operations, settings.

    from stoker.plugin import Resource, hookimpl, operation, settings_of

A plugin is an object (a class, an instance or a module) that a package names in the entry point group
`stoker.plugins`. docs/plugins.md has the whole of it, `stoker.testing.plugin_contract` the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import NotFound, StokerError, UsageError
from stoker.operations.events import Event
from stoker.operations.plugin_hooks import PluginContext, Resource, hookimpl, operation
from stoker.operations.plugin_loading import node_settings_of, settings_of
from stoker.operations.session import Session

__all__: Sequence[str] = [
    "Event",
    "NotFound",
    "PluginContext",
    "Resource",
    "Session",
    "StokerError",
    "UsageError",
    "hookimpl",
    "node_settings_of",
    "operation",
    "settings_of",
]
