"""What an operation works with: settings, store and runner, each opened when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.config import Config
    from stoker.runner import Inventory, Runner
    from stoker.store import Store


def _anywhere(path: Path) -> None:
    """Whoever uses the command line or the API may name every folder."""


def _anything(names: Sequence[str]) -> None:
    """Whoever uses the command line or the API may hand on every variable."""


def _silent(message: str) -> None:
    """The API says nothing while it works."""


class Session:
    """One caller's settings, store and runner.

    `inventory` and `config_file` are what the caller named (None: found as documented in `stoker.config`),
    `store_url` a database URL (None: that of stoker.yml, else STOKER_STORE_URL, else the user's own SQLite file).
    `say` is told what is going on; `progress` how far something long is: a line that replaces the one before, empty at
    the end. None: nobody looks. `client` is the id of the assistant's session that asks.
    """

    def __init__(
        self,
        inventory: Path | None = None,
        *,
        store_url: str | None = None,
        config_file: Path | None = None,
        say: Callable[[str], None] = _silent,
        progress: Callable[[str], None] | None = None,
        client: str | None = None,
    ) -> None:
        self._inventory = inventory
        self._store_url = store_url
        self._config_file = config_file
        self.say = say
        self.progress = progress
        self.client = client
        # Whether the caller's role may do what costs money.
        self.may_spend = True
        # Shows a question and returns what a person typed; None: nobody is there who could.
        self.asks: Callable[[str], str] | None = None
        # Raises UsageError for a folder here that the caller may not name.
        self.may_name: Callable[[Path], None] = _anywhere
        # Raises UsageError for variables of this machine whose values the caller may not hand to a job.
        self.may_hand: Callable[[Sequence[str]], None] = _anything
        self._noted = False

    @cached_property
    def config(self) -> Config:
        """The settings. Raises ConfigError when stoker.yml is wrong."""
        from stoker import config

        return config.load(self._config_file)

    @cached_property
    def inventory_path(self) -> Path | None:
        """The inventory in use, None for the embedded default."""
        from stoker import config

        return config.inventory_path(self.config, self._inventory)

    @cached_property
    def store_url(self) -> str | None:
        """The store that was named, None for the default."""
        return self._store_url or self.config.store

    @cached_property
    def store(self) -> Store:
        """The store, migrated when that is needed."""
        from stoker.errors import UsageError
        from stoker.store import open_store

        try:
            return open_store(self.store_url)
        except UsageError as problem:
            message = f"{self._store_source()}{problem.message}"
            raise UsageError(message, next_step=problem.next_step) from problem

    def _store_source(self) -> str:
        """Who named the store, as the beginning of a sentence about it."""
        from stoker import config

        if self._store_url:
            return "store_url: "
        if self.config.store:
            return f"{config.place_of(self.config, 'store')}: "
        return "STOKER_STORE_URL: " if os.environ.get("STOKER_STORE_URL") else ""

    @cached_property
    def runner(self) -> Runner:
        """The door to Ansible."""
        from stoker.operations.rented_hosts import sources
        from stoker.runner import Runner

        # The launcher is a process of its own, started when a run needs it: it reads its settings from the environment.
        os.environ.setdefault("STOKER_LAUNCHER_IDLE_S", str(self.config.launcher.idle_s))
        return Runner(
            self.inventory_path,
            launcher=self.config.launcher.enabled,
            forks=self.config.forks,
            connect_timeout_s=self.config.connect_timeout_s,
            more=lambda: sources(self),
        )

    @property
    def whole_inventory(self) -> Inventory:
        """All nodes and groups, also those that are not approved."""
        inventory = self.runner.inventory()
        if inventory.without_hosts is not None and not self._noted:
            self._noted = True
            self.say(inventory.without_hosts)
        return inventory

    @cached_property
    def inventory(self) -> Inventory:
        """The nodes and groups that may be used: not those that wait for approval or were removed."""
        whole = self.whole_inventory
        # The variable's name, not imported: most inventories have none of these, and need no store here.
        if not any("stoker_needs_approval" in node.vars for node in whole.nodes):
            return whole
        from stoker.operations.members import outside

        return whole.without(outside(self, whole))

    def forget_inventory(self) -> None:
        """Read the inventory again when it is asked for next: it was changed."""
        self.runner.forget_inventory()
        self.__dict__.pop("inventory", None)

    def forget_config(self) -> None:
        """Read stoker.yml again when it is asked for next: it was changed."""
        self.__dict__.pop("config", None)

    def close(self) -> None:
        """Close the store if it was opened."""
        if "store" in self.__dict__:
            self.store.close()
            del self.__dict__["store"]
