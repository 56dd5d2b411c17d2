"""Run a playbook through ansible-runner and hand back values."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.config import working_folder
from stoker.errors import NotFound, StokerError
from stoker.runner import environment, failure, own_nodes
from stoker.runner.collect import Collector
from stoker.runner.diagnose import diagnose, result_text
from stoker.runner.inventory import Inventory
from stoker.runner.results import Event, PlayResult, TaskResult

# How often a wish to cancel is looked for, in seconds. ansible-runner's own default is 5.
_POLL_S = 0.2
# Then the caller's process id, a dash and chance.
_FOLDER = "stoker-run-"
_COLLECTION_PLAYBOOK = re.compile(r"^\w+\.\w+(\.\w+)+$")


class Runner:
    """Runs playbooks against one inventory. ``inventory=None`` is the embedded default: this machine alone.

    ``launcher`` lets runs go through the warm launcher; the result is the same with and without it.
    ``more`` brings further sources up to date and says which they are: it is asked each time the inventory is read.
    ``forks`` is how many hosts Ansible works on at a time, ``connect_timeout_s`` how long a connection may take.
    """

    def __init__(
        self, inventory: Path | None, *, launcher: bool = True, forks: int = 50, connect_timeout_s: int = 10,
        more: Callable[[], Sequence[Path]] = tuple,
    ) -> None:  # fmt: skip
        self._more = more
        self._path = Path(inventory) if inventory is not None else None
        self._launcher = launcher
        self._forks = forks
        self._connect_timeout_s = connect_timeout_s
        self._inventory: Inventory | None = None

    @property
    def inventory_path(self) -> Path:
        """The inventory file or folder in use. Raises NotFound when it does not exist."""
        path = self._path or environment.collection_dir() / "inventories" / "local" / "hosts.yml"
        if not path.exists():
            raise NotFound(f"there is no inventory {path}", next_step="name one that exists: --inventory FILE")
        return path.absolute()

    @property
    def own_file(self) -> Path:
        """The inventory file of Stoker's own: what `stoker node add` writes."""
        return own_nodes.own_file(self._path)

    @property
    def sources(self) -> list[Path]:
        """All that Ansible gets as inventory. Raises NotFound when the inventory does not exist."""
        path, own = self.inventory_path, self.own_file
        sources = [path, own] if own.is_file() and not path.is_dir() else [path]
        return [*sources, *self._more()]

    def forget_inventory(self) -> None:
        """Read it again when it is asked for next: it was changed."""
        self._inventory = None

    def inventory(self) -> Inventory:
        """The nodes and groups. Raises NotFound when the file is missing, StokerError when it cannot be read."""
        from stoker.runner.listing import read_inventory

        if self._inventory is None:
            self._inventory = read_inventory(*self.sources, launcher=self._launcher)
        return self._inventory

    def play(
        self,
        playbook: str | Path,
        *,
        extra_vars: Mapping[str, Any],
        limit: str | None = None,
        on_event: Callable[[Event], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        timeout_s: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        tied: bool = False,
    ) -> PlayResult:
        """Run `playbook` (a path, or a name as ``stoker.fleet.dispatch``) and wait for its end.

        `meanwhile` is called in a thread while Ansible works: imports, for which a caller would wait afterwards.
        `tied`: the run ends when the calling thread does, even by SIGKILL; otherwise it goes on to its end.

        A failed or unreachable host is in the result, not an exception. Raises StokerError when the run as a whole
        could not be made (syntax error, Ansible missing, cancelled, `timeout_s` seconds over).
        """
        inventory, name = self.sources, _playbook_name(playbook)
        began = time.monotonic()
        collector = Collector(on_event)
        end = _End(cancel, began + timeout_s if timeout_s is not None else None, collector)
        _sweep()
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))  # mode 0700
        try:
            _write_private(folder / "env" / "extravars", dict(extra_vars))
            _write_private(folder / "env" / "settings", {"pexpect_timeout": _POLL_S, "suppress_output_file": True})
            rc = self._run(folder, inventory, name, limit, collector, end, meanwhile, tied)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        end.check(name, timeout_s)
        if not collector.finished:
            raise failure.of_run(name, rc, collector.lines, limit)
        return self._result(rc, collector, time.monotonic() - began)

    def _run(
        self, folder: Path, inventory: list[Path], playbook: str, limit: str | None, collector: Collector, end: _End,
        meanwhile: Callable[[], None] | None, tied: bool,
    ) -> int:  # fmt: skip
        from stoker.runner.process import ansible_runner_run

        cwd = working_folder()
        added = environment.playbook_environment(
            forks=self._forks,
            connect_timeout_s=self._connect_timeout_s,
            control_dir=environment.control_dir(),
            cwd=cwd,
        )
        return ansible_runner_run(
            command=[*environment.program("ansible-playbook", launcher=self._launcher), playbook],
            ended=end.reached,
            meanwhile=meanwhile,
            tied=tied,
            private_data_dir=str(folder),
            project_dir=str(cwd),
            inventory=[str(source) for source in inventory],
            limit=limit,
            envvars=added,
            event_handler=collector.take,
        )

    def _result(self, rc: int, collector: Collector, elapsed_s: float) -> PlayResult:
        results = collector.results()
        bad = [r for r in results if r.status in ("failed", "unreachable")]
        return PlayResult(
            rc=rc,
            results=results,
            unreachable={r.host: r.message or "" for r in bad if r.status == "unreachable"},
            failed={r.host: r.message or "" for r in bad if r.status == "failed"},
            next_steps=self._next_steps(bad) if bad else {},
            elapsed_s=elapsed_s,
        )

    def _next_steps(self, bad: list[TaskResult]) -> dict[str, str]:
        try:
            variables = {node.name: node.vars for node in self.inventory().nodes}
        except StokerError:
            return {}  # Without the connection variables any advice would be a guess.
        found = [(r.host, diagnose(result_text(r.res), r.host, variables.get(r.host)).next_step) for r in bad]
        return {host: step for host, step in reversed(found) if step is not None}


class _End:
    """Watches for a reason to end a run early. Asked by ansible-runner every fraction of a second."""

    def __init__(self, cancel: Callable[[], bool] | None, deadline: float | None, collector: Collector) -> None:
        self._cancel, self._deadline, self._collector = cancel, deadline, collector
        self.cancelled = self.timed_out = False

    def reached(self) -> bool:
        if self._collector.error is not None:
            return True
        self.timed_out = self._deadline is not None and time.monotonic() > self._deadline
        self.cancelled = not self.timed_out and self._cancel is not None and self._cancel()
        return self.timed_out or self.cancelled

    def check(self, playbook: str, timeout_s: float | None) -> None:
        """Raise what ended the run early, if anything did."""
        if self._collector.error is not None:
            raise self._collector.error
        if self._collector.finished:
            return
        if self.timed_out:
            raise StokerError(f"the playbook {playbook} did not end within {timeout_s:g} s and was stopped")
        if self.cancelled:
            raise StokerError(f"the playbook {playbook} was cancelled", exit_code=130)


def _playbook_name(playbook: str | Path) -> str:
    """A path made absolute, or the name of a collection's playbook as it is. Raises NotFound."""
    text = str(playbook)
    if isinstance(playbook, str) and _COLLECTION_PLAYBOOK.match(text) and not text.endswith((".yml", ".yaml")):
        return text
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise NotFound(f"there is no playbook {path}")
    return str(path)


def _sweep() -> None:
    """Remove the folders of runs whose controller was killed: nobody else does."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        try:
            if pid.isdigit() and folder.lstat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue  # another run swept it


def _write_private(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON (which is YAML) to a file of mode 0600, so that no value is ever seen on a command line."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file)
