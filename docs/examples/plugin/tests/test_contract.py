"""The tests that every plugin has to pass, run over this one."""

from __future__ import annotations

from stoker.testing.plugin_contract import PluginContract


class TestEnergy(PluginContract):
    name = "energy"
    calls = (("energy", {}), ("energy", {"limit": 1}), ("energy", {"limit": 0}))
