"""Turn ansible-runner's events into values while they come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stoker.runner.diagnose import diagnose, plain, result_text
from stoker.runner.results import Event, TaskResult, TaskStatus

_STATUS: dict[str, TaskStatus] = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_async_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


class Collector:
    """Takes events one by one; keeps results, and the lines that belong to no task (errors of the run itself)."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self._on_event = on_event
        self._results: list[TaskResult] = []
        self._dark: frozenset[str] | None = None
        self.lines: list[str] = []
        self.error: BaseException | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """Handle one event. Always False: ansible-runner then keeps no copy on disk."""
        try:
            self._take(event)
        except BaseException as error:  # noqa: BLE001  ansible-runner would swallow some kinds: kept, raised after
            self.error = self.error or error
        return False

    def _take(self, event: Mapping[str, Any]) -> None:
        name = str(event.get("event"))
        data = event.get("event_data") or {}
        if name in _STATUS:
            self._result(_STATUS[name], data)
        elif name == "playbook_on_play_start":
            self._tell(Event("play", task=str(data.get("name") or "")))
        elif name == "playbook_on_task_start":
            self._tell(Event("task", task=str(data.get("name") or "")))
        elif name == "playbook_on_stats":
            self._dark = frozenset(data.get("dark") or {})
        elif name in ("verbose", "error", "warning", "system_warning"):
            self.lines.extend(plain(str(event.get("stdout") or "")).splitlines())

    def _result(self, status: TaskStatus, data: Mapping[str, Any]) -> None:
        host, task = str(data.get("host")), str(data.get("task") or "")
        res = data.get("res") or {}
        message = diagnose(result_text(res), host).message if status in ("failed", "unreachable") else None
        result = TaskResult(
            host=host,
            task=task,
            action=str(data.get("resolved_action") or data.get("task_action") or ""),
            status=status,
            res=res,
            message=message,
            ignored=bool(data.get("ignore_errors")),
        )
        self._results.append(result)
        self._tell(Event("result", host, task, status, message, res))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    @property
    def finished(self) -> bool:
        """Whether Ansible came to its recap: the playbook ran, whatever its hosts said."""
        return self._dark is not None

    def results(self) -> list[TaskResult]:
        """All results in order. An unreachable host that the recap does not count was ignored by the playbook."""
        if self._dark is None:
            return list(self._results)
        forgiven = {r.host for r in self._results if r.status == "unreachable"} - self._dark
        return [
            replace(r, ignored=True) if r.status == "unreachable" and r.host in forgiven else r for r in self._results
        ]
