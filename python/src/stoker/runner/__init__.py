"""The only door to Ansible: run a playbook, read an inventory."""

from __future__ import annotations

from stoker.runner.inventory import Inventory, InventoryNode
from stoker.runner.play import Runner
from stoker.runner.results import Event, PlayResult, TaskResult

__all__ = ["Event", "Inventory", "InventoryNode", "PlayResult", "Runner", "TaskResult"]
