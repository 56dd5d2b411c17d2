"""Run a playbook through ansible-runner and hand back values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stoker.runner.inventory import Inventory
from stoker.runner.results import Event, PlayResult


class Runner:
    """Runs playbooks against one inventory. ``inventory=None`` is the embedded default: this machine alone.

    ``launcher`` lets runs go through the warm launcher; the result is the same with and without it.
    ``forks`` is how many hosts Ansible works on at a time, ``connect_timeout_s`` how long a connection may take.
    """

    def __init__(
        self, inventory: Path | None, *, launcher: bool = True, forks: int = 50, connect_timeout_s: int = 10
    ) -> None:
        self._path = inventory
        self._launcher = launcher
        self._forks = forks
        self._connect_timeout_s = connect_timeout_s

    def inventory(self) -> Inventory:
        """The nodes and groups. Raises NotFound when the file is missing, StokerError when it cannot be read."""
        raise NotImplementedError

    def play(
        self,
        playbook: str | Path,
        *,
        extra_vars: Mapping[str, Any],
        limit: str | None = None,
        on_event: Callable[[Event], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        timeout_s: float | None = None,
    ) -> PlayResult:
        """Run `playbook` (a path, or a name as ``stoker.fleet.dispatch``) and wait for its end.

        A failed or unreachable host is in the result, not an exception. Raises StokerError when the run as a whole
        could not be made (syntax error, Ansible missing, cancelled, `timeout_s` seconds over).
        """
        raise NotImplementedError
